"""`rtsep denoise`: files in, clean files out; or live, from a microphone (see rtsep.cli.live)."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtsep.cli.shared import MODEL_HELP, complain, parse_strength, verb, write_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtsep.batch import Job

_LIVE = "Live"


@verb
def denoise(
    context: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Sound or video files, folders of them (without subfolders), or - for WAV from standard input.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="OUT|DIR|-", help="Default: NAME.denoised.EXT beside the input."),
    ] = None,
    strength: Annotated[
        str | None, typer.Option(metavar="max|DB", help="Most attenuation of the noise, in dB.", show_default="max")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="M", help=MODEL_HELP, show_default="denoise")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    workers: Annotated[int, typer.Option(min=0, metavar="N", help="Files at a time; 0 is one a CPU core.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON on standard output.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="From a microphone to --output DEVICE.", rich_help_panel=_LIVE)
    ] = False,
    virtual_mic: Annotated[
        bool, typer.Option("--virtual-mic", help="To a microphone that other programs see.", rich_help_panel=_LIVE)
    ] = False,
    monitor: Annotated[
        bool, typer.Option("--monitor", help="To the loudspeaker (use headphones).", rich_help_panel=_LIVE)
    ] = False,
    source: Annotated[
        str | None, typer.Option("--input", metavar="DEV", help="See `rtsep devices`.", rich_help_panel=_LIVE)
    ] = None,
    block: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Frames to ask the device for.", rich_help_panel=_LIVE)
    ] = None,
    slack: Annotated[
        int | None, typer.Option(metavar="N", help="Blocks of delay; 2, more if needed.", rich_help_panel=_LIVE)
    ] = None,
    record: Annotated[
        str | None, typer.Option(metavar="DIR", help="Record what is heard and played.", rich_help_panel=_LIVE)
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Begin with these settings.", rich_help_panel=_LIVE)
    ] = None,
    save: Annotated[
        str | None, typer.Option(metavar="NAME", help="Save the settings as a preset.", rich_help_panel=_LIVE)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Stop after so long.", rich_help_panel=_LIVE)
    ] = None,
) -> None:
    """Take the noise out of recordings of speech, or out of a microphone while you speak.

    WAV, FLAC, Ogg and MP3 are read; WAV, FLAC and Ogg are written, with the
    rate, channels, length, sample format and tags of the input. Everything
    else, MP3 and the sound of videos (by ffmpeg) too, becomes FLAC.

    Exit code: 0, or 2 for bad input, 1 for a failure, 130 after Ctrl-C. No
    output is ever left half-written, and no input is touched.
    """
    from rtsep import batch
    from rtsep.errors import InputError

    if live or virtual_mic or monitor or preset is not None:
        from rtsep.cli.live import run_live

        run_live(
            *(files, virtual_mic, monitor, source, output, strength, model, block, slack, record),
            *(preset, save, as_json, seconds),
        )
        return
    strength, model = strength or "max", model or "denoise"
    only_live = {"--input": source, "--block": block, "--slack": slack, "--record": record, "--save": save}
    for option, value in (only_live | {"--seconds": seconds}).items():
        if value is not None:
            raise InputError(f"{option} is for live sound; add --live, --virtual-mic or --monitor.")
    if not files:
        typer.echo(context.get_help())
        return
    jobs = batch.plan(files, output)
    if as_json and jobs[0].target is None:
        raise InputError("--json and the sound cannot both go to standard output; name a file with -o.")
    signal.signal(signal.SIGTERM, _interrupt)
    with _Bar(jobs, quiet) as progress:
        outcomes = batch.run(jobs, model, parse_strength(strength), overwrite, workers or os.cpu_count() or 1, progress)

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
