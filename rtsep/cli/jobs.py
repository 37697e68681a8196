"""Files to files, for the verbs that make them: progress, one line a file, one sentence an error, an exit code."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import typer

from rtsep.cli.shared import complain, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtsep.audio_io.batch import Job
    from rtsep.audio_io.files import MakeProcessor


def run_jobs(
    jobs: Sequence[Job],
    model: str,
    overwrite: bool,
    workers: int,
    quiet: bool,
    as_json: bool,
    strength: float | None = None,
    make: MakeProcessor | None = None,
) -> None:
    """Do all jobs (see rtsep.audio_io.batch.run) and exit with their code."""
    from rtsep.audio_io import batch
    from rtsep.errors import InputError

    if as_json and jobs[0].target is None:
        raise InputError("--json and the sound cannot both go to standard output; name a file with -o.")
    signal.signal(signal.SIGTERM, _interrupt)
    with _Bar(jobs, quiet) as progress:
        outcomes = batch.run(jobs, model, strength, overwrite, workers, progress, make)

    for outcome in outcomes:
        if outcome.error is not None:
            complain(outcome.error)
        elif not quiet and outcome.report is not None and outcome.job.target is not None:
            pace = outcome.report.seconds / max(outcome.took, 1e-9)
            typer.echo(f"{outcome.job.target}  {outcome.report.seconds:.1f} s, {pace:.1f} x real time", err=True)
    failed = [outcome.job.source for outcome in outcomes if outcome.error is not None]
    if failed and len(outcomes) > 1:
        complain(f"{len(failed)} of {len(outcomes)} files failed: {', '.join(failed)}")
    if as_json:
        write_json([outcome.as_dict() for outcome in outcomes], "-")
    raise typer.Exit(batch.exit_code(outcomes))


def _interrupt(*_: object) -> None:
    """Kill cleans up like Ctrl-C, also where Ctrl-C is ignored, as in the background of a script."""
    raise KeyboardInterrupt


class _Bar:
    """Progress with the time left, on stderr; nothing when that is not a terminal."""

    def __init__(self, jobs: Sequence[Job], quiet: bool) -> None:
        self._jobs = jobs
        self._bar: Any = None
        if not quiet and os.isatty(2):
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
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
            name = os.path.basename(self._jobs[number].source)
            self._tasks[number] = self._bar.add_task(name[-40:], total=None)
        self._bar.update(self._tasks[number], completed=done, total=total or None)
        if total and done >= total:
            self._bar.update(self._tasks[number], visible=False)
