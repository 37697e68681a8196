"""The `rtsep` program, for tests: in this process or in one of its own, and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from rtsep.cli import app
from tests.recordings import noisy

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and limits")
HOME = Path(__file__).parent.parent


def rtsep(*arguments: object):
    """Run the program in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "rtsep", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HOME)}


def spawn(*arguments: object, **options):
    """Run the program in a process of its own."""
    return subprocess.run(command(*arguments), capture_output=True, env=environment(), timeout=300, **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(name: str, seconds: float = 1.0, rate: int = 16000) -> Path:
    soundfile.write(name, noisy(rate, 1, seconds), rate)
    return Path(name)


def assert_one_sentence(result, *words: str) -> None:
    """stderr is one line, starts with the program's name, ends a sentence, names what is wrong; nothing on stdout."""
    said = result.stderr if isinstance(result.stderr, str) else result.stderr.decode()
    assert "Traceback" not in said
    assert said.count("\n") == 1, said
    assert said.startswith("rtsep: ")
    assert said.endswith(".\n")
    assert ".." not in said.split(" ")[-1], said  # one sentence put into another
    assert ".;" not in said, said
    for word in words:
        assert word in said
    assert not result.stdout
