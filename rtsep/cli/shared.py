"""What all verbs share: errors as one sentence, and options that mean the same everywhere."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import typer

from rtsep.errors import InputError, RtsepError
from rtsep.printable import printable

flag = functools.partial(typer.Option, metavar="")  # an option without a value; newer typer shows "<bool>" else
Verb = TypeVar("Verb", bound=Callable[..., Any])

INTERRUPTED = 130  # 128 + SIGINT, what shells expect after Ctrl-C

MODEL_HELP = "A shipped model (see `rtsep models`) or the path of an .onnx file."


def complain(sentence: str) -> None:
    typer.echo(f"rtsep: {printable(sentence)}", err=True)


def verb(function: Verb) -> Verb:
    """Turn what rtsep raises on purpose, and Ctrl-C, into one sentence on stderr and an exit code."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
            if sys.stdout is not None:
                sys.stdout.flush()  # a full disk is found now or never
            return result
        except RtsepError as error:
            complain(str(error))
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            complain_of_writing(error)
            raise typer.Exit(RtsepError.exit_code) from None
        except KeyboardInterrupt:
            complain("Stopped; nothing half-written was left behind.")
            raise typer.Exit(INTERRUPTED) from None

    return wrapped  # type: ignore[return-value]


def complain_of_writing(error: OSError) -> None:
    """Say that standard output, or the file that ``error`` names, could not be written."""
    complain(f"{error.filename or 'Standard output'} could not be written: {error.strerror or error}.")
    _forget_output()


def _forget_output() -> None:
    """Keep Python from trying once more at exit to write what cannot be written."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def ready_standard_streams() -> None:
    """Closed standard streams become empty ones, so that no file takes their numbers; any name can be said."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def finite(value: float | None) -> float | None:
    """Callback of options that take a number: neither inf nor nan is one."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value:g} is no finite number.")
    return value


def cores() -> int:
    """CPU cores this process may use, by affinity and by the limits of its control group."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(allowed, round(int(quota) / int(period))))
    except (OSError, ValueError):  # another system, or no limit ("max")
        return allowed


def check_writable(target: str) -> None:
    """Raise InputError now if ``write_json`` could not write there after a long measurement."""
    if target == "-":
        return
    folder = Path(os.path.realpath(target)).parent
    if not folder.is_dir():
        raise InputError(f"{target} cannot be written: there is no folder {folder}.")
    if os.path.isdir(target) or not os.access(target if os.path.exists(target) else folder, os.W_OK):
        raise InputError(f"{target} cannot be written: {'it is a folder' if os.path.isdir(target) else 'not allowed'}.")


def check_folder(folder: str) -> None:
    """Raise InputError now if nothing could be recorded to ``folder``, which need not be there yet."""
    place = Path(os.path.realpath(folder))
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{folder} cannot be recorded to: nothing can be written in {place}; name another folder.")


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
