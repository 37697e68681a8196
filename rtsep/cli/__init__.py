"""The `rtsep` program: one module a verb, and no logic of its own."""

from __future__ import annotations

import re
import sys
from typing import Any

import typer
import typer.core

from rtsep.cli import bench, denoise, devices, karaoke, models
from rtsep.cli.shared import INTERRUPTED, complain, ready_standard_streams
from rtsep.errors import InputError

# What click says about a wrong option; newer typer keeps a click of its own, under no name that is meant for others.
_UsageError: Any = typer.BadParameter.__base__


class _Program(typer.core.TyperGroup):
    """The program, whose refusals are one sentence each, those of options too, instead of typer's boxes."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """See click.BaseCommand.main."""
        try:
            code = super().main(*args, **extra | {"standalone_mode": False})
        except _UsageError as error:
            words = " ".join(error.format_message().split()).rstrip(".")
            words = re.sub(r"\. Did (you mean .*)$", r" (did \1)", words)
            command = "rtsep" if error.ctx is None else error.ctx.command_path
            complain(f"{words}; see `{command} --help`.")
            code = InputError.exit_code
        except typer.Abort:  # Ctrl-C before there was anything to stop
            code = INTERRUPTED
        if standalone_mode:
            sys.exit(code)
        return code


app = typer.Typer(
    name="rtsep",
    cls=_Program,
    help="Clean speech and take the vocals out of songs, at 5 ms of algorithmic latency on an ordinary CPU core.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("denoise")(denoise.denoise)
app.command("karaoke")(karaoke.karaoke)
app.command("models")(models.models)
app.command("devices")(devices.devices)
app.command("doctor")(devices.doctor)
app.add_typer(bench.app, name="bench")


def _version(wanted: bool) -> None:
    if wanted:
        from rtsep import __version__

        typer.echo(f"rtsep {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """What the `rtsep` script calls."""
    ready_standard_streams()
    app(prog_name="rtsep")
