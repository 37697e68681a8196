"""How far the step is from its limit, the bare products with its weights, and from onnxruntime and other tools.

    python -m benchmarks.limit [MODEL ...] [--fastenhancer M.onnx] [--repeats N] [--json PATH] [--picture F.svg]

All on one thread, in one run, in small turns: a turn of each contender, and again. A ratio is taken within a repeat,
so that a busy moment of the machine falls on both of its sides; told are the median over the repeats, the least and the
most. The products are those of the model's graph and of nothing else, as plain loops in numba (fastmath) and by BLAS
(numpy), each with its own copy of weights of the same sizes, as float32. Nothing here is a pass or a fail.

Other tools run as they come with pip, FastEnhancer when its file is given. The picture has cost against size: the share
of a core over the number of parameters, of models and tools whose size is known.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # read once, when the libraries below are loaded

import functools  # noqa: E402
import itertools  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, Annotated, Any  # noqa: E402

import numpy as np  # noqa: E402
import typer  # noqa: E402
from numba import njit  # noqa: E402
from numba.typed import List as NumbaList  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import rtsep  # noqa: E402
from benchmarks.cost import multiply_adds, parameters  # noqa: E402
from benchmarks.machine import environment  # noqa: E402
from benchmarks.peers import PEERS, FastEnhancer, Peer  # noqa: E402
from rtsep.engine.compiled import records  # noqa: E402
from rtsep.engine.compiled.compiler import compile_model  # noqa: E402
from rtsep.engine.compiled.functions import step_stream  # noqa: E402
from rtsep.engine.compiled.onnx_file import read  # noqa: E402
from training.evaluation.evaluate import describe, write_json  # noqa: E402
from training.one_sentence import one_sentence  # noqa: E402

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rtsep.engine.compiled.program import Program

    Floats = NDArray[np.float32]
    Shape = tuple[int, int, int, int]  # rows, depth, outputs, and the record, for weights that several phases share

CALLS = 400  # of a hop, in a turn
SKIPPED = 40  # at the beginning of a turn, while the weights come into the cache
TURNS = 4  # a repeat

# ratio: (whose time, by whose)
RATIOS = {
    "step / products": ("compiled", "products"),
    "step / onnxruntime": ("compiled", "onnxruntime"),
    "native step / products": ("native", "products"),
    "onnxruntime / products": ("onnxruntime", "products"),
}


def shapes(program: Program) -> list[list[Shape]]:
    """The products of each phase of a round."""
    found = []
    for phase in range(program.spec.slow_rate):
        at, here = 0, []
        while at < len(program.records):
            line, number = program.records[at], at
            at += 1
            if line[records.KIND] == records.PRODUCT:
                sizes = (line[records.INNER_ROWS], line[records.DEPTH], line[records.COUNT])
                here.append((int(sizes[0]), int(sizes[1]), int(sizes[2]), number))
            elif line[records.KIND] == records.GO_TO or (
                line[records.KIND] == records.UNLESS_PHASE and line[records.PHASE] != phase
            ):
                at = int(line[records.TARGET])
        found.append(here)
    return found


@njit(fastmath=True, nogil=True, boundscheck=False)
def products_in_numba(weights: Any, inputs: Any, outputs: Any) -> None:
    """y[r, o] = W[o] · x[r] for all products: what a compiler makes of plain loops."""
    for number in range(len(weights)):
        w, x, y = weights[number], inputs[number], outputs[number]
        for row in range(x.shape[0]):
            for o in range(w.shape[0]):
                total = np.float32(0.0)
                for i in range(w.shape[1]):
                    total += w[o, i] * x[row, i]
                y[row, o] = total


class Products:
    """The bare products of one phase; `weights` are those of the phases before, to which new ones are added."""

    def __init__(self, sizes: list[Shape], weights: dict[int, Floats]) -> None:
        draw = np.random.default_rng(0).standard_normal
        for _, depth, outputs, number in sizes:
            if number not in weights:
                weights[number] = draw((outputs, depth), np.float32)
        self.weights = [weights[number] for *_, number in sizes]
        self.inputs = [draw((rows, depth), np.float32) for rows, depth, *_ in sizes]
        self.outputs = [np.zeros((rows, outputs), np.float32) for rows, _, outputs, _ in sizes]
        self.lists = [NumbaList(each) for each in (self.weights, self.inputs, self.outputs)]

    def numba(self) -> None:
        products_in_numba(*self.lists)

    def blas(self) -> None:
        for w, x, y in zip(self.weights, self.inputs, self.outputs, strict=True):
            if len(x) == 1:
                np.dot(w, x[0], y[0])
            else:
                np.dot(x, w.T, y)


def contenders(name: str) -> tuple[rtsep.Model, dict[str, Callable[[], object]]]:
    """The model, and what is measured by name: each call is one hop."""
    model, reference = rtsep.load(name, backend="compiled"), rtsep.load(name)
    if model.backend != "compiled":
        raise rtsep.InputError(f"{name} cannot be compiled, so there is nothing to measure.")
    spec = model.spec
    program = compile_model(read(model.path.read_bytes()), spec)
    weights: dict[int, Floats] = {}
    phases = [Products(sizes, weights) for sizes in shapes(program)]
    in_numba, in_blas = (itertools.cycle([getattr(each, kind) for each in phases]) for kind in ("numba", "blas"))
    noise = np.random.default_rng(1).standard_normal((spec.channels, spec.analysis_window)).astype(np.float32) * 0.05
    compiled, onnx, native = model.step(), reference.step(), model.native_step(spec.channels)
    sound = np.ascontiguousarray(noise[:, -spec.hop :].T)
    out = np.empty_like(sound)
    pointers = sound.ctypes.data, out.ctypes.data
    call = step_stream.call

    def native_hop(_memory: object = (sound, out)) -> None:  # lives as long as the pointers to it
        call(native.context, *pointers)

    return model, {
        "compiled": lambda: compiled.step(noise),
        "native": native_hop,
        "onnxruntime": lambda: onnx.step(noise),
        "numba": lambda: next(in_numba)(),
        "blas": lambda: next(in_blas)(),
    }


def turn(call: Callable[[], object], calls: int = CALLS) -> float:
    """Mean microseconds of a call over the quicker half of the calls of a turn; rates of a round count alike."""
    clock, times = time.perf_counter_ns, np.empty(calls)
    for _ in range(SKIPPED):
        call()
    for index in range(calls):
        start = clock()
        call()
        times[index] = clock() - start
    return float(np.mean([np.median(times[phase::8]) for phase in range(8)])) / 1e3


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Microseconds of a hop of each contender, repeat by repeat, and the ratios."""
    model, calls = contenders(name)
    rows: list[dict[str, float]] = []
    for _ in range(repeats):
        turns = [{kind: turn(call) for kind, call in calls.items()} for _ in range(TURNS)]
        row = {kind: float(np.median([each[kind] for each in turns])) for kind in calls}
        rows.append(row | {"products": min(row["numba"], row["blas"])})
    ratios = {title: spread([row[a] / row[b] for row in rows]) for title, (a, b) in RATIOS.items()}
    times = {kind: spread([row[kind] for row in rows]) for kind in rows[0]}
    products = multiply_adds(model.path)
    hop_us = 1e6 * model.spec.hop / model.spec.sample_rate
    return {"model": describe(model), "multiply_adds": products, "hop_us": hop_us, "us": times, "ratios": ratios}


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": float(np.median(values)), "least": min(values), "most": max(values)}


