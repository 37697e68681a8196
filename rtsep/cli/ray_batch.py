"""`rtsep denoise --ray`: many files on the machines of a Ray cluster."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from rtsep.cli.interrupts import interrupted_by_signals
from rtsep.cli.shared import complain, write_json

if TYPE_CHECKING:
    from rtsep.batch.manifest import Result


def run_on_ray(
    files: Sequence[str],
    output: str | None,
    address: str,
    model: str,
    strength: str,
    only_here: Mapping[str, Any],
    as_json: bool,
    quiet: bool,
    recursive: bool,
    template: str | None,
    overwrite: bool,
    workers: int | None,
    manifest: str | None,
) -> None:
    """Do all of it (see rtsep.batch.run) and exit with its code: 0, 2 for bad input alone, 1 for other failures."""
    from rtsep.batch.run import run
    from rtsep.errors import InputError
    from rtsep.live.choices import parse_strength

    for option, value in only_here.items():
        if value not in (None, "off"):
            raise InputError(f"{option} does not go with --ray.")
    if output is None:
        raise InputError("--ray needs -o: a folder that exists, or an address such as s3://bucket/folder.")
    with interrupted_by_signals(), _Bar(quiet) as tell, _standard_output_kept():
        results = run(
            files,
            output,
            address,
            model,
            parse_strength(strength),
            recursive=recursive,
            template=template,
            overwrite=overwrite,
            workers=workers or None,
            manifest=manifest,
            progress=tell,
        )
    failed = [result for result in results if result.error is not None]
    if not quiet:
        seconds = sum(result.seconds for result in results)
        were = f"{len(results) - len(failed)} of {len(results)} files are done, {seconds:.0f} s of sound"
        typer.echo(f"{were}; the same command goes on with what is left." if failed else f"{were}.", err=True)
    if as_json:
        write_json([asdict(result) for result in results], "-")
    codes = {result.exit_code for result in failed}
    raise typer.Exit(0 if not codes else 2 if codes == {2} else 1)


@contextlib.contextmanager
def _standard_output_kept() -> Iterator[None]:
    """Ray prints there what happens on the cluster, a worker that was killed say; but it is for the results."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


class _Bar:
    """Files done of all, with the time left, on a terminal; and a sentence for each that failed."""

    def __init__(self, quiet: bool) -> None:
        self._bar: Any = None
        if not quiet and os.isatty(2):
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("files", total=None)

    def __enter__(self) -> Any:
        if self._bar is not None:
            self._bar.start()
        return self._tell

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _tell(self, done: int, total: int, result: Result | None) -> None:
        if result is not None and result.error is not None:
            complain(result.error)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
