"""`rtsep service`: the virtual microphone from login on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from rtsep.cli.shared import flag, verb, write_json

app = typer.Typer(
    help="Have the virtual microphone started at login, by systemd, launchd or the Task Scheduler.",
    invoke_without_command=True,
)


@app.callback()
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("install")
@verb
def install(
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="Run with these settings.")] = None,
) -> None:
    """Start it now and at every login, and again when it fails. A second time: with other settings.

    It goes with the default microphone, unless the preset names one, and
    shows a notification when there is no clean sound.
    """
    from rtsep.live.user_service.service import command
    from rtsep.live.user_service.this_system import user_service

    user_service().install(command(preset))
    typer.echo("The virtual microphone is started now, and at every login; `rtsep service status` tells how it is.")


@app.command("remove")
@verb
def remove() -> None:
    """Stop it, and start it no more."""
    from rtsep.live.user_service.this_system import user_service

    typer.echo("Stopped and removed." if user_service().remove() else "It was not installed.")


@app.command("status")
@verb
def status(as_json: Annotated[bool, flag("--json", help="Print JSON.")] = False) -> None:
    """Whether it is installed and runs. Exit code: 0 if it runs, 1 otherwise."""
    from rtsep.live.user_service.this_system import user_service

    found = user_service().status()
    if as_json:
        write_json(asdict(found), "-")
    else:
        typer.echo(found.detail if found.place is None else f"{found.detail} ({found.place})")
    if not found.running:
        raise typer.Exit(1)
