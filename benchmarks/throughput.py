"""Speed of the shipped model, compiled as the program runs it, beside the installed peers: one run on one thread.

    python -m benchmarks.throughput [--model NAME|M.onnx] [--seconds S] [--json PATH]

Every stream is fed its own frame, one call after the other; all take turns in short rounds, so that a busy moment of
the machine falls on all of them. Wall-clock percentiles tell what a live stream would feel; CPU seconds per second
of audio compare tools with different frames. Nothing here is a pass or a fail.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # read once, when the libraries below are loaded

import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, Annotated, Any  # noqa: E402

import numpy as np  # noqa: E402
import typer  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import rtsep  # noqa: E402
from benchmarks.machine import environment  # noqa: E402
from benchmarks.peers import PEERS  # noqa: E402
from rtsep.engine.enhance import BACKEND  # noqa: E402
from rtsep.model import shipped  # noqa: E402
from training.evaluation.evaluate import describe, write_json  # noqa: E402
from training.one_sentence import one_sentence  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Audio = NDArray[np.float32]

ROUNDS = 5
WARM_UP_S = 0.5
PERCENTILES = (50.0, 95.0, 99.0, 99.9)


def signal(rate: int, seconds: float) -> Audio:
    """Bursts of noise with pauses of digital silence, float32 `[samples]`, seeded: cost may depend on content."""
    samples = round(rate * seconds)
    noise = np.random.default_rng(0).standard_normal(samples) * 0.1
    return (noise * (np.arange(samples) % rate < 0.75 * rate)).astype(np.float32)


@dataclass
class Contender:
    """One stream under measurement: `process` takes float32 `[frame]` at `rate` Hz."""

    name: str
    rate: int
    frame: int
    process: Callable[[Audio], object]
    calls_ns: list[int] = field(default_factory=list)
    cpu_s: float = 0.0

    def run(self, seconds: float, record: bool = True) -> None:
        """Feed `seconds` of audio, frame by frame; keep the wall time of every call and the CPU time of all."""
        x = signal(self.rate, seconds)
        frames = [x[at : at + self.frame] for at in range(0, len(x) - self.frame + 1, self.frame)]
        clock, process, calls = time.perf_counter_ns, self.process, [0] * len(frames)
        cpu = time.process_time()
        for i, frame in enumerate(frames):
            start = clock()
            process(frame)
            calls[i] = clock() - start
        if record:
            self.cpu_s += time.process_time() - cpu
            self.calls_ns += calls

    def result(self) -> dict[str, Any]:
        """Wall ms a call (percentiles, max), share of calls longer than their audio, CPU and wall s per s of audio."""
        ms = np.array(self.calls_ns) / 1e6
        budget = 1000 * self.frame / self.rate
        audio_s = len(ms) * budget / 1000
        return {
            "name": self.name,
            "sample_rate": self.rate,
            "frame_ms": budget,
            "calls": len(ms),
            **{f"p{p:g}_ms": float(np.percentile(ms, p)) for p in PERCENTILES},
            "max_ms": float(ms.max()),
            "median_share": float(np.median(ms)) / budget,
            "p99_share": float(np.percentile(ms, 99)) / budget,
            "over_budget": float(np.mean(ms > budget)),
            "cpu_per_s": self.cpu_s / audio_s,
            "wall_per_s": float(ms.sum()) / 1000 / audio_s,
        }


def ours(model: rtsep.Model) -> Contender:
    """A model, called with whole hops as a live stream calls it."""
    spec = model.spec
    stream = model.stream(block_multiple=spec.hop)
    out = np.empty(spec.hop, np.float32)
    return Contender(f"rtsep {spec.name}", spec.sample_rate, spec.hop, lambda block: stream.process(block, out))


def contenders(model: rtsep.Model) -> list[Contender]:
    """The model, the other shipped ones for the same target, and every installed peer."""
    found = [ours(model)]
    for other in (rtsep.load(name, BACKEND) for name in shipped()):
        if other.spec.target == model.spec.target and other.path != model.path:
            found.append(ours(other))
    for peer in PEERS:
        if peer.installed():
            found.append(Contender(peer.name, peer.sample_rate, peer.frame, peer().process))
    return found


def measure_streams(model: rtsep.Model, seconds: float) -> list[dict[str, Any]]:
    """Results of all contenders over `seconds` of audio each, in `ROUNDS` turns after a warm-up."""
    found = contenders(model)
    for contender in found:
        contender.run(WARM_UP_S, record=False)
    for _ in range(ROUNDS):
        for contender in found:
            contender.run(seconds / ROUNDS)
    return [contender.result() for contender in found]


def measure_offline(model: rtsep.Model, seconds: float) -> dict[str, float]:
    """`rtsep.enhance` on one mono signal of `seconds` at the model's rate: wall and CPU seconds, times real time."""
    rate = model.spec.sample_rate
    x = signal(rate, seconds)
    rtsep.enhance(x[:rate], sample_rate=rate, model=model)
    wall, cpu = time.perf_counter(), time.process_time()
    rtsep.enhance(x, sample_rate=rate, model=model)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"audio_s": seconds, "wall_s": wall, "cpu_s": cpu, "times_real_time": seconds / wall}


def speed_table(results: list[dict[str, Any]]) -> Table:
    """One row a stream."""
    table = Table(title="one thread, one frame a call")
    table.add_column("stream")
    shares = ("median % of frame", "p99 % of frame", "over budget")
    labels = ("frame ms", *(f"p{p:g} ms" for p in PERCENTILES), "max ms", *shares, "CPU s per s", "calls")
    for label in labels:
        table.add_column(label, justify="right")
    for r in results:
        times = [f"{r[key]:.3f}" for key in (*(f"p{p:g}_ms" for p in PERCENTILES), "max_ms")]
        parts = [f"{100 * r['median_share']:.1f}", f"{100 * r['p99_share']:.1f}", f"{100 * r['over_budget']:.2f} %"]
        table.add_row(r["name"], f"{r['frame_ms']:.2f}", *times, *parts, f"{r['cpu_per_s']:.4f}", str(r["calls"]))
    return table


def main(
    model: Annotated[str, typer.Option(help="A shipped name or an .onnx file.")] = "denoise",
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Audio each stream is fed.")] = 30.0,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
) -> None:
    """Measure per-call times and CPU cost of MODEL and of the peers, and how fast files go."""
    with one_sentence():
        loaded = rtsep.load(model, BACKEND)
        console = Console()
        results = measure_streams(loaded, seconds)
        console.print(speed_table(results))
        for peer in PEERS:
            if not peer.installed():
                console.print(f"{peer.name}: not installed (pip install {peer.package})")
        offline = measure_offline(loaded, seconds)
        console.print(f"files: {offline['times_real_time']:.1f} times real time ({offline['audio_s']:g} s of audio)")
        absent = [peer.name for peer in PEERS if not peer.installed()]
        report = {"format": 1, **environment(), "model": describe(loaded), "streams": results, "offline": offline}
        if json_path:
            write_json(json_path, {**report, "not_installed": absent})


if __name__ == "__main__":
    typer.run(main)
