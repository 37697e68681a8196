"""`rtsep bench`: measurements on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rtsep.cli.shared import MODEL_HELP, check_writable, finite, flag, verb, write_json, write_text
from rtsep.errors import InputError
from rtsep.printable import printable

app = typer.Typer(help="Measure latency and speed on this machine.", invoke_without_command=True)


@app.callback()
def _bench(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


ModelOption = Annotated[str, typer.Option(metavar="M", help=MODEL_HELP)]
JsonOption = Annotated[
    str | None, typer.Option("--json", metavar="PATH|-", help="Write JSON to a file, or - for standard output.")
]


@app.command()
@verb
def step(
    model: ModelOption = "denoise",
    json: JsonOption = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, callback=finite, help="Seconds of sound to time, hop by hop.")
    ] = 30.0,
) -> None:
    """Latency of the stream by a probe, and the time a hop takes on one thread."""
    from rtsep.engine.enhance import BACKEND
    from rtsep.model import load
    from rtsep.report.step import measure_step

    if json is not None:
        check_writable(json)
    result = measure_step(load(model, BACKEND), seconds)
    if json is not None:
        write_json(result, json)
    if json != "-":
        from rtsep.report.text import step_lines

        _print(step_lines(result))


@app.command()
@verb
def files(
    recordings: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="Recordings to clean; none: a minute of noise.")
    ] = None,
    model: ModelOption = "denoise",
    json: JsonOption = None,
    repeat: Annotated[int, typer.Option(min=1, help="Runs a file; the fastest counts.")] = 3,
) -> None:
    """How many times faster than real time files are cleaned, on one core."""
    from rtsep.engine.enhance import BACKEND
    from rtsep.model import load
    from rtsep.report.throughput import measure_files

    if json is not None:
        check_writable(json)
    result = measure_files(load(model, BACKEND), recordings or [], repeat)
    if json is not None:
        write_json(result, json)
    if json != "-":
        from rtsep.report.text import files_lines

        _print(files_lines(result))


@app.command()
@verb
def live(
    model: ModelOption = "denoise",
    json: JsonOption = None,
    html: Annotated[str | None, typer.Option(metavar="PATH", help="Write a page with pictures.")] = None,
    period: Annotated[int, typer.Option(min=16, max=8192, metavar="N", help="Frames a block of the server.")] = 128,
    slack: Annotated[
        int, typer.Option(min=0, max=16, metavar="N", help="Blocks of delay for the worker; 0 is inside the callback.")
    ] = 0,
    source: Annotated[
        str | None, typer.Option("--input", metavar="DEV", help="Through real devices, a cable from one to the other.")
    ] = None,
    output: Annotated[str | None, typer.Option(metavar="DEV", help="See --input; both or none.")] = None,
    seconds: Annotated[float, typer.Option(min=0.5, callback=finite, help="Seconds under each load.")] = 10.0,
    quick: Annotated[bool, flag("--quick", help="Idle only, without the loads.")] = False,
) -> None:
    """The true round trip through a private JACK server, what it is made of, and how steady it is under load.

    With --input and --output through real devices, whose ends a cable connects; turn the volume up.
    """
    from rtsep.report.live import measure_live
    from rtsep.report.live_page import check_pictures, live_lines, live_page
    from rtsep.report.loads import LOADS

    if html is not None:
        check_pictures()
    for target in (json, html):
        if target is not None:
            check_writable(target)
    if (source is None) != (output is None):
        raise InputError("A loopback cable has two ends; give both --input and --output, or neither.")
    devices = None if source is None or output is None else (source, output)

    def say(text: str) -> None:
        typer.echo(text, err=True)

    names = LOADS[:1] if quick else LOADS
    result = measure_live(model, period, slack, seconds, names=names, say=say, devices=devices)
    if json is not None:
        write_json(result, json)
    if html is not None:
        write_text(live_page(result), html)
    if json != "-":
        _print(live_lines(result))


def _print(lines: list[str]) -> None:
    for line in lines:
        typer.echo(printable(line))
