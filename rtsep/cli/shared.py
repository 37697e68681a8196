"""What all verbs share: errors as one sentence, and options that mean the same everywhere."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import typer

from rtsep.errors import InputError, RtsepError

Verb = TypeVar("Verb", bound=Callable[..., Any])

INTERRUPTED = 130  # 128 + SIGINT, what shells expect after Ctrl-C

MODEL_HELP = "A shipped model (see `rtsep models`) or the path of an .onnx file."


def complain(sentence: str) -> None:
    typer.echo(f"rtsep: {sentence}", err=True)


def verb(function: Verb) -> Verb:
    """Turn what rtsep raises on purpose, and Ctrl-C, into one sentence on stderr and an exit code."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except RtsepError as error:
            complain(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            complain("Stopped; nothing half-written was left behind.")
            raise typer.Exit(INTERRUPTED) from None

    return wrapped  # type: ignore[return-value]


def parse_strength(text: str) -> float | None:
    """`max` (no limit, None) or a number of dB."""
    if text == "max":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise InputError(f"--strength is {text!r}; it must be max or a number of dB from 0 up.")
    return value


def check_writable(target: str) -> None:
    """Raise InputError now if ``write_text`` could not write there after a long measurement."""
    folder = Path(os.path.realpath(target)).parent
    if not folder.is_dir():
        raise InputError(f"{target} cannot be written: there is no folder {folder}.")
    if os.path.isdir(target) or not os.access(target if os.path.exists(target) else folder, os.W_OK):
        raise InputError(f"{target} cannot be written: {'it is a folder' if os.path.isdir(target) else 'not allowed'}.")


def write_json(values: Any, target: str) -> None:
    """Write ``values`` to a new file, or to standard output when ``target`` is "-"."""
    text = json.dumps(values, indent=2) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    write_text(text, target)


def write_text(text: str, target: str) -> None:
    """Write ``text`` to a file, all of it or nothing; raises InputError when that cannot be."""
    path = Path(os.path.realpath(target))  # a link stays one
    beside = path.with_name(f".rtsep-{os.getpid()}.part")
    try:
        if os.path.exists(target) and not path.is_file():  # a pipe or a terminal can only be written in place
            Path(target).write_text(text, encoding="utf-8")
            return
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}.") from None
