"""How the rows of `benchmarks.methods` are scored: valid examples of a task, put through a model by rtsep itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rtsep
from training.evaluation import separation_metrics, speech_metrics
from training.tasks import Task
from training.tasks.instruments import SOUNDS, InstrumentsTask
from training.tasks.songs import SongTask
from training.tasks.speakers import SpeakersTask, UnknownSpeakersTask
from training.tasks.unlabelled import MixturesTask, UnlabelledTask

Signal = NDArray[np.float32]
SILENT = 1e-8  # mean square under which a source is not there
VOICES = (1, 2, 3)  # at once, where their number is unknown
QUIET_DB = -60.0  # of PES and EPS: recordings are never exactly silent

#: measure -> (column title, decimals)
MEASURES: dict[str, tuple[str, int]] = separation_metrics.MEASURES | {
    "pesq_wb": speech_metrics.MEASURES["pesq_wb"],
    "estoi": speech_metrics.MEASURES["estoi"],
    "counted": ("count right", 2),
    **{f"si_sdr_{count}": (f"SI-SDR of {count}", 2) for count in VOICES},
    **{f"counted_{count}": (f"count right of {count}", 2) for count in VOICES},
    "low_in_pauses": ("< 500 Hz left in pauses", 1),
    "input_sdr": ("SDR of the input", 2),
    "binary_sdr": ("SDR of the ideal binary mask", 2),
}


def low_in_pauses(estimate: Signal, mixture: Signal, speech: Signal, rate: int) -> float:
    """Energy below 500 Hz that is left where nobody speaks, dB beside the mixture's there; NaN without a pause.

    A pause is a frame of 20 ms more than 40 dB under the loudest one of the true speech.
    """
    frame = rate // 50
    count = len(speech) // frame
    power = np.square(speech[: count * frame].reshape(count, frame)).mean(1)
    pause = power <= power.max(initial=0.0) * 1e-4
    if not pause.any():
        return math.nan
    bins = 500 * frame // rate + 1

    def low(sound: Signal) -> float:
        frames = sound[: count * frame].reshape(count, frame)[pause]
        return float(np.square(np.abs(np.fft.rfft(frames * np.hanning(frame))[:, :bins])).sum())

    before = low(mixture)
    return 10 * math.log10((low(estimate) + 1e-12) / before) if before > 0 else math.nan


def sdr(reference: Signal, estimate: Signal) -> float:
    """10·log10(|s|² / |s − ŝ|²), dB: what BSSEval v4 calls SDR, over a whole example."""
    error = float(np.square(reference - estimate, dtype=np.float64).sum())
    return 10 * math.log10(float(np.square(reference, dtype=np.float64).sum()) / max(error, 1e-12))


def best_sum(estimates: Mapping[str, Signal], speech: Signal) -> Signal:
    """The sum of those estimates that fits the speech best: which of them it is, a network without labels can't say."""
    made = list(estimates.values())
    ways = [way for way in product((0, 1), repeat=len(made)) if any(way)]
    sums = [np.sum([each for each, there in zip(made, way, strict=True) if there], axis=0) for way in ways]
    return max(sums, key=lambda each: speech_metrics.si_sdr(speech, each))


def score_examples(task: Task, model: Path, clips: int) -> tuple[dict[str, float | None], int]:
    """Means over at most `clips` valid examples of every measure that is defined for the task, and how many they were.

    Of the source that the task is scored by: speech, vocals of songs, every speaker, the event that is asked for, every
    instrument.
    """
    loaded = rtsep.load(model)
    rows: list[dict[str, float]] = []
    for batch, conditions in zip(task.fixed, task.fixed_conditions, strict=True):
        for index in range(len(batch)):
            if len(rows) < clips:
                told = None if conditions is None else conditions[index].numpy()
                row = score_example(task, loaded, batch[index].numpy(), told)
                if row:
                    rows.append(row)
    means: dict[str, float | None] = {}
    for measure in MEASURES:
        values = [row[measure] for row in rows if measure in row and math.isfinite(row[measure])]
        means[measure] = float(np.mean(values)) if values else None
    return means, len(rows)


