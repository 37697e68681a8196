"""Many files at once: which input goes to which output, one after another or in worker processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtsep.audio_io.files import OUTPUTS, SOUNDS, VIDEOS, FileReport, MakeProcessor, check_target, enhance_file
from rtsep.errors import InputError, RtsepError

if TYPE_CHECKING:
    from rtsep.model import Model

STANDARD = "-"  # standard input or standard output
DENOISED, KARAOKE = "denoised", "karaoke"  # what an output is marked with: NAME.denoised.EXT
_POLL = 0.1  # seconds between two looks at the workers' progress

Progress = Callable[[int, int, int], Any]  # (number of the job, samples done, samples in all)


@dataclass(frozen=True)
class Job:
    """One input and where it goes; ``target`` None is standard output, ``source`` "-" standard input."""

    source: str
    target: Path | None

    @property
    def target_name(self) -> str:
        return STANDARD if self.target is None else str(self.target)


@dataclass(frozen=True)
class Outcome:
    """What became of one job: a report, or a sentence and an exit code. ``took`` is in seconds."""

    job: Job
    report: FileReport | None = None
    error: str | None = None
    exit_code: int = 0
    took: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON: lengths in seconds and samples, rate in Hz."""
        values: dict[str, Any] = {"input": self.job.source, "output": self.job.target_name, "error": self.error}
        if self.report is not None:
            values |= {
                "sample_rate": self.report.sample_rate,
                "channels": self.report.channels,
                "samples": self.report.samples,
                "seconds": round(self.report.seconds, 3),
                "took_seconds": round(self.took, 3),
                "times_real_time": round(self.report.seconds / max(self.took, 1e-9), 2),
            }
        return values


def plan(inputs: Sequence[str], output: str | None = None, mark: str = DENOISED) -> list[Job]:
    """Pair every input with its output; a folder stands for the sound files in it (not in its subfolders).

    output: a file (one input only), a folder, "-" for standard output, or None for NAME.MARK.EXT beside the input.
    Raises InputError when the request as a whole makes no sense.
    """
    sources = [source for entry in inputs for source in _expand(entry, mark)]
    if output == STANDARD or (output is None and sources == [STANDARD]):
        if len(sources) != 1:
            raise InputError("Standard output takes one input; name a folder with -o for several.")
        if sys.stdout.isatty():
            raise InputError("Sound is not written to a terminal; redirect it to a file or name one with -o.")
        return [Job(sources[0], None)]
    if output is None:
        return [Job(source, _beside(source, mark)) for source in sources]
    place = Path(output)
    if place.is_dir() or output.endswith(("/", os.sep)):
        if not place.is_dir():
            raise InputError(f"The folder {place} does not exist; create it first.")
        return [Job(source, place / _beside(source, mark).name) for source in sources]
    if len(sources) != 1:
        raise InputError(f"{len(sources)} inputs need a folder to go to, and {place} is none; create it first.")
    return [Job(sources[0], place)]


def _expand(entry: str, mark: str) -> list[str]:
    if entry == STANDARD:
        if sys.stdin.isatty():
            raise InputError("Standard input is a terminal; redirect a WAV file to it, or name a file.")
        return [entry]
    folder = Path(entry)
    if not folder.is_dir():
        return [entry]
    found = [
        str(path)
        for path in sorted(folder.iterdir())
        # what an earlier run wrote is no input of the next one
        if path.suffix.lower() in SOUNDS + VIDEOS
        and not path.stem.endswith(f".{mark}")
        and not path.name.startswith(".")
    ]
    if not found:
        raise InputError(f"There is no sound file in the folder {folder}.")
    return found


def _beside(source: str, mark: str) -> Path:
    path = Path("standard-input.wav" if source == STANDARD else source)
    suffix = path.suffix if path.suffix.lower() in OUTPUTS else ".flac"
    return path.with_name(f"{path.stem}.{mark}{suffix}")


def run(
    jobs: Sequence[Job],
    model: str = "denoise",
    strength: float | None = None,
    overwrite: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
    make: MakeProcessor | None = None,
) -> list[Outcome]:
    """Do all jobs; one that fails does not stop the others.

    workers: processes at work at the same time, each with its own copy of the model.
    progress: called in this process, again and again while there is work.
    make: what processes a file, see enhance_file; it must pickle when there are several workers.
    Returns one Outcome a job, in order. Raises what ``rtsep.load(model)`` raises, and what ``progress`` raises.
    """
    from rtsep.model import load

    loaded = load(model)
    refused = _refusals(jobs, overwrite)
    todo = [number for number in range(len(jobs)) if number not in refused]
    if workers > 1 and len(todo) > 1 and all(job.source != STANDARD for job in jobs):  # workers have no standard input
        done = _run_parallel(jobs, todo, model, strength, overwrite, min(workers, len(todo)), progress, make)
    else:
        done = {}
        for number in todo:
            tell = None if progress is None else _numbered(progress, number)
            try:
                done[number] = _run_one(jobs[number], loaded, strength, overwrite, tell, make)
            except _Stopped as stopped:
                assert stopped.__cause__ is not None
                raise stopped.__cause__ from None
    return [(refused | done)[number] for number in range(len(jobs))]


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """0 when all went well, 2 when only bad input stood in the way, 1 when anything else failed."""
    codes = {outcome.exit_code for outcome in outcomes} - {0}
    return 0 if not codes else 1 if codes != {2} else 2


