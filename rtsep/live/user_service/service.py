"""What a service is, whatever the system calls it, and what it runs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rtsep.errors import RtsepError
from rtsep.live.presets import load_preset


@dataclass(frozen=True)
class ServiceStatus:
    """place: the file that says what is started, or None. running: now. detail: the system's own word for that."""

    place: str | None
    running: bool
    detail: str


class UserService(Protocol):
    """One system's way. All raise RtsepError with one sentence where the system refuses."""

    def install(self, command: Sequence[str]) -> None:
        """Have ``command`` started at every login, and now; in the place of what was installed before."""
        ...

    def remove(self) -> bool:
        """Stop it and start it no more; whether there was anything to remove."""
        ...

    def status(self) -> ServiceStatus: ...


def command(preset: str | None = None) -> list[str]:
    """What the service runs: the virtual microphone, with the settings of ``preset``.

    It goes with the default microphone, unless the preset names one. Raises InputError for a preset that is none.
    """
    words = [*program(), "denoise", "--virtual-mic", "--notify"]
    settings = {} if preset is None else load_preset(preset)
    if preset is not None:
        words += ["--preset", preset]
    if sys.platform == "linux" and settings.get("input") is None:
        words.append("--follow-default")
    return words


def program() -> list[str]:
    """This very rtsep: the script beside the Python that runs it, else the module."""
    script = Path(sys.executable).with_name("rtsep.exe" if os.name == "nt" else "rtsep")
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "rtsep"]


def ask(*words: str, check: bool = True) -> str:
    """What a program of the system prints. Raises RtsepError when it is not there or, with ``check``, fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RtsepError(f"{words[0]} did not answer ({error}).") from None
    if check and done.returncode:
        said = " ".join((done.stderr or done.stdout).split()).rstrip(".")
        raise RtsepError(f"{' '.join(words[:3])} failed: {said or done.returncode}.")
    return done.stdout


@contextlib.contextmanager
def replaced(path: Path, content: bytes) -> Iterator[None]:
    """``path`` holds ``content``; when what is done within fails, it holds again what it held before, if anything."""
    before = path.read_bytes() if path.exists() else None
    _write(path, content)
    try:
        yield
    except BaseException:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            _write(path, before)
        raise


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise RtsepError(f"{path} cannot be written: {error.strerror or error}.") from None
