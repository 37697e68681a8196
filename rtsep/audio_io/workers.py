"""Worker processes for many files: each has one pipe to the first process, by which jobs come and news go.

Nothing else is shared: no semaphores, which need /dev/shm, and no queue that somebody must empty. When the first
process ends, however it ends, the pipe does too, and the workers stop and clean up.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from rtsep.audio_io.job import Enhancers, Job, Outcome, Stopped, Work, do_job

Progress = Callable[[int, int, int], Any]  # (number of the job, samples done, samples in all)
_SAFE_PATH = "PYTHONSAFEPATH"  # Python's own variable, as its option -P
_environment = threading.Lock()  # it is all threads' one
_NEWS = 0.1  # seconds between two reports of one worker
START_S = 0.5  # of a worker: so long one process would work on what the others get before it has begun
_SPEED = 50 * 96_000  # bytes of sound a second that a process does, more or less: 50 times real time of 48 kHz, 16 bits
_PACKED = 6  # times as much sound there is in a byte of what is no WAV


@dataclass
class _Worker:
    """A process and the job that it is at."""

    process: BaseProcess
    number: int


def worthwhile(jobs: Sequence[Job], workers: int) -> int:
    """How many of so many workers are worth their start for these jobs, by the sizes of their files."""
    if workers < 2 or len(jobs) < 2:
        return 1
    seconds = 0.0
    for job in jobs:
        with contextlib.suppress(OSError):
            path = Path(job.source)
            seconds += path.stat().st_size * (1 if path.suffix.lower() == ".wav" else _PACKED) / _SPEED
        if seconds > START_S * 2 * workers:
            break
    return max(1, min(workers, len(jobs), int(seconds / (2 * START_S)) if START_S else workers))


def run_parallel(
    jobs: Sequence[Job], todo: Sequence[int], work: Work, workers: int, progress: Progress | None
) -> dict[int, Outcome]:
    """Outcomes of the jobs whose numbers are in ``todo``; those that no process could be started for are left out.

    Raises what ``progress`` raises, after the workers have stopped.
    """
    waiting = deque(todo)
    done: dict[int, Outcome] = {}
    at_work: dict[Connection, _Worker] = {}
    try:
        while waiting or at_work:
            while waiting and len(at_work) < workers:
                try:
                    connection, process = _start(work, progress is not None)
                except OSError:  # no more processes on this machine
                    workers = len(at_work)
                    break
                at_work[connection] = _Worker(process, waiting[0])
                _give(connection, waiting[0], jobs[waiting.popleft()])
            if not at_work:
                return done
            for connection in [one for one in wait(list(at_work)) if isinstance(one, Connection)]:
                worker = at_work[connection]
                try:
                    news = connection.recv()
                except (EOFError, OSError):
                    del at_work[connection]
                    connection.close()
                    worker.process.join()
                    job = jobs[worker.number]
                    done[worker.number] = Outcome(
                        job, error=f"{job.source}: its worker process ended early.", exit_code=1
                    )
                    continue
                if isinstance(news, Outcome):
                    done[worker.number] = news
                    if waiting:
                        worker.number = waiting.popleft()
                        _give(connection, worker.number, jobs[worker.number])
                    else:
                        del at_work[connection]
                        connection.close()
                        worker.process.join()
                elif progress is not None:
                    progress(worker.number, *news)
        return done
    finally:
        for connection in at_work:
            connection.close()
        for worker in at_work.values():
            worker.process.join()


def _give(connection: Connection, number: int, job: Job) -> None:
    with contextlib.suppress(OSError):  # a worker that has ended will be noticed
        connection.send((number, job))


def _start(work: Work, with_news: bool) -> tuple[Connection, BaseProcess]:
    # Fresh processes: forked ones would inherit the threads of whoever calls, in an undefined state.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work, with_news))
    try:
        with _interrupts_ignored(), _without_current_folder():
            process.start()
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours, process


def _serve(connection: Connection, work: Work, with_news: bool) -> None:
    """What a worker does: one job after another, until the pipe ends."""
    # What ends a program reaches its whole group of processes, by a terminal or a service manager. The first process
    # alone decides, and ends the others by their pipes, so that they clear away what is half-written.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    last = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal last
        if connection.poll():  # nothing comes while there is a job, but the end of the pipe
            raise Stopped
        if with_news and (time.monotonic() - last > _NEWS or done == total):
            last = time.monotonic()
            connection.send((done, total))

    with contextlib.suppress(Stopped, EOFError, OSError):
        with warnings.catch_warnings():  # whoever started the workers has said it
            warnings.simplefilter("ignore")
            model, enhancers = work.load(), Enhancers()
        while True:
            _, job = connection.recv()
            connection.send(do_job(job, model, work, tell, enhancers))


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started in here ignore Ctrl-C from their first moment on; else each would print a traceback."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _without_current_folder() -> Iterator[None]:
    """Processes started in here import nothing from the current folder, which may be anybody's (from Python 3.11 on).

    Spawned ones run ``python -c``, which looks for `json` and all else there first.
    """
    with _environment:
        before = os.environ.get(_SAFE_PATH)
        os.environ[_SAFE_PATH] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_SAFE_PATH]
            else:
                os.environ[_SAFE_PATH] = before