def _refusals(jobs: Sequence[Job], overwrite: bool) -> dict[int, Outcome]:
    """Outputs that must not be written, found before hours of work rather than after them."""
    refused: dict[int, Outcome] = {}
    inputs = {Path(job.source).resolve(): job.source for job in jobs if job.source != STANDARD}
    taken: dict[Path, str] = {}
    for number, job in enumerate(jobs):
        if job.target is None:
            continue
        place = job.target.resolve()
        try:
            check_target(job.target, None if job.source == STANDARD else Path(job.source), overwrite)
            if place in inputs:
                raise InputError(f"{job.source} would go to {job.target}, an input too; choose another output.")
            if place in taken:
                raise InputError(f"{job.source} would go to {job.target} like {taken[place]}; choose another output.")
            taken[place] = job.source
        except InputError as error:
            refused[number] = Outcome(job, error=str(error), exit_code=error.exit_code)
    return refused


def _numbered(progress: Progress, number: int) -> Callable[[int, int], Any]:
    def tell(done: int, total: int) -> None:
        try:
            progress(number, done, total)
        except Exception as error:  # the caller's wish to stop is no failure of this file
            raise _Stopped from error

    return tell


def _run_one(
    job: Job,
    model: Model,
    strength: float | None,
    overwrite: bool,
    progress: Callable[[int, int], Any] | None,
    make: MakeProcessor | None,
) -> Outcome:
    """Never raises an Exception: whatever is wrong with one file, even a mistake of ours, the others go on."""
    start = time.perf_counter()
    name, path = "standard input" if job.source == STANDARD else job.source, None
    try:
        with _spooled(job.source) as path:
            report = enhance_file(path, job.target, model, strength, overwrite, progress, make)
    except RtsepError as error:
        sentence = str(error)
        if job.source == STANDARD and path is not None:
            sentence = sentence.replace(str(path), name)
        return Outcome(job, error=sentence, exit_code=error.exit_code)
    except OSError as error:
        return Outcome(job, error=f"{name}: {error.strerror or error}.", exit_code=RtsepError.exit_code)
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
        return Outcome(job, error=f"{name} failed unexpectedly ({what}).", exit_code=RtsepError.exit_code)
    return Outcome(job, report, took=time.perf_counter() - start)


@contextlib.contextmanager
def _spooled(source: str) -> Iterator[Path]:
    """A path to read ``source`` from: standard input goes to a temporary file, for a header must be seekable."""
    if source != STANDARD:
        yield Path(source)
        return
    with tempfile.TemporaryDirectory(prefix="rtsep-") as folder:
        path = Path(folder) / "stdin.wav"
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        except OSError as error:
            why = error.strerror or error
            raise RtsepError(
                f"Standard input could not be kept in {folder} ({why}); set TMPDIR to a roomy folder."
            ) from None
        yield path


class _Stopped(BaseException):
    """The batch is to stop; raised between two blocks, and no Exception, for it is no failure of the file."""


@dataclass
class _Worker:
    """What a worker process keeps from job to job."""

    model: Model
    strength: float | None
    overwrite: bool
    news: Any  # multiprocessing.Queue of (number, done, total), None when nobody listens
    stop: Any  # multiprocessing.Event
    make: MakeProcessor | None


_worker: _Worker | None = None


def _start_worker(
    model: str, strength: float | None, overwrite: bool, news: Any, stop: Any, make: MakeProcessor | None
) -> None:
    global _worker
    from rtsep.model import load

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if news is not None:
        news.cancel_join_thread()  # at the end nobody reads any more: news not yet sent must not keep this process
    _worker = _Worker(load(model), strength, overwrite, news, stop, make)


def _work(number: int, job: Job) -> Outcome | None:
    worker = _worker
    assert worker is not None
    last = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal last
        if worker.stop.is_set():
            raise _Stopped
        if worker.news is not None and (time.monotonic() - last > _POLL or done == total):
            last = time.monotonic()
            worker.news.put((number, done, total))

    try:
        return _run_one(job, worker.model, worker.strength, worker.overwrite, tell, worker.make)
    except _Stopped:
        return None


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started in here ignore Ctrl-C from their first moment on.

    It reaches the whole group of processes; the first one alone decides, and tells the others by ``stop``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _run_parallel(
    jobs: Sequence[Job],
    todo: Sequence[int],
    model: str,
    strength: float | None,
    overwrite: bool,
    workers: int,
    progress: Progress | None,
    make: MakeProcessor | None,
) -> dict[int, Outcome]:
    # Fresh processes: forked ones would inherit onnxruntime's threads in an undefined state.
    context = multiprocessing.get_context("spawn")
    # What nobody takes out fills the pipe, and then no worker can end.
    news, stop = None if progress is None else context.Queue(), context.Event()
    pool = ProcessPoolExecutor(workers, context, _start_worker, (model, strength, overwrite, news, stop, make))
    try:
        with _deaf_to_interrupts():
            futures: dict[Future[Outcome | None], int] = {pool.submit(_work, n, jobs[n]): n for n in todo}
        pending: set[Future[Outcome | None]] = set(futures)
        while pending:
            _, pending = wait(pending, _POLL)
            if progress is not None and news is not None:
                with contextlib.suppress(queue.Empty):
                    while True:
                        progress(*news.get_nowait())
        done = {}
        for future, number in futures.items():
            try:
                outcome = future.result()
            except BrokenProcessPool:
                outcome = None
            died = Outcome(jobs[number], error=f"{jobs[number].source}: its worker process ended early.", exit_code=1)
            done[number] = outcome or died
        return done
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