def score_example(task: Task, model: Any, sources: Signal, condition: Signal | None) -> dict[str, float]:
    """Of `sources` `[sources, (channels,) samples]`; empty where nothing can be said, as of a source that is silent."""
    rate = task.recipe.network.sample_rate
    mixture = sources.sum(0)
    made = rtsep.separate(mixture.T if mixture.ndim == 2 else mixture, rate, model, condition)
    estimates = {name: each.mean(-1) if each.ndim == 2 else each for name, each in made.items()}
    mono = sources.mean(1) if sources.ndim == 3 else sources
    references = dict(zip(task.sources, mono, strict=True))
    there = {name: each for name, each in references.items() if np.mean(each**2) > SILENT}
    if isinstance(task, UnknownSpeakersTask):
        return voices_scores(there, estimates, rate)
    if isinstance(task, SpeakersTask):
        return _mean(separation_metrics.score(there, estimates, rate, any_order=True)) if len(there) > 1 else {}
    if isinstance(task, MixturesTask):
        speech, noise = references["mixture_1"], references["mixture_2"]
        if len(there) < 2:
            return {}
        one = best_sum(estimates, speech)
        pair = {"speech": one, "noise": speech + noise - one}
        return separation_metrics.score({"speech": speech, "noise": noise}, pair, rate, bss=False)["speech"]
    if isinstance(task, InstrumentsTask):
        return instrument_scores(references, estimates, rate)
    if isinstance(task, UnlabelledTask):
        references.pop("unlabelled")
    names = [name for name in references if name in estimates]
    aim = "vocals" if isinstance(task, SongTask) else names[0]
    if aim not in there or len(there) < 2:
        aim = next((name for name in names if name in there), "")
    if not aim or len(there) < 2:
        return {}
    values = beside_the_rest(references[aim], estimates[aim], mono.sum(0), rate, isinstance(task, SongTask))
    if aim == "speech":
        values |= {
            "pesq_wb": speech_metrics.pesq_wb(references[aim], estimates[aim], rate),
            "estoi": speech_metrics.stoi(references[aim], estimates[aim], rate, extended=True),
            "low_in_pauses": low_in_pauses(estimates[aim], mono.sum(0), references[aim], rate),
        }
    return values


def voices_scores(there: Mapping[str, Signal], estimates: Mapping[str, Signal], rate: float) -> dict[str, float]:
    """Means over the voices that are there, in the better order, and whether as many were found; both also by their
    number, as `si_sdr_2`. A voice that nothing was found for has no SI-SDR, but the count is wrong then. Empty where
    nobody speaks."""
    if not there:
        return {}
    values = _mean(separation_metrics.score(there, estimates, rate, any_order=True, bss=False))
    values["counted"] = float(len(estimates) == len(there))
    return values | {f"{measure}_{len(there)}": values[measure] for measure in ("si_sdr", "counted")}


def beside_the_rest(
    reference: Signal, estimate: Signal, mixture: Signal, rate: float, bounded: bool
) -> dict[str, float]:
    """Separation measures of one source where all others count as one; `bounded`: with those of the mixture as it is
    and of the ideal binary mask."""
    pair = {"source": reference, "rest": mixture - reference}
    guess = {"source": estimate, "rest": mixture - estimate}
    values = separation_metrics.score(pair, guess, rate, quiet_db=QUIET_DB)["source"]
    if bounded:
        ideal = separation_metrics.bounds(pair, ratio=False)["source"]
        values |= {"input_sdr": sdr(reference, mixture), "binary_sdr": sdr(reference, ideal)}
    return values


def instrument_scores(
    references: Mapping[str, Signal], estimates: Mapping[str, Signal], rate: float
) -> dict[str, float]:
    """Means over the instruments that sound, PES also over those that are silent; empty unless two sound."""
    mixture = np.sum(list(references.values()), axis=0)
    power = {name: float(np.mean(each**2)) for name, each in references.items()}
    least = max(SOUNDS * float(np.mean(mixture**2)), SILENT)
    if sum(each > least for each in power.values()) < 2:
        return {}
    found = []
    for name, estimate in estimates.items():
        if power[name] > least:
            found.append(beside_the_rest(references[name], estimate, mixture, rate, bounded=True))
        elif power[name] <= SILENT:
            found.append({"pes": speech_metrics.silence_energies(references[name] * 0, estimate, rate)[0]})
    return {
        measure: float(np.mean(values))
        for measure in MEASURES
        if (values := [row[measure] for row in found if math.isfinite(row.get(measure, math.nan))])
    }


def _mean(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return separation_metrics.mean(list(found.values()))
