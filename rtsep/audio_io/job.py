"""One input on its way to one output: what is to be done, the doing, and what became of it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtsep.audio_io.files import FileReport, MakeProcessor, Processor, enhance_file
from rtsep.audio_io.raw import RawFormat
from rtsep.audio_io.source import DamagedError, keep_stream
from rtsep.audio_io.temporary_folder import temporary_folder
from rtsep.errors import RtsepError

if TYPE_CHECKING:
    from rtsep.model import Model

STANDARD = "-"  # standard input or standard output


@dataclass(frozen=True)
class Job:
    """One input and where it goes; ``target`` None is standard output, ``source`` "-" standard input.

    problem: a sentence about an input that nothing can be done with; it costs the others nothing.
    """

    source: str
    target: Path | None
    problem: str | None = None

    @property
    def to_standard_output(self) -> bool:
        return self.target is None and self.problem is None

    @property
    def target_name(self) -> str | None:
        """For people and JSON; None when there will be no output."""
        return STANDARD if self.to_standard_output else None if self.target is None else str(self.target)


@dataclass(frozen=True)
class Outcome:
    """What became of one job: a report, or a sentence and an exit code. ``took`` is in seconds.

    exists: nothing was done, for the output was there already.
    """

    job: Job
    report: FileReport | None = None
    error: str | None = None
    exit_code: int = 0
    took: float = 0.0
    exists: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON: lengths in seconds and samples, rate in Hz."""
        values: dict[str, Any] = {
            "input": self.job.source,
            "output": self.job.target_name,
            "error": self.error,
            "existed": self.exists,
        }
        if self.report is not None:
            values |= {
                "sample_rate": self.report.sample_rate,
                "channels": self.report.channels,
                "samples": self.report.samples,
                "seconds": round(self.report.seconds, 3),
                "damage": self.report.damage,
                "scale": self.report.scale,
                "took_seconds": round(self.took, 3),
                "times_real_time": round(self.report.seconds / max(self.took, 1e-9), 2),
            }
        return values


@dataclass(frozen=True)
class Work:
    """How files are processed, see `run`; it pickles if ``make`` does. backend: None is that of files."""

    model: str
    strength: float | None = None
    overwrite: bool = False
    make: MakeProcessor | None = None
    raw: RawFormat | None = None
    backend: str | None = None

    def load(self) -> Model:
        """The model, on its backend. Raises and warns as ``rtsep.load``."""
        from rtsep.engine.enhance import BACKEND
        from rtsep.model import load

        return load(self.model, self.backend or BACKEND)


class Stopped(BaseException):
    """The batch is to stop; raised between two blocks, and no Exception, for it is no failure of the file."""


class Enhancers:
    """Keeps the enhancer of the last file for the next one of its rate and channels: making one costs a millisecond."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[Any, ...], Processor] | None = None

    @contextlib.contextmanager
    def ready(self, model: Model, work: Work) -> Iterator[MakeProcessor]:
        """What makes the processor of one file; kept when nothing is raised, and so it was flushed and is as new."""
        from rtsep.engine.enhance import new_enhancer

        if work.make is not None:
            yield work.make
            return
        kept, self._kept = self._kept, None

        def make(model: Model, sample_rate: int, channels: int) -> Processor:
            nonlocal kept
            about = id(model), sample_rate, channels, work.strength
            if kept is None or kept[0] != about:
                kept = about, new_enhancer(model, sample_rate, channels, work.strength)
            return kept[1]

        yield make
        self._kept = kept


def do_job(
    job: Job,
    model: Model,
    work: Work,
    progress: Callable[[int, int], Any] | None,
    enhancers: Enhancers,
) -> Outcome:
    """Never raises an Exception: whatever is wrong with one file, even a mistake of ours, the others go on."""
    start = time.perf_counter()
    name, path = "standard input" if job.source == STANDARD else job.source, None

    def named(sentence: str) -> str:
        return sentence.replace(str(path), name) if job.source == STANDARD and path is not None else sentence

    try:
        if job.source == STANDARD and job.target is None:
            from rtsep.audio_io.pipe import stream

            report = stream(model, work.strength, work.make, work.raw, progress)
        else:
            with _spooled(job.source, work.raw) as path, enhancers.ready(model, work) as make:
                report = enhance_file(path, job.target, model, work.strength, work.overwrite, progress, make)
    except RtsepError as error:
        return Outcome(job, error=named(str(error)), exit_code=error.exit_code)
    except OSError as error:
        return Outcome(job, error=f"{name}: {error.strerror or error}.", exit_code=RtsepError.exit_code)
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
        return Outcome(job, error=f"{name} failed unexpectedly ({what}).", exit_code=RtsepError.exit_code)
    took = time.perf_counter() - start
    if report.damage is None:
        return Outcome(job, report, took=took)
    return Outcome(job, replace(report, damage=named(report.damage)), exit_code=DamagedError.exit_code, took=took)


@contextlib.contextmanager
def _spooled(source: str, raw: RawFormat | None) -> Iterator[Path]:
    """A path to read ``source`` from: standard input goes to a temporary file, for a header must be seekable."""
    if source != STANDARD:
        yield Path(source)
        return
    with temporary_folder() as folder:
        path = folder / "stdin.wav"
        keep_stream(sys.stdin.buffer, path, b"" if raw is None else raw.wav_header())
        yield path
