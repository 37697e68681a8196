"""Programs of the workshop, for tests: in this process or in one of its own, and what a shell would get of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

HOME = Path(__file__).parents[2]


def call(main: Callable[..., Any], *words: object) -> subprocess.CompletedProcess[str]:
    """Runs the program `main` in this process; raises what would be a traceback."""
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


def spawn(*words: object) -> subprocess.CompletedProcess[str]:
    """Runs what a user would type after `python -m`: four seconds of imports, so only where a process is the point."""
    command = [sys.executable, "-m", *map(str, words)]
    return subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=300)
