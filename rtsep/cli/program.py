"""How typer's programs differ from ours: usage errors in one sentence instead of a box, flags without a kind."""

from __future__ import annotations

import re
import sys
from typing import Any

import typer
import typer.core

from rtsep.cli.shared import INTERRUPTED, complain
from rtsep.errors import InputError

# What click says about a wrong option; newer typer keeps a click of its own, under no name that is meant for others.
_UsageError: Any = typer.BadParameter.__base__


class _Flags:
    """Newer typer writes "<bool>" behind an option that takes no value, as if it took one."""

    def get_params(self, ctx: Any) -> Any:
        """See click.Command.get_params."""
        params = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class Command(_Flags, typer.core.TyperCommand):
    """A verb."""


class Group(_Flags, typer.core.TyperGroup):
    """Verbs below a word of their own."""


class Program(Group):
    """All of them; ``main`` says what is wrong with the options in one sentence."""

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
        if standalone_mode:
            sys.exit(code)
        return code
