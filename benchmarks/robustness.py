"""Does a model destroy speech that is usual and was not trained on? Clean and noisy speech in, over a grid of cells.

    python -m benchmarks.robustness [MODEL ...] --data MANIFEST.csv [--check] [--json PATH]

Streams the models as users run them over recordings of the manifest's valid split (never the test split). The bar of a
cell, where it has one: clean speech comes out at 20 dB of SI-SDR or better, and one voice in noise of 15 dB of SNR or
less loses no more than 0.5 dB of SI-SDR and 0.01 of ESTOI against the input, in the mean over the clips. What has no
voice to lose is reported: how much softer it comes out. ESTOI counts bands that a line has cut off like all others, so
that of the bands which can be heard stands beside it. With `--peers` other tools that are installed are held to the
same bar, each at its own rate, and so are ideal ratio masks on a window of 5.33 ms, made of true speech and noise.
What `--json` holds already of the same sounds, and is not measured this time, stays.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("bench", "train")

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import rtsep
from benchmarks.machine import environment
from benchmarks.peers import PEERS, Peer
from benchmarks.peers.peer import Run
from benchmarks.robustness_cells import LEVEL, RATE, Audio, Cell, active_level, at_level, cells, encoders
from benchmarks.robustness_sounds import KINDS, Sounds, gather
from rtsep.errors import InputError
from rtsep.model import shipped
from training.evaluation.evaluate import describe, write_json
from training.evaluation.heard_estoi import heard_estoi
from training.evaluation.ideal_masks import ideal_mask
from training.evaluation.speech_metrics import resample, si_sdr, stoi
from training.one_sentence import one_sentence

SNRS = (0.0, 7.5, 15.0)  # dB, clip after clip
CLEAN_BAR = 20.0  # dB SI-SDR
LOSS_BAR = (0.5, 0.01)  # dB SI-SDR, ESTOI
VOICELESS = ("silence", "noise", "music")  # sources of cells
WINDOW = 256  # samples: the synthesis window of our denoisers
MOST = 80.0  # dB; what is better counts as this, so that means stay finite
Enhance = Callable[[Audio], Audio]


@dataclass(frozen=True)
class Case:
    """One clip of one cell, float32 `[samples]` each: two references, of the scale of what they stand beside."""

    reference: Audio
    clean: Audio
    noisy: Audio
    clean_reference: Audio

    def at(self, rate: int) -> Case:
        """The same at another rate in Hz, without what lies above its half."""
        sounds = (self.reference, self.clean, self.noisy, self.clean_reference)
        return self if rate == RATE else Case(*(resample(sound, RATE, rate).astype(np.float32) for sound in sounds))


def case(cell: Cell, sounds: Sounds, index: int) -> Case:
    """The `index`-th clip of a cell; same sounds and index, same case."""
    rng = np.random.default_rng((index, 17))
    noise = sounds.excerpts["noise"][index]
    voice = _source(cell, sounds, index)
    if cell.source not in ("silence", "noise"):
        voice = at_level(cell.voice(voice, rng), LEVEL)
    if cell.noise:
        noise = cell.noise(voice, rng)
    noise = at_level(noise, LEVEL - SNRS[index % len(SNRS)])
    added = cell.added(voice, rng) if cell.added else np.zeros_like(voice)
    reference, clean, noisy = (cell.line(sound) for sound in (voice, voice + added, voice + added + noise))
    clean_reference = reference
    if cell.peak is not None:
        quiet = [np.float32(10 ** (cell.peak / 20) / np.abs(sound).max()) for sound in (clean, noisy)]
        clean_reference, clean = reference * quiet[0], clean * quiet[0]
        reference, noisy = reference * quiet[1], noisy * quiet[1]
    return Case(reference, clean, noisy, clean_reference)


def _source(cell: Cell, sounds: Sounds, index: int) -> Audio:
    speech = sounds.excerpts["speech"]
    if cell.source == "pair":
        return at_level(speech[index], LEVEL) + at_level(speech[index - 1], LEVEL)
    if cell.source == "silence":
        return np.zeros_like(speech[index])
    return sounds.excerpts[cell.source][index]


def missing(cell: Cell, sounds: Sounds) -> str:
    """Why a cell cannot be measured here; empty if it can."""
    if cell.encoder and cell.encoder not in encoders():
        return f"ffmpeg here has no {cell.encoder}"
    if cell.source in KINDS and not sounds.excerpts[cell.source]:
        return f"no {cell.source} in the valid split"
    if cell.source == "pair" and len(sounds.excerpts["speech"]) < 2:
        return "needs two clips"
    return ""


def measure(cell: Cell, sounds: Sounds, enhance: Enhance, rate: int = RATE) -> dict[str, Any]:
    """Means over the clips of one cell, the worst clips, and whether the bar is passed (None: no bar).

    `enhance` works at `rate` Hz, and so all is measured there.
    """
    return _measure(cell, sounds, lambda one: enhance, rate)


def bound(cell: Cell, sounds: Sounds) -> dict[str, Any]:
    """As `measure`, where there is a voice, of ideal ratio masks (see `ideal_masks`) on sine windows of WINDOW."""

    def ideal(one: Case) -> Enhance:
        def masked(sound: Audio) -> Audio:
            speech = one.clean_reference if sound is one.clean else one.reference
            noise = (sound - speech)[:, np.newaxis]
            ratio, hop = True, WINDOW // 2
            return ideal_mask(noise, speech[:, np.newaxis], ratio, WINDOW, hop, shape="cosine")[:, 0]

        return masked

    return _measure(cell, sounds, ideal, RATE)


def _measure(cell: Cell, sounds: Sounds, enhancer: Callable[[Case], Enhance], rate: int) -> dict[str, Any]:
    if why := missing(cell, sounds):
        return {"cell": cell.name, "missing": why, "passed": None}
    cases = (case(cell, sounds, index).at(rate) for index in range(len(sounds.excerpts["speech"])))
    rows = [_scores(cell, one, enhancer(one), rate) for one in cases]
    mean = {name: _mean([row[name] for row in rows]) for name in rows[0]}
    result: dict[str, Any] = {"cell": cell.name, **mean}
    if "clean_si_sdr" in mean:
        result["worst_clean_si_sdr"] = min(row["clean_si_sdr"] for row in rows)
        result["si_sdr_change"] = mean["si_sdr_out"] - mean["si_sdr_in"]
        result["estoi_change"] = mean["estoi_out"] - mean["estoi_in"]
        result["heard_estoi_change"] = mean["heard_estoi_out"] - mean["heard_estoi_in"]
        result["worst_si_sdr_change"] = min(row["si_sdr_out"] - row["si_sdr_in"] for row in rows)
    return {**result, **verdict(cell, result)}


def verdict(cell: Cell, result: dict[str, Any]) -> dict[str, bool | None]:
    """`clean_passed`, `noisy_passed` and `passed`; None where the bar asks nothing.

    `heard_passed` is `passed` with the ESTOI of bands that are heard.
    """
    clean = result["clean_si_sdr"] >= CLEAN_BAR if cell.clean_bar else None

    def kept(estoi: str) -> bool | None:
        if not cell.noisy_bar:
            return None
        # An ESTOI that is undefined (words too short for it) cannot be lost.
        return not (-result["si_sdr_change"] > LOSS_BAR[0] or -result[estoi] > LOSS_BAR[1])

    def both(noisy: bool | None) -> bool | None:
        asked = [each for each in (clean, noisy) if each is not None]
        return all(asked) if asked else None

    noisy, heard = (kept(f"{which}estoi_change") for which in ("", "heard_"))
    return {"clean_passed": clean, "noisy_passed": noisy, "passed": both(noisy), "heard_passed": both(heard)}


def _scores(cell: Cell, one: Case, enhance: Enhance, rate: int) -> dict[str, float]:
    if cell.source in VOICELESS:
        sound = one.clean
        out, own = enhance(sound), float(np.square(sound).mean())
        left = float(np.square(out).mean())
        return {"level_out": _decibels(left), "level_change": _decibels(left) - _decibels(own)}
    clean, noisy = enhance(one.clean), enhance(one.noisy)
    return {
        "clean_si_sdr_in": _bounded(si_sdr(one.clean_reference, one.clean)),
        "clean_si_sdr": _bounded(si_sdr(one.clean_reference, clean)),
        "clean_level": active_level(clean, rate) - active_level(one.clean_reference, rate),
        "si_sdr_in": _bounded(si_sdr(one.reference, one.noisy)),
        "si_sdr_out": _bounded(si_sdr(one.reference, noisy)),
        "estoi_in": stoi(one.reference, one.noisy, rate, extended=True),
        "estoi_out": stoi(one.reference, noisy, rate, extended=True),
        "heard_estoi_in": heard_estoi(one.reference, one.noisy, rate),
        "heard_estoi_out": heard_estoi(one.reference, noisy, rate),
    }


def _decibels(power: float) -> float:
    return 10 * math.log10(max(power, 1e-20))


def _bounded(value: float) -> float:
    return float(np.clip(value, -MOST, MOST))


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def levelled(enhance: Enhance, target: float = LEVEL, most: float = 45.0) -> Enhance:
    """`enhance` behind a slow input gain that is undone at its output: what following the level could win.

    The level is a causal mean of power over what is within 20 dB of the loudest of late, in steps of 10 ms: up within
    50 ms, down 6 dB a second; the gain brings it to `target` dBFS, at most `most` dB up and 0 down.
    """

    def followed(sound: Audio) -> Audio:
        step = RATE // 100
        blocks = np.square(np.pad(sound, (0, -len(sound) % step))).reshape(-1, step).mean(1) + 1e-20
        level = np.empty(len(blocks))
        now = 10 ** ((target - most) / 10)  # a stream begins with the most gain it may give
        for index, power in enumerate(blocks):
            now = now + 0.2 * (power - now) if power > now else max(power, now * 10 ** (-0.006))
            level[index] = now
        decibels = np.clip(target - 10 * np.log10(level), 0, most)
        # What a block tells is known when it is over: the gain comes one block later.
        places = (np.arange(len(blocks)) + 1) * step
        gain = (10 ** (np.interp(np.arange(len(sound)), places, decibels) / 20)).astype(np.float32)
        return enhance(sound * gain) / gain

    return followed


def streamed(model: rtsep.Model) -> Enhance:
    """The model as users run it on whole signals: its stream, aligned with the input."""
    return lambda sound: rtsep.enhance(sound, RATE, model)


def peer(kind: type[Peer]) -> Enhance:
    """Another tool as `streamed`, at its own rate."""
    run = Run(kind)
    return lambda sound: run(sound, kind.sample_rate).audio.astype(np.float32)


def missed(results: list[dict[str, Any]], bar: str = "passed") -> tuple[int, int]:
    """How many cells miss the bar, and how many have one."""
    asked = [row[bar] for row in results if row["passed"] is not None]
    return asked.count(False), len(asked)


def table(name: str, results: list[dict[str, Any]]) -> Table:
    """One model's cells; ✗ marks what misses the bar, ✓ what passes it."""
    found = Table(title=f"{name}: clean and noisy speech (SI-SDR in dB)")
    for title in (
        "cell",
        "clean out",
        "worst",
        "noisy in",
        "out",
        "ESTOI in",
        "out",
        "heard",
        "out",
        "level dB",
        "bar",
    ):
        found.add_column(title, justify="left" if title == "cell" else "right")
    for row in results:
        if "missing" in row:
            found.add_row(row["cell"], *[""] * 9, f"[dim]{row['missing']}[/dim]")
        elif "level_change" in row:
            found.add_row(row["cell"], *[""] * 8, f"{row['level_change']:.1f}", "")
        else:
            numbers = [row[key] for key in ("clean_si_sdr", "worst_clean_si_sdr", "si_sdr_in", "si_sdr_out")]
            measures = ("estoi_in", "estoi_out", "heard_estoi_in", "heard_estoi_out")
            shares = [f"{row[key]:.3f}" for key in measures]
            bar = " ".join(
                f"{part} {'✓' if row[f'{part}_passed'] else '✗'}"
                for part in ("clean", "noisy")
                if row[f"{part}_passed"] is not None
            )
            found.add_row(row["cell"], *(f"{x:.1f}" for x in numbers), *shares, f"{row['clean_level']:.1f}", bar)
    return found


