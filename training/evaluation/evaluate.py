"""Score a model on a test set, through the very `Stream` that users run.

    python -m training.evaluation.evaluate MODEL.onnx TESTSET [--dnsmos sig_bak_ovr.onnx] [--json PATH] [--workers N]

TESTSET holds `clean/NAME.flac` and `noisy/NAME.flac` (mono, same rate and length), or several such folders. A NAME
that ends in `_NOISE_snrDB` also gets tables by SNR and by noise. Every noisy file is streamed at full strength in
blocks of 10 ms; the stream's latency is removed, nothing is trimmed or rescaled. Figures are means over clips with
their 95 % bootstrap interval; `--dnsmos` adds DNSMOS P.835 from Microsoft's file (see `training.evaluation.dnsmos`).
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("bench")

import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
import soundfile as sf
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

import rtsep
from rtsep.errors import InputError, RtsepError
from training.evaluation import dnsmos, speech_metrics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Audio = NDArray[np.float32]
    Row = dict[str, Any]

_NAME = re.compile(r"_(?P<noise>[^_]+)_snr(?P<snr>-?\d+(?:\.\d+)?)$")
_BLOCK_S = 0.01
MEASURES = speech_metrics.MEASURES | dnsmos.MEASURES  # the latter only where the user has its file
_PACKAGES = ("rtsep", "numpy", "numba", "onnxruntime", "soxr", "pesq", "pystoi", "pyrnnoise", "webrtc-noise-gain")


@dataclass(frozen=True)
class Pair:
    """One clean and one noisy file of a test set; `noise` and `snr` (dB) when its name tells them."""

    set: str
    name: str
    clean: Path
    noisy: Path
    noise: str | None
    snr: float | None

    @property
    def family(self) -> str | None:
        """The noise's name up to its first hyphen: `esc` of `esc-4-157611-A`."""
        return self.noise.split("-")[0] if self.noise else None

    def read(self) -> tuple[Audio, Audio, int]:
        """Clean and noisy signal `[samples]` and their rate in Hz; InputError when they do not belong together."""
        signals, rates = [], []
        for path in (self.clean, self.noisy):
            try:
                signal, rate = sf.read(path, dtype="float32")
            except (sf.LibsndfileError, OSError) as error:
                raise InputError(f"{path} cannot be read as audio: {error}.") from None
            if signal.ndim != 1 or not len(signal):
                raise InputError(f"{path} must be mono and not empty.")
            signals.append(signal)
            rates.append(rate)
        if rates[0] != rates[1] or len(signals[0]) != len(signals[1]):
            raise InputError(f"{self.clean} and {self.noisy} differ in rate or length; a pair must be aligned.")
        return signals[0], signals[1], rates[0]


def find_pairs(folder: Path) -> dict[str, list[Pair]]:
    """The pairs of a test set, by set name. InputError when there is none, or a noisy file has no clean twin."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; a test set holds clean/NAME.flac and noisy/NAME.flac.")
    folders = [folder] if (folder / "noisy").is_dir() else sorted(p for p in folder.iterdir() if (p / "noisy").is_dir())
    sets = {home.name or home.resolve().name: list(_pairs_of(home)) for home in folders}
    sets = {name: pairs for name, pairs in sets.items() if pairs}
    if not sets:
        raise InputError(f"{folder} holds no pairs; a test set holds clean/NAME.flac and noisy/NAME.flac.")
    return sets


def _pairs_of(home: Path) -> Iterator[Pair]:
    for noisy in sorted((home / "noisy").iterdir()):
        if noisy.suffix.lower() not in (".flac", ".wav"):
            continue
        clean = home / "clean" / noisy.name
        if not clean.is_file():
            raise InputError(f"{noisy} has no clean twin {clean}.")
        match = _NAME.search(noisy.stem)
        noise, snr = (match["noise"], float(match["snr"])) if match else (None, None)
        yield Pair(home.name or home.resolve().name, noisy.stem, clean, noisy, noise, snr)


@dataclass(frozen=True)
class Enhanced:
    """A processed signal `[samples]` at `rate` Hz, aligned with its input, and the CPU seconds it took."""

    audio: Audio
    rate: int
    cpu_s: float


class Enhancer(Protocol):
    """What turns a noisy signal `[samples]` at `rate` Hz into an aligned, enhanced one, at a rate of its own."""

    def __call__(self, noisy: Audio, rate: int) -> Enhanced: ...


class Untouched:
    """The noisy input as it is: the row every other row is compared with."""

    def __call__(self, noisy: Audio, rate: int) -> Enhanced:
        return Enhanced(noisy, rate, 0.0)


class Streamed:
    """A model run as users run it: one `Stream` at the model's rate, 10 ms blocks, full strength, latency removed."""

    def __init__(self, model: str) -> None:
        self.model = rtsep.load(model)

    def __call__(self, noisy: Audio, rate: int) -> Enhanced:
        own = self.model.spec.sample_rate
        x = speech_metrics.resample(noisy, rate, own).astype(np.float32)
        stream = self.model.stream()
        stream.process(np.zeros(round(own * _BLOCK_S), np.float32))  # first call pays for compiling and allocation
        stream.reset()
        out = np.empty_like(x)
        block = round(own * _BLOCK_S)
        start = time.process_time()
        for at in range(0, len(x), block):
            stream.process(x[at : at + block], out[at : at + block])
        tail = stream.flush()
        cpu_s = time.process_time() - start
        latency = len(tail)
        return Enhanced(np.concatenate([out, tail])[latency:], own, cpu_s)


