"""Files to files, for the verbs that make them: progress, one line a file, one sentence an error, an exit code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import typer

from rtsep.cli.interrupts import interrupted_by_signals
from rtsep.cli.shared import complain, printable, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtsep.audio_io.batch import Job, Outcome
    from rtsep.audio_io.files import MakeProcessor
    from rtsep.audio_io.raw import RawFormat


def run_jobs(
    jobs: Sequence[Job],
    model: str,
    overwrite: bool,
    workers: int,
    quiet: bool,
    as_json: bool,
    strength: float | None = None,
    make: MakeProcessor | None = None,
    *,
    salvage: bool = False,
    skip_existing: bool = False,
    raw: RawFormat | None = None,
    backend: str | None = None,
) -> None:
    """Do all jobs (see rtsep.audio_io.batch.run) and exit with their code.

    Of several files those whose output is there already are left out, of a single one only with ``skip_existing``:
    who names one file and gets nothing should know it.
    """
    from rtsep.audio_io import batch
    from rtsep.errors import InputError

    if as_json and any(job.to_standard_output for job in jobs):
        raise InputError("--json and the sound cannot both go to standard output; name a file with -o.")
    skip_existing = skip_existing or len(jobs) > 1
    options: dict[str, Any] = {"salvage": salvage, "skip_existing": skip_existing, "raw": raw, "backend": backend}
    with interrupted_by_signals(), _Bar(jobs, quiet) as progress:
        outcomes = batch.run(jobs, model, strength, overwrite, workers, progress, make, **options)

    for outcome in outcomes:
        _tell(outcome, quiet)
    existed = sum(outcome.exists for outcome in outcomes)
    if existed and not quiet:
        were = "1 was there" if existed == 1 else f"{existed} were there"
        typer.echo(f"{were} already; --overwrite makes them anew.", err=True)
    failed = [outcome.job.source or '""' for outcome in outcomes if outcome.error is not None]
    if failed and len(outcomes) > 1:
        complain(f"{len(failed)} of {len(outcomes)} files failed: {', '.join(failed)}")
    if as_json:
        write_json([outcome.as_dict() for outcome in outcomes], "-")
    raise typer.Exit(batch.exit_code(outcomes))


def _tell(outcome: Outcome, quiet: bool) -> None:
    """What became of one file, on stderr."""
    report = outcome.report
    if outcome.error is not None:
        complain(outcome.error)
    if report is None:
        return
    if report.damage is not None and (outcome.exit_code or not quiet):
        advice = "What there was is written" + ("; with --salvage that is no failure." if outcome.exit_code else ".")
        complain(f"{report.damage} {advice}")
    if report.scale != 1 and not quiet:
        complain(
            f"{outcome.job.source} goes up to {1 / report.scale:.0f} where full scale is 1; its samples were taken as "
            f"1/{1 / report.scale:.0f} of that, and a float output is as loud as the input."
        )
    if not quiet and outcome.job.target is not None:
        pace = report.seconds / max(outcome.took, 1e-9)
        line = f"{outcome.job.target}  {report.seconds:.1f} s, {pace:.1f} x real time"
        typer.echo(printable(line), err=True)


class _Bar:
    """Progress with the time left, on stderr; nothing when that is not a terminal."""

    def __init__(self, jobs: Sequence[Job], quiet: bool) -> None:
        self._jobs = jobs
        self._bar: Any = None
        if not quiet and os.isatty(2):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            name = TextColumn("{task.description}", markup=False)
            columns = (name, BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._tasks: dict[int, Any] = {}

    def __enter__(self) -> Callable[[int, int, int], None] | None:
        if self._bar is None:
            return None
        self._bar.start()
        return self._tell

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _tell(self, number: int, done: int, total: int) -> None:
        if number not in self._tasks:
            name = printable(os.path.basename(self._jobs[number].source))
            self._tasks[number] = self._bar.add_task(name[-40:], total=None)
        self._bar.update(self._tasks[number], completed=done, total=total or None)
        if total and done >= total:
            self._bar.update(self._tasks[number], visible=False)