def measure_peers(names: list[str], repeats: int, given: Sequence[Peer] = ()) -> list[dict[str, Any]]:
    """Share of one core of each model's native step and of each tool, installed or given, frame by frame, in turns.

    And how many parameters they have, None where that is not known.
    """
    calls: dict[str, tuple[Callable[[], object], float]] = {}
    sizes: dict[str, int | None] = {}
    for name in names:
        model, made = contenders(name)
        title = f"rtsep {model.spec.name} {model.spec.version}"
        for kind, label in (("native", "compiled"), ("onnxruntime", "onnxruntime")):
            calls[f"{title}, {label}"] = made[kind], model.spec.hop / model.spec.sample_rate
            sizes[f"{title}, {label}"] = parameters(model.path)
    for tool in (*(peer() for peer in PEERS if peer.installed()), *given):
        frame = (0.05 * np.random.default_rng(2).standard_normal(tool.frame)).astype(np.float32)
        calls[tool.name] = functools.partial(tool.process, frame), tool.frame / tool.sample_rate
        sizes[tool.name] = tool.parameters
    shares: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, (call, seconds) in calls.items():
            shares[name].append(turn(call, 80) / 1e6 / seconds)
    return [{"name": name, "parameters": sizes[name], "share_of_core": spread(found)} for name, found in shares.items()]


def draw(found: Sequence[dict[str, Any]], file: Path) -> None:
    """A point a tool: percent of a core over parameters, both logarithmic; the same results give the same bytes."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "rtsep"
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for entry in found:
        if not entry["parameters"]:
            continue
        share, own = 100 * entry["share_of_core"]["median"], entry["name"].startswith("rtsep ")
        axis.plot(entry["parameters"], share, "o" if own else "s", color="C0" if own else "C1")
        axis.annotate(
            entry["name"], (entry["parameters"], share), (5, 3), textcoords="offset points", size=7, clip_on=False
        )
    axis.set(xscale="log", yscale="log", xlabel="parameters", ylabel="percent of one core")
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter(lambda value, _: f"{value:,.10g}")
        each.set_minor_formatter("")
    axis.grid(alpha=0.3, which="both")
    axis.margins(x=0.25)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def main(
    models: Annotated[list[str] | None, typer.Argument(help="Shipped names or .onnx files.")] = None,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="How often all is measured.")] = 7,
    fastenhancer: Annotated[Path | None, typer.Option(help="Its ONNX file, from wave to wave.")] = None,
    fastenhancer_rate: Annotated[int, typer.Option(min=8000, max=48_000, help="Of that model, Hz.")] = 16_000,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw cost against size here.")] = None,
) -> None:
    """Measure how far the steps of MODELS are from their bare products."""
    with one_sentence():
        names = models or ["denoise", "denoise-small", "karaoke"]
        given = [FastEnhancer(str(fastenhancer), fastenhancer_rate)] if fastenhancer else []
        found = [measure(name, repeats) for name in names]
        table = Table(title="one hop, one thread: median (least to most)")
        for title in ("model", *found[0]["us"], *RATIOS):
            table.add_column(title, justify="left" if title == "model" else "right")
        for entry in found:
            times = [f"{value['median']:.0f} us" for value in entry["us"].values()]
            ratios = [f"{v['median']:.2f} ({v['least']:.2f} to {v['most']:.2f})" for v in entry["ratios"].values()]
            table.add_row(f"{entry['model']['name']} {entry['model']['version']}", *times, *ratios)
        console = Console(width=200)
        console.print(table)
        peers = measure_peers(names, repeats, given)
        for entry in peers:
            console.print(f"{entry['name']}: {100 * entry['share_of_core']['median']:.2f} % of a core")
        if json_path:
            write_json(json_path, {"format": 1, **environment(), "repeats": repeats, "models": found, "peers": peers})
        if picture:
            draw(peers, picture)


if __name__ == "__main__":
    typer.run(main)