def score_pair(pair: Pair, enhancer: Enhancer, opinion: dnsmos.DNSMOS | None = None) -> Row:
    """One row: set, name, noise, snr (dB), seconds of audio, cpu_s, `speech_metrics.MEASURES`, the `opinion`'s."""
    clean, noisy, rate = pair.read()
    enhanced = enhancer(noisy, rate)
    values = speech_metrics.score(clean, rate, enhanced.audio, enhanced.rate)
    if opinion:
        values |= opinion(enhanced.audio, enhanced.rate)
    about = {"set": pair.set, "name": pair.name, "noise": pair.noise, "family": pair.family, "snr": pair.snr}
    return {**about, "seconds": len(clean) / rate, "cpu_s": enhanced.cpu_s, **values}


_tools: tuple[Enhancer, dnsmos.DNSMOS | None]  # of a worker process


def _begin(make: Callable[[], Enhancer], opinion: Path | None) -> None:
    global _tools
    _tools = make(), dnsmos.DNSMOS(opinion) if opinion else None


def _score_here(pair: Pair) -> Row:
    return score_pair(pair, *_tools)


def score_pairs(
    pairs: Sequence[Pair],
    make: Callable[[], Enhancer],
    workers: int = 1,
    label: str = "",
    opinion: Path | None = None,
) -> list[Row]:
    """Score every pair, in order; `make` builds the enhancer, once a worker process when `workers` > 1.

    `opinion` is the file of DNSMOS P.835, if its measures are wanted.
    """
    console = Console(stderr=True)
    if workers > 1:
        # spawn: a forked onnxruntime or numba thread pool may hang
        with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=(make, opinion)) as pool:
            rows = pool.map(_score_here, pairs)
            return list(track(rows, label, len(pairs), console=console, transient=True))
    _begin(make, opinion)
    return [_score_here(pair) for pair in track(pairs, label, console=console, transient=True)]


