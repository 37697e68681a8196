"""The manual page, made of what `--help` says: `python -m rtsep.cli.man_page > share/man/man1/rtsep.1`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer.main

from rtsep import __version__
from rtsep.cli import app


def man_page() -> str:
    """The page in the language of man(7), with every verb and option of the program."""
    root = typer.main.get_command(app)
    context = typer.Context(root, info_name="rtsep")  # type: ignore[arg-type]
    lines = [
        f'.TH RTSEP 1 "" "rtsep {__version__}" "User Commands"',
        ".SH NAME",
        f"rtsep \\- {_text(_summary(root))}",
        ".SH SYNOPSIS",
        ".B rtsep",
        r"\fIVERB\fR [\fIOPTION\fR]... [\fIARGUMENT\fR]...",
        ".SH OPTIONS",
        *_options(root),
        ".SH VERBS",
    ]
    for verb, inside in _verbs(root, context):
        arguments = [_name(each) for each in verb.params if each.param_type_name == "argument"]
        lines += [f'.SS "{_text(" ".join([inside.command_path, "[OPTION]...", *arguments]))}"']
        lines += [*_paragraphs(verb.help or ""), *_options(verb)]
    lines += [
        ".SH EXIT STATUS",
        "0 for success, 2 for bad input, 1 for a failure, 130 after Ctrl\\-C.",
        ".SH SEE ALSO",
        "The folder docs of the source, or the site made of it.",
    ]
    return "\n".join(lines) + "\n"


def _verbs(group: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """Every verb, and the verbs below it, with its context."""
    for name in group.list_commands(context):
        verb = group.get_command(context, name)
        inside = typer.Context(verb, info_name=name, parent=context)
        yield verb, inside
        if hasattr(verb, "list_commands"):
            yield from _verbs(verb, inside)


def _options(command: Any) -> Iterator[str]:
    for parameter in command.params:
        default = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
        text = parameter.help or ""
        if default not in (None, False, "") and not callable(default):
            text += f" [default: {default}]"
        yield from (".TP", rf"\fB{_text(_name(parameter))}\fR", _line(text))


def _name(parameter: Any) -> str:
    """`-o, --output FILE`; told by the parameter itself, as what typer makes of it differs from version to version."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    words = ", ".join(sorted(parameter.opts, key=len))
    return words if parameter.is_flag else f"{words} {parameter.metavar or str(parameter.name).upper()}"


def _summary(command: Any) -> str:
    return str(command.help).strip().rstrip(".")


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield ".PP"
        yield _line(paragraph)


def _line(text: str) -> str:
    """Running text as one line, which must not begin as a request does."""
    line = _text(" ".join(text.split()))
    return rf"\&{line}" if line.startswith((".", "'")) else line


def _text(text: str) -> str:
    return text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq")


if __name__ == "__main__":
    sys.stdout.write(man_page())
