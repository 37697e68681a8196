"""Child processes of a live session: what they inherit and how they end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import rtsep


def child_environment() -> dict[str, str]:
    """The environment, in which a child imports the very rtsep that this process runs."""
    paths = (str(Path(rtsep.__file__).parents[1]), os.environ.get("PYTHONPATH", ""))
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def end(process: subprocess.Popen[bytes], patience: float) -> None:
    """Wait for a child that was told to stop, then end it by force: it may hang in a sound server that is no more."""
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def how_ended(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
