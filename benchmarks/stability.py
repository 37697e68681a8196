"""Does a stream that runs for long stay as good as a fresh one? Scores by 10-second segment over ten minutes.

    python -m benchmarks.stability --testset FOLDER [--model NAME|M.onnx] [--minutes 10] [--json PATH]

The pairs of FOLDER (several SNRs and noises), in a seeded order, are one signal at the model's rate, heard pass after
pass: the same speech and noise comes again minutes later. It runs through one `Stream`. Beside it every segment runs
through a stream of its own that begins one receptive field before the segment, so that both have heard the same of
what a network without recurrence can know: a difference is drift, and nothing else. A recurrent one begins ten seconds
before it; what it may know of longer ago shows as a difference too. The slope over time is a straight
line's through the segments' scores, with its 95 % interval (Student's t); the order of the clips moves it, therefore
the slope of the difference stands beside it, and the means of the passes.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("bench")

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

import rtsep
from benchmarks.machine import environment
from training.evaluation import speech_metrics
from training.evaluation.evaluate import MEASURES, Pair, cell, describe, find_pairs, write_json
from training.one_sentence import one_sentence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Audio = NDArray[np.float32]

RECURRENT_S = 10
SEGMENT_S = 10
SHOWN = ("pesq_wb", "si_sdr")
SEED = 0


@dataclass(frozen=True)
class Material:
    """What is heard: `clean` and `noisy` float32 `[samples]` at `rate` Hz, `passes` times the same `segments`."""

    clean: Audio
    noisy: Audio
    rate: int
    passes: int
    segments: int

    @property
    def length(self) -> int:
        """Samples of a segment."""
        return SEGMENT_S * self.rate


def assemble(pairs: Sequence[Pair], rate: int, minutes: float) -> Material:
    """The pairs one after the other at `rate` Hz, repeated to about `minutes`: passes of equal, whole segments.

    A pass is cut, or goes on with its own beginning, so that the whole is as long as asked for.
    """
    order = np.random.default_rng(SEED).permutation(len(pairs))
    clips = [
        [speech_metrics.resample(x, source, rate) for x in both] for *both, source in (pairs[i].read() for i in order)
    ]
    clean, noisy = (np.concatenate(side).astype(np.float32) for side in zip(*clips, strict=True))
    asked = 60 * minutes * rate
    passes = max(1, round(asked / len(clean)))
    segments = max(1, round(asked / passes / (SEGMENT_S * rate)))
    clean, noisy = (np.tile(np.resize(x, segments * SEGMENT_S * rate), passes) for x in (clean, noisy))
    return Material(clean, noisy, rate, passes, segments)


def streamed(model: rtsep.Model, noisy: Audio) -> Audio:
    """The whole signal through one stream in blocks of 10 ms, its latency removed; as long as `noisy`."""
    stream, out, block = model.stream(), np.empty_like(noisy), model.spec.sample_rate // 100
    for at in range(0, len(noisy), block):
        stream.process(noisy[at : at + block], out[at : at + block])
    tail = stream.flush()
    return np.concatenate([out, tail])[len(tail) :]


def fresh(model: rtsep.Model, material: Material, segment: int) -> Audio:
    """The `segment`-th ten seconds from a stream that begins a receptive field earlier, at a whole hop.

    Where units recur, `RECURRENT_S` earlier, at the beginning of a round of their hops.
    """
    spec, begin = model.spec, segment * material.length
    earlier = RECURRENT_S * spec.sample_rate if spec.slow_rate > 1 else spec.receptive_field
    start = max(0, begin - earlier) // (spec.hop * spec.slow_rate) * spec.hop * spec.slow_rate
    end = min(len(material.noisy), begin + material.length + spec.algorithmic_latency)
    return streamed(model, material.noisy[start:end])[begin - start :][: material.length]


def measure(clean: Audio, estimate: Audio, rate: int) -> dict[str, float]:
    """PESQ-WB and SI-SDR (dB) of one segment, at 16 kHz."""
    r, e = (speech_metrics.resample(x, rate, speech_metrics.WIDE_RATE) for x in (clean, estimate))
    return {"pesq_wb": speech_metrics.pesq_wb(r, e, speech_metrics.WIDE_RATE), "si_sdr": speech_metrics.si_sdr(r, e)}


def slope(values: Sequence[float]) -> dict[str, float]:
    """Least-squares slope a minute of scores ten seconds apart, with its 95 % interval; undefined ones are left out."""
    y = np.array(values)
    known = np.isfinite(y)
    minutes = (np.arange(len(y))[known] + 0.5) * SEGMENT_S / 60
    if len(minutes) < 3:
        return {"mean": math.nan, "low": math.nan, "high": math.nan}
    t, y = minutes - minutes.mean(), y[known] - y[known].mean()
    steep = float(t @ y) / float(t @ t)
    spread = float(np.sum((y - steep * t) ** 2)) / (len(t) - 2)
    half = float(stats.t.ppf(0.975, len(t) - 2)) * math.sqrt(spread / float(t @ t))
    return {"mean": steep, "low": steep - half, "high": steep + half}


def run(model: rtsep.Model, material: Material, console: Console) -> list[dict[str, Any]]:
    """One row a segment: begin in minutes, scores `noisy`, `stream` and `fresh`, largest `difference` of samples."""
    rate, length = material.rate, material.length
    whole = streamed(model, material.noisy)
    rows: list[dict[str, Any]] = []
    for segment in track(range(material.passes * material.segments), "segments", console=console, transient=True):
        here = slice(segment * length, (segment + 1) * length)
        clean, noisy, long = material.clean[here], material.noisy[here], whole[here]
        alone = fresh(model, material, segment)
        before = measure(clean, noisy, rate) if segment < material.segments else rows[-material.segments]["noisy"]
        found = measure(clean, long, rate)
        same = np.array_equal(long, alone)
        rows.append(
            {
                "minute": segment * SEGMENT_S / 60,
                "noisy": before,
                "stream": found,
                "fresh": found if same else measure(clean, alone, rate),
                "difference": float(np.abs(long - alone).max()),
            }
        )
    return rows


def digest(rows: Sequence[dict[str, Any]], passes: int) -> dict[str, Any]:
    """By measure: mean of every pass for noisy, stream and fresh; slopes a minute of stream, and of stream − fresh."""
    found = {}
    for name in SHOWN:
        of = {kind: [row[kind][name] for row in rows] for kind in ("noisy", "stream", "fresh")}
        means = {kind: [float(np.nanmean(part)) for part in np.split(np.array(v), passes)] for kind, v in of.items()}
        change = [long - alone for long, alone in zip(of["stream"], of["fresh"], strict=True)]
        found[name] = {"passes": means, "slope": slope(of["stream"]), "slope_of_difference": slope(change)}
    return found


def signed(measure: str, found: dict[str, float]) -> str:
    """A slope and its interval, one decimal more than the measure's."""
    return "{mean:+.{n}f} [{low:+.{n}f}, {high:+.{n}f}]".format(n=MEASURES[measure][1] + 1, **found)


