"""The program as typer runs it, but for usage errors, which are one sentence instead of a box."""

from __future__ import annotations

import re
import sys
from typing import Any

import typer
import typer.core

from rtsep.cli.shared import INTERRUPTED, complain, complain_of_writing
from rtsep.errors import InputError, RtsepError

# What click says about a wrong option; newer typer keeps a click of its own, under no name that is meant for others.
_UsageError: Any = typer.BadParameter.__base__


class Program(typer.core.TyperGroup):
    """All verbs; ``main`` says what is wrong with the options in one sentence."""

    def get_params(self, context: Any) -> Any:
        """See click.Command.get_params. All are flags; some are typer's own, see ``shared.flag``."""
        parameters = super().get_params(context)
        for parameter in parameters:
            parameter.metavar = ""
        return parameters

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """See click.Command.main."""
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
        except OSError as error:  # help or the version, which are written before a verb begins
            complain_of_writing(error)
            code = RtsepError.exit_code
        if standalone_mode:
            sys.exit(code)
        return code

    def format_help(self, *args: Any) -> None:
        """The list of verbs without boxes: what draws these takes longer to load than all else together."""
        super(typer.core.TyperGroup, self).format_help(*args)