def measures(rows: Sequence[Row]) -> list[str]:
    """The measures that these rows hold, in the order of MEASURES."""
    return [measure for measure in MEASURES if rows and measure in rows[0]]


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Per measure: mean, low, high (95 % bootstrap over clips) and n, the clips for which it is defined."""
    summary = {}
    for measure in measures(rows):
        values = [row[measure] for row in rows]
        mean, low, high = speech_metrics.bootstrap(values)
        summary[measure] = {"mean": mean, "low": low, "high": high, "n": sum(not math.isnan(v) for v in values)}
    return summary


def group(rows: Iterable[Row], key: str) -> dict[Any, list[Row]]:
    """Rows by the value of `key`, in order of that value; rows without one are left out."""
    keyed = [row for row in rows if row[key] is not None]
    return {value: [row for row in keyed if row[key] == value] for value in sorted({row[key] for row in keyed})}


def digest(rows: Sequence[Row]) -> dict[str, Any]:
    """What JSON keeps of one method on one set: the summary, by SNR, by noise family, and every clip."""
    return {
        "clips": len(rows),
        "summary": summarise(rows),
        "by_snr": {f"{snr:g}": summarise(some) for snr, some in group(rows, "snr").items()},
        "by_noise": {family: summarise(some) for family, some in group(rows, "family").items()},
        "rows": list(rows),
    }


def cell(measure: str, value: float, signed: bool = False) -> str:
    """A number with the decimals of its measure; a hyphen for NaN."""
    decimals = MEASURES[measure][1]
    if math.isnan(value):
        return "-"
    return f"{round(value, decimals) + 0.0:{'+' if signed else ''}.{decimals}f}"  # + 0.0: no minus before zero


def set_table(title: str, noisy: Sequence[Row], model: Sequence[Row]) -> Table:
    """Measures down; noisy, model and their paired difference across, each with its interval."""
    table = Table(title=title)
    table.add_column("measure")
    for name in ("noisy", "model", "gain"):
        table.add_column(name, justify="right")
    for measure in measures(model):
        label = MEASURES[measure][0]
        before, after = (np.array([row[measure] for row in rows]) for rows in (noisy, model))
        with np.errstate(invalid="ignore"):  # -inf from -inf: a silent output has no gain to speak of
            gain = after - before
        cells = []
        for values, signed in ((before, False), (after, False), (gain, True)):
            mean, low, high = (cell(measure, value, signed) for value in speech_metrics.bootstrap(values))
            cells.append(mean if mean == "-" else f"{mean} [dim]\\[{low}, {high}][/dim]")
        defined = int(np.sum(~np.isnan(after)))
        table.add_row(label if defined == len(after) else f"{label} ({defined} of {len(after)} clips)", *cells)
    return table


def group_tables(title: str, key: str, noisy: Sequence[Row], model: Sequence[Row], width: int) -> Iterator[Table]:
    """Measures down; values of `key` across, noisy → model with half its interval; as many tables as `width` asks for.

    A measure that is undefined everywhere gets no row. Nothing when no row has that key.
    """
    before, after = group(noisy, key), group(model, key)
    fit = max(1, (width - 16) // 22)  # columns: a label, then the cells of a group
    for first in range(0, len(after), fit):
        some = list(after)[first : first + fit]
        table = Table(title=f"{title}: noisy → model ± half the interval")
        table.add_column("measure")
        for value in some:
            head = f"{value:g} dB" if key == "snr" else value
            table.add_column(f"{head}, {len(after[value])} clip{'s' * (len(after[value]) > 1)}", justify="right")
        for measure in measures(model):
            if any(not math.isnan(row[measure]) for rows in after.values() for row in rows):
                cells = [_change(measure, before[value], after[value]) for value in some]
                table.add_row(MEASURES[measure][0], *cells)
        yield table


def _change(measure: str, noisy: Sequence[Row], model: Sequence[Row]) -> str:
    (old, *_), (mean, low, high) = (speech_metrics.bootstrap([row[measure] for row in rows]) for rows in (noisy, model))
    half = f" [dim]±{cell(measure, (high - low) / 2)}[/dim]" if high > low else ""
    return f"{cell(measure, old)} → {cell(measure, mean)}{half}"


def versions() -> dict[str, str | None]:
    """Versions of what a score depends on; None for a package that is not installed."""
    found: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = rtsep.__version__ if package == "rtsep" else None
    return found


def describe(model: rtsep.Model) -> dict[str, Any]:
    """What identifies a model in a report; no path."""
    spec = model.spec
    return {
        "name": spec.name,
        "version": spec.version,
        "file": model.path.name,
        "target": spec.target,
        "sample_rate": spec.sample_rate,
        "hop": spec.hop,
        "algorithmic_latency": spec.algorithmic_latency,
        "algorithmic_latency_ms": 1000 * spec.algorithmic_latency / spec.sample_rate,
        "weights_sha256": spec.weights_sha256,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write beside, then rename; NaN and infinities become null, which every JSON reader takes."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, float):
            return round(value, 6) if math.isfinite(value) else None
        return value

    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(json.dumps(plain(content), indent=1) + "\n")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RtsepError(f"{path} cannot be written: {error.strerror}.") from None


@contextmanager
def one_sentence() -> Iterator[None]:
    """Ends the program with the sentence of an RtsepError, or of a missing measuring package, on stderr."""
    try:
        yield
    except RtsepError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    except ModuleNotFoundError as error:
        if error.name not in ("pesq", "pystoi"):
            raise
        typer.echo(f"The package {error.name} is missing; install the extra: pip install 'rtsep[bench]'.", err=True)
        raise typer.Exit(1) from None


@dataclass(frozen=True)
class _Make:
    """Builds a Streamed in whichever process it is called in."""

    model: str

    def __call__(self) -> Enhancer:
        return Streamed(self.model)


def main(
    model: Annotated[str, typer.Argument(help="An .onnx file, or the name of a shipped model.")],
    testset: Annotated[Path, typer.Argument(help="Folder with clean/ and noisy/, or a folder of such folders.")],
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes to score with.")] = 1,
    opinion: Annotated[Path | None, typer.Option("--dnsmos", help=dnsmos.HELP)] = None,
) -> None:
    """Score MODEL on TESTSET and print the tables."""
    with one_sentence():
        sets = find_pairs(testset)
        about = describe(rtsep.load(model))
        report: dict[str, Any] = {"format": 1, "model": about, "versions": versions(), "sets": {}}
        if opinion:
            report["dnsmos_sha256"] = dnsmos.DNSMOS(opinion).sha256
        console = Console()
        for name, pairs in sets.items():
            noisy = score_pairs(pairs, Untouched, workers, f"{name}: noisy", opinion)
            rows = score_pairs(pairs, _Make(model), workers, f"{name}: {about['name']}", opinion)
            report["sets"][name] = {"noisy": digest(noisy), "model": digest(rows)}
            latency = f"{about['algorithmic_latency_ms']:.2f} ms"
            console.print(
                set_table(f"{name}: {about['name']} {about['version']}, {latency}, {len(rows)} clips", noisy, rows)
            )
            for key, by in (("snr", "SNR"), ("family", "noise")):
                for table in group_tables(f"{name} by {by}", key, noisy, rows, console.width):
                    console.print(table)
        if json_path:
            write_json(json_path, report)


if __name__ == "__main__":
    typer.run(main)
