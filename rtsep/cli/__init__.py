"""The `rtsep` program: one module a verb, and no logic of its own."""

from __future__ import annotations

import warnings
from typing import Any

import typer

from rtsep.cli import bench, denoise, devices, export, karaoke, models, panel, separate, service
from rtsep.cli.program import Program
from rtsep.cli.shared import flag, ready_standard_streams

app = typer.Typer(
    name="rtsep",
    cls=Program,
    help="Clean speech and take the vocals out of songs, at 5 ms of algorithmic latency on an ordinary CPU core.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("denoise")(denoise.denoise)
app.command("karaoke")(karaoke.karaoke)
app.command("panel")(panel.panel)
app.command("separate")(separate.separate)
app.command("export-flat")(export.export_flat)
app.command("export-pipewire")(export.export_pipewire)
app.command("web")(export.web)
app.command("models")(models.models)
app.command("devices")(devices.devices)
app.command("doctor")(devices.doctor)
app.add_typer(bench.app, name="bench")
app.add_typer(service.app, name="service")


def _version(wanted: bool) -> None:
    if wanted:
        from rtsep import __version__

        typer.echo(f"rtsep {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = flag(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _say(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as a sentence, without the place in the code that it comes from."""
    typer.echo(str(message), err=True)


def main() -> None:
    """What the `rtsep` script calls."""
    warnings.showwarning = _say
    ready_standard_streams()
    app(prog_name="rtsep")
