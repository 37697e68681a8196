"""How well any sources were taken apart, in whatever order they were put out, and the bounds of ideal masks.

Signals are `[samples]`, full scale 1, aligned and equally long; everything is in dB but shares and counts. A measure
that is undefined (a silent reference) is NaN. BSSEval comes from `museval` by way of `song_metrics.bss_eval`, SI-SDR,
PES and EPS from `speech_metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from training.evaluation import song_metrics, speech_metrics
from training.evaluation.ideal_masks import ideal_mask

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Mask = NDArray[np.bool_]

WINDOW, HOP = 1024, 512  # of the masks
BSS = ("sdr", "isr", "sir", "sar")

#: measure -> (column title, decimals)
MEASURES: dict[str, tuple[str, int]] = {
    "sdr": ("SDR", 2),
    "isr": ("ISR", 2),
    "sir": ("SIR", 2),
    "sar": ("SAR", 2),
    "si_sdr": ("SI-SDR", 2),
    "si_sdri": ("SI-SDR gain", 2),
    "pes": ("PES", 1),
    "eps": ("EPS", 1),
    "precision": ("precision", 3),
    "recall": ("recall", 3),
}


def best_order(references: Sequence[ArrayLike], estimates: Sequence[ArrayLike]) -> list[int]:
    """For each reference the estimate that it goes with, so that the sum of SI-SDRs is the largest there is.

    The Hungarian algorithm (Kuhn 1955). Of more references than estimates some go with none, -1.
    """
    from scipy.optimize import linear_sum_assignment

    gains = np.array([[speech_metrics.si_sdr(r, e) for e in estimates] for r in references])
    gains = np.nan_to_num(gains, nan=-1e3).clip(-1e3, 1e3)
    found = [-1] * len(references)
    for reference, estimate in zip(*linear_sum_assignment(-gains), strict=True):
        found[reference] = int(estimate)
    return found


def spectrum(x: ArrayLike) -> NDArray[np.float64]:
    """Magnitudes `[bins, frames]` of the masks' transform."""
    from scipy.signal import stft

    return np.abs(stft(np.asarray(x, np.float64), nperseg=WINDOW, noverlap=WINDOW - HOP)[2])


def binary_mask(source: ArrayLike, rest: ArrayLike) -> Mask:
    """Where |S| > |N|: the ideal binary mask of true signals, that of a method of its estimate and what it leaves."""
    return spectrum(source) > spectrum(rest)


def precision_recall(ideal: Mask, found: Mask) -> tuple[float, float]:
    """Which share of the bins that were `found` is right, and which share of the right ones was found, 0 to 1.

    NaN where nothing was found, or nothing was to be found.
    """
    right = float((ideal & found).sum())
    return tuple(right / total if (total := float(each.sum())) else math.nan for each in (found, ideal))  # type: ignore[return-value]


def score(
    references: Mapping[str, ArrayLike],
    estimates: Mapping[str, ArrayLike],
    rate: float,
    any_order: bool = False,
    quiet_db: float | None = None,
    bss: bool = True,
) -> dict[str, dict[str, float]]:
    """All `MEASURES` of each source, by its name; the mixture is the sum of the references.

    With `any_order` estimates go to the references that they fit best. PES and EPS take frames of 1 s that are exactly
    silent, or, with `quiet_db`, that far under the loudest one (see `speech_metrics.silence_energies`). BSSEval takes
    most of the time; without `bss` its measures are NaN.
    """
    names = list(references)
    truth = [np.asarray(references[name], np.float64) for name in names]
    made = [np.asarray(each, np.float64) for each in estimates.values()]
    if any_order:
        order = best_order(truth, made)
        made = [made[index] if index >= 0 else np.zeros_like(truth[0]) for index in order]
    else:
        made = [np.asarray(estimates[name], np.float64) for name in names]
    mixture = np.sum(truth, axis=0)
    parts = {measure: [math.nan] * len(truth) for measure in BSS}
    if bss:
        parts = song_metrics.bss_eval([each[:, None] for each in truth], [each[:, None] for each in made], rate)
    found = {}
    for index, (name, true, guess) in enumerate(zip(names, truth, made, strict=True)):
        pes, eps = speech_metrics.silence_energies(true, guess, rate, 1.0, quiet_db)
        gain = speech_metrics.si_sdr(true, guess)
        right = precision_recall(binary_mask(true, mixture - true), binary_mask(guess, mixture - guess))
        values = {measure: parts[measure][index] for measure in BSS}
        values |= {"si_sdr": gain, "si_sdri": gain - speech_metrics.si_sdr(true, mixture)}
        values |= {"pes": pes, "eps": eps, "precision": right[0], "recall": right[1]}
        found[name] = {measure: values[measure] for measure in MEASURES}
    return found


def bounds(references: Mapping[str, ArrayLike], ratio: bool) -> dict[str, NDArray[np.float32]]:
    """What ideal masks (see `ideal_masks`) take out of the mixture, by source: ratio masks or binary ones."""
    truth = {name: np.asarray(each, np.float32)[:, None] for name, each in references.items()}
    whole = np.sum(list(truth.values()), axis=0)
    return {name: ideal_mask(whole - each, each, ratio)[:, 0] for name, each in truth.items()}


def counting_accuracy(true: Sequence[int], found: Sequence[int]) -> float:
    """The share of mixtures of which as many sources were found as there are, 0 to 1."""
    if len(true) != len(found) or not true:
        raise ValueError(
            f"As many counts as were found are needed, and one at least, not {len(true)} and {len(found)}."
        )
    return float(np.mean(np.asarray(true) == np.asarray(found)))


def mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean over mixtures of every measure; what is not finite is left out, NaN where nothing else is."""
    result = {}
    for name in MEASURES:
        values = [row[name] for row in rows if math.isfinite(row[name])]
        result[name] = float(np.mean(values)) if values else math.nan
    return result
