"""Many files at once, one after another or in worker processes; one that fails never stops the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rtsep.audio_io.files import MakeProcessor
from rtsep.audio_io.job import STANDARD, Enhancers, Job, Outcome, Stopped, Work, do_job
from rtsep.audio_io.plan import DENOISED, KARAOKE, plan
from rtsep.audio_io.raw import RawFormat
from rtsep.audio_io.sink import ExistsError, check_target
from rtsep.audio_io.workers import Progress, run_parallel, worthwhile
from rtsep.errors import InputError

__all__ = ["DENOISED", "KARAOKE", "STANDARD", "Job", "Outcome", "exit_code", "plan", "run"]


def run(
    jobs: Sequence[Job],
    model: str = "denoise",
    strength: float | None = None,
    overwrite: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
    make: MakeProcessor | None = None,
    *,
    salvage: bool = False,
    skip_existing: bool = False,
    raw: RawFormat | None = None,
    backend: str | None = None,
) -> list[Outcome]:
    """Do all jobs; one that fails does not stop the others.

    workers: processes at work at the same time, each with its own copy of the model; fewer, or none beside this one,
        where there is too little work to be worth starting them.
    progress: called in this process, again and again while there is work.
    make: what processes a file, see enhance_file; it must pickle when there are several workers.
    salvage: a file that ends before its sound does is no failure; else it is one, though its output is kept.
    skip_existing: an output that is there already is no failure.
    raw: what standard input holds, when it has no header.
    backend: see rtsep.load; None is the quickest on the processor.
    Returns one Outcome a job, in order. Warns and raises as ``rtsep.load(model)``; raises what ``progress`` raises.
    """
    work = Work(model, strength, overwrite, make, raw, backend)
    loaded = work.load()
    done = _refusals(jobs, overwrite, skip_existing)
    todo = [number for number in range(len(jobs)) if number not in done]
    workers = worthwhile([jobs[number] for number in todo], workers)
    if workers > 1 and all(job.source != STANDARD for job in jobs):  # workers have no standard input
        done |= run_parallel(jobs, todo, work, workers, progress)
    enhancers = Enhancers()
    for number in todo:
        if number in done:
            continue
        tell = None if progress is None else _numbered(progress, number)
        try:
            done[number] = do_job(jobs[number], loaded, work, tell, enhancers)
        except Stopped as stopped:
            assert stopped.__cause__ is not None
            raise stopped.__cause__ from None
    outcomes = [done[number] for number in range(len(jobs))]
    return [replace(one, exit_code=0) if salvage and one.error is None else one for one in outcomes]


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """0 when all went well, 2 when only bad input stood in the way, 1 when anything else failed."""
    codes = {outcome.exit_code for outcome in outcomes} - {0}
    return 0 if not codes else 1 if codes != {2} else 2


def _refusals(jobs: Sequence[Job], overwrite: bool, skip_existing: bool) -> dict[int, Outcome]:
    """What cannot or need not be done, found before hours of work rather than after them."""
    refused: dict[int, Outcome] = {}
    whole = [job.source for job in jobs if job.source != STANDARD and job.problem is None]
    inputs = {os.path.realpath(source): source for source in whole}
    taken: dict[str, str] = {}
    for number, job in enumerate(jobs):
        try:
            if job.problem is not None:
                raise InputError(job.problem)
            if job.target is None:
                continue
            place = os.path.realpath(job.target)
            check_target(job.target, None if job.source == STANDARD else Path(job.source), overwrite)
            if place in inputs:
                raise InputError(f"{job.source} would go to {job.target}, an input too; choose another output.")
            if place in taken:
                raise InputError(f"{job.source} would go to {job.target} like {taken[place]}; choose another output.")
            taken[place] = job.source
        except InputError as error:
            if skip_existing and isinstance(error, ExistsError):
                refused[number] = Outcome(job, exists=True)
            else:
                refused[number] = Outcome(job, error=str(error), exit_code=error.exit_code)
    return refused


def _numbered(progress: Progress, number: int) -> Callable[[int, int], Any]:
    def tell(done: int, total: int) -> None:
        try:
            progress(number, done, total)
        except Exception as error:  # the caller's wish to stop is no failure of this file
            raise Stopped from error

    return tell