def main(
    testset: Annotated[Path, typer.Option(help="Folder with clean/ and noisy/, or a folder of such folders.")],
    model: Annotated[str, typer.Option(help="A shipped name or an .onnx file.")] = "denoise",
    minutes: Annotated[float, typer.Option(min=0.5, max=600, help="Length of the stream.")] = 10.0,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
) -> None:
    """Print scores of a long stream by pass, their slope over time, and how far fresh streams differ."""
    with one_sentence():
        loaded = rtsep.load(model)
        pairs = [pair for some in find_pairs(testset).values() for pair in some]
        material = assemble(pairs, loaded.spec.sample_rate, minutes)
        rows = run(loaded, material, Console(stderr=True))
        summary = digest(rows, material.passes)
        length = len(rows) * SEGMENT_S / 60
        equal = sum(row["difference"] == 0 for row in rows)
        console = Console()
        table = Table(title=f"{loaded.spec.name}: {length:g} min in one stream, {material.passes} times the same")
        table.add_column("measure")
        passes = (f"pass {i + 1}" for i in range(material.passes))
        for title in ("noisy", *passes, "slope a minute", "less that of fresh streams"):
            table.add_column(title, justify="right")
        for name, found in summary.items():
            means = [cell(name, mean) for mean in (found["passes"]["noisy"][0], *found["passes"]["stream"])]
            slopes = [signed(name, found[key]).replace("[", "\\[") for key in ("slope", "slope_of_difference")]
            table.add_row(MEASURES[name][0], *means, *slopes)
        console.print(table)
        worst = max(row["difference"] for row in rows)
        console.print(f"{equal} of {len(rows)} segments equal those of fresh streams to the bit; largest: {worst:.1e}.")
        report = {"format": 1, **environment(), "model": describe(loaded), "minutes": length, "clips": len(pairs)}
        report |= {"passes": material.passes, "segment_s": SEGMENT_S, "equal": equal, "largest_difference": worst}
        if json_path:
            write_json(json_path, {**report, "summary": summary, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
