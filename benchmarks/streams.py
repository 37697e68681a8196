"""How many live streams one core serves: the step of all of them within half a hop in 99 of 100 hops.

    python -m benchmarks.streams [MODEL ...] [--repeats N] [--json PATH]

`rtsep.Engine` steps more and more streams, on one thread, in small turns: a turn of each number of streams of each
model, and again. Told is the number at which p99 of the step reaches half a hop, between the two numbers nearest to it,
and beside it how many times as long as many streams take one after the other. The other half of a hop is left for
whatever brings the sound and takes it away.
Times are CPU time of the thread: other programs count by what they do to the caches, which is much on a busy machine,
and not by the core that they take. Nothing here is a pass or a fail.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # read once, when the libraries below are loaded

import time  # noqa: E402
from functools import partial  # noqa: E402
from itertools import pairwise  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, Annotated, Any  # noqa: E402

import numpy as np  # noqa: E402
import typer  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import rtsep  # noqa: E402
from benchmarks.limit import spread  # noqa: E402
from benchmarks.machine import environment  # noqa: E402
from rtsep.engine.compiled.native import NativeStep  # noqa: E402
from rtsep.engine.many_streams import MAX_STREAMS, Engine  # noqa: E402
from training.evaluation.evaluate import describe, write_json  # noqa: E402
from training.one_sentence import one_sentence  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

# title: (key, format)
COLUMNS = {
    "streams, p99 under half a hop": ("streams", ".0f"),
    "streams, median under half a hop": ("streams at the median", ".0f"),
    "µs a stream and hop": ("us_a_stream", ".1f"),
    "one after the other / together": ("one after the other / together", ".2f"),
}
CALLS = 120  # hops in a turn
SKIPPED = 10  # at its beginning, while weights and states come into the cache
TURNS = 3  # a repeat
AROUND = (0.3, 0.45, 0.6, 0.75, 0.9, 1.05, 1.2, 1.4)  # numbers of streams, as shares of the first estimate


def cells(entry: dict[str, Any]) -> list[str]:
    """A model's row of the table: median, least and most of each column."""
    rows = [{name: f"{value:{form}}" for name, value in entry[key].items()} for key, form in COLUMNS.values()]
    return [f"{row['median']} ({row['least']} to {row['most']})" for row in rows]


def microseconds(call: Callable[[], object], calls: int) -> Floats:
    """CPU time of each call, after the first few."""
    clock, times = time.thread_time_ns, np.empty(calls + SKIPPED)
    for index in range(len(times)):
        start = clock()
        call()
        times[index] = clock() - start
    return (times[SKIPPED:] / 1e3).astype(np.float32)


def crossing(counts: list[int], p99: list[float], limit: float) -> int:
    """How many streams stay below `limit`, read off the line through the two counts around it.

    0 when none does; when all do, the largest count, for nobody knows what lies beyond.
    """
    if p99[0] > limit:
        return 0
    for (few, many), (low, high) in zip(pairwise(counts), pairwise(p99), strict=True):
        if high > limit:
            return int(few + (many - few) * (limit - low) / (high - low))
    return counts[-1]


class Streams:
    """A model's engine under measurement, and the same streams one after the other."""

    def __init__(self, name: str) -> None:
        self.model = model = rtsep.load(name, backend="compiled")
        if model.backend != "compiled":
            raise rtsep.InputError(f"{name} cannot be compiled, so an engine cannot run it.")
        spec = model.spec
        self.half_hop_us = 0.5e6 * spec.hop / spec.sample_rate
        first = Engine(model, 8)
        for _ in range(8):
            first.join()
        block = self.noise(8)
        guess = 8 * self.half_hop_us / float(np.median(microseconds(lambda: first.process(block), 200)))
        self.counts = sorted({min(MAX_STREAMS, max(1, round(share * guess))) for share in AROUND})
        self.engine, self.block = Engine(model, self.counts[-1]), self.noise(self.counts[-1])
        self.places = [self.engine.join() for _ in range(self.counts[-1])]
        self.alone = [NativeStep(model.program, spec.channels) for _ in range(self.counts[0])]

    def noise(self, streams: int) -> Floats:
        """A hop of noise for each."""
        spec = self.model.spec
        shape = streams, spec.hop, spec.channels
        return (0.05 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)

    def turn(self) -> dict[int, Floats]:
        """Microseconds of each call, by the number of streams; 0 is the fewest streams, one after the other."""
        found = {}
        for count in self.counts:
            places = self.places[:count]
            found[count] = microseconds(partial(self.engine.step, places, self.block[:count]), CALLS)

        def one_by_one() -> None:
            for step, hop in zip(self.alone, self.block, strict=False):
                step.step(hop)

        return found | {0: microseconds(one_by_one, CALLS // 4)}


def measure(names: list[str], repeats: int) -> list[dict[str, Any]]:
    """All models in turns, repeat by repeat."""
    streams = [Streams(name) for name in names]
    rows: list[list[dict[str, Any]]] = [[] for _ in names]
    for _ in range(repeats):
        turns = [[each.turn() for each in streams] for _ in range(TURNS)]
        for number, each in enumerate(streams):
            times = {count: np.concatenate([turn[number][count] for turn in turns]) for count in (0, *each.counts)}
            fewest = each.counts[0]
            p50, p99 = (
                {count: float(np.percentile(times[count], percent)) for count in each.counts} for percent in (50, 99)
            )
            rows[number].append(
                {
                    "p99_us": p99,
                    "streams": crossing(each.counts, list(p99.values()), each.half_hop_us),
                    "streams at the median": crossing(each.counts, list(p50.values()), each.half_hop_us),
                    "us_a_stream": float(np.median(times[fewest])) / fewest,
                    "one after the other / together": float(np.median(times[0]) / np.median(times[fewest])),
                }
            )
    return [
        {
            "model": describe(each.model),
            "half_hop_us": each.half_hop_us,
            "p99_us": {str(count): spread([row["p99_us"][count] for row in found]) for count in each.counts},
            **{key: spread([row[key] for row in found]) for key in found[0] if key != "p99_us"},
        }
        for each, found in zip(streams, rows, strict=True)
    ]


def main(
    models: Annotated[list[str] | None, typer.Argument(help="Shipped names or .onnx files.")] = None,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="How often all is measured.")] = 5,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
) -> None:
    """Measure how many streams of MODELS one core serves."""
    with one_sentence():
        found = measure(models or ["denoise", "denoise-small"], repeats)
        table = Table(title=f"one core, median of {repeats} (least to most)")
        table.add_column("model")
        for title in COLUMNS:
            table.add_column(title, justify="right")
        for entry in found:
            table.add_row(f"{entry['model']['name']} {entry['model']['version']}", *cells(entry))
        Console(width=160).print(table)
        if json_path:
            write_json(json_path, {"format": 1, **environment(), "repeats": repeats, "models": found})


if __name__ == "__main__":
    typer.run(main)