def with_earlier(report: dict[str, Any], file: Path) -> dict[str, Any]:
    """`report`, and what an earlier one in `file` has of the same sounds that is not measured now."""
    try:
        earlier = json.loads(file.read_text())
    except (OSError, ValueError):
        return report
    if any(earlier.get(key) != report[key] for key in ("clips", "seconds", "only", "sounds_sha256")):
        return report

    def key(entry: dict[str, Any]) -> tuple[str, bool]:
        return entry["model"]["name"], entry["input_gain"]

    measured = {key(entry) for entry in report["models"]}
    models = [entry for entry in earlier["models"] if key(entry) not in measured]
    kept = {name: earlier[name] for name in ("peers", "ideal_masks") if name in earlier}
    return kept | report | {"models": sorted(models + report["models"], key=key)}


def _models(names: list[str]) -> Iterator[tuple[str, rtsep.Model]]:
    for name in names or shipped():
        model = rtsep.load(name)
        if names or model.spec.target == "speech":
            yield name, model


def main(
    models: Annotated[list[str] | None, typer.Argument(help="Names or .onnx files; default: all for speech.")] = None,
    data: Annotated[Path, typer.Option(help="A manifest.csv; only its valid split is opened.")] = ...,  # type: ignore[assignment]
    clips: Annotated[int, typer.Option(min=1, max=100, help="Clips a cell.")] = 6,
    seconds: Annotated[float, typer.Option(min=1, max=30, help="Length of each.")] = 4.0,
    only: Annotated[str, typer.Option(help="Only cells whose name holds this.")] = "",
    follow: Annotated[bool, typer.Option(help="Also with a simulated slow input gain.")] = False,
    peers: Annotated[bool, typer.Option("--peers", help="Also other tools that are installed.")] = False,
    check: Annotated[bool, typer.Option(help="Exit code 1 where the bar is missed.")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
) -> None:
    """Print what every model does to clean and noisy speech in every cell."""
    with one_sentence():
        chosen = [cell for cell in cells() if only in cell.name]
        if not chosen:
            raise InputError(f"No cell is called {only!r}; there are: {', '.join(cell.name for cell in cells())}.")
        loaded = list(_models(models or []))
        sounds = gather(data, clips, seconds)
        console, failed = Console(), 0
        report: dict[str, Any] = {"format": 1, **environment(), "clips": clips, "seconds": seconds}
        report |= {"only": only, "sounds_sha256": sounds.sha256}

        def measured(name: str, enhance: Enhance, rate: int = RATE) -> list[dict[str, Any]]:
            return shown(name, [measure(cell, sounds, enhance, rate) for cell in chosen])

        def shown(name: str, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
            console.print(table(name, results))
            (count, asked), (unheard, _) = missed(results), missed(results, "heard_passed")
            console.print(f"{count} of {asked} cells miss the bar, {unheard} by the ESTOI of bands that are heard.")
            return results

        report["models"] = []
        for name, model in loaded:
            ways = {"": streamed(model)} | ({" with a slow input gain": levelled(streamed(model))} if follow else {})
            for suffix, enhance in ways.items():
                results = measured(Path(name).name + suffix, enhance)
                failed += missed(results)[0] > 0 and not suffix
                report["models"].append({"model": describe(model), "input_gain": bool(suffix), "cells": results})
        if peers:
            here = [each for each in PEERS if each.installed()]
            report["peers"] = [
                {"name": each.name, "version": each.version(), "sample_rate": each.sample_rate}
                | {"cells": measured(each.name, peer(each), each.sample_rate)}
                for each in here
            ]
            ideal = [bound(cell, sounds) for cell in chosen if cell.source not in VOICELESS]
            report["ideal_masks"] = {"window": WINDOW, "sample_rate": RATE, "cells": shown("ideal masks", ideal)}
        if json_path:
            write_json(json_path, with_earlier(report, json_path))
        if check and failed:
            raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
