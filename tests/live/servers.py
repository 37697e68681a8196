"""Private sound servers for tests: they die with the test, and nobody else hears them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from rtsep.live.probe import delay_of, probe
from rtsep.live.server import JackServer

__all__ = ["JackServer", "delay_of", "install", "jack_server", "probe"]


def install(*packages: str, program: str) -> None:
    """Make sure that ``program`` is there: in CI by apt, and its lack is a failure; elsewhere a skip."""
    if shutil.which(program):
        return
    if os.environ.get("CI") and shutil.which("apt-get"):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["apt-get", "update", "-qq"], **quiet)  # type: ignore[call-overload]
        command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, env=environment, **quiet)  # type: ignore[call-overload]
    if not shutil.which(program):
        sentence = f"{program} is not installed (apt install {' '.join(packages)})"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)


@contextlib.contextmanager
def jack_server(period: int = 128, rate: int = 48000) -> Iterator[JackServer]:
    install("jackd2", "libportaudio2", program="jackd")
    with JackServer(period, rate) as server:
        yield server
