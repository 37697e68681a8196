"""The `rtsep` program: one module a verb, and no logic of its own."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import typer

from rtsep.cli import bench, denoise, devices, export, karaoke, models, panel, separate, serve, service
from rtsep.cli.program import Program
from rtsep.cli.shared import complain, flag, ready_standard_streams
from rtsep.engine.compile_notice import tell_by

app = typer.Typer(
    name="rtsep",
    cls=Program,
    help="Clean speech and turn the vocals of songs down, at 5 ms of algorithmic latency on an ordinary CPU core.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# The short ones stand in the list of verbs, a line each.
app.command("denoise", short_help="Take the noise out of speech: files, or live.")(denoise.denoise)
app.command("karaoke", short_help="Turn the vocals of songs down: play, write, capture.")(karaoke.karaoke)
app.command("panel", short_help="Microphone, karaoke and files as a page in the browser.")(panel.panel)
app.command("separate", short_help="Write every source of a recording.")(separate.separate)
app.command("serve", short_help="Clean streams that come over the network.")(serve.serve)
app.command("export-flat", short_help="Write a model's flat graph, for C and other hosts.")(export.export_flat)
app.command("export-pipewire", short_help="Write a filter chain for PipeWire.")(export.export_pipewire)
app.command("web", short_help="Write a page that cleans the microphone in the browser.")(export.web)
app.command("models", short_help="List the models, or add one.")(models.models)
app.command("devices", short_help="List the sound devices.")(devices.devices)
app.command("doctor", short_help="What here helps or hinders live sound.")(devices.doctor)
app.add_typer(bench.app, name="bench")
app.add_typer(service.app, name="service", short_help="Start the virtual microphone at login.")


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
    tell_by(complain)
    # Where it is installed numba imports it, for linear algebra that nothing here uses: a quarter of a second.
    sys.modules.setdefault("scipy", None)  # type: ignore[arg-type]
    ready_standard_streams()
    app(prog_name="rtsep")
