"""Private sound servers for tests: they die with the test, and nobody else hears them."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

_PDEATHSIG = 1


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


def _dies_with_us() -> None:
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM)


class JackServer:
    """``jackd -S -d dummy`` under a private name; ``with`` starts it and points this process's children to it.

    Synchronous (-S): the server waits for the clients' callbacks, so a late callback delays sound but loses none.
    """

    def __init__(self, period: int = 128, rate: int = 48000, name: str | None = None) -> None:
        self.name = name or f"rtsep_test_{os.getpid()}"
        self.period, self.rate = period, rate

    def start(self) -> JackServer:
        command = ["jackd", "-n", self.name, "-R", "-P", "70", "-S", "-d", "dummy"]
        command += ["-r", str(self.rate), "-p", str(self.period), "-C", "2", "-P", "2"]
        for _ in range(3):
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_dies_with_us,
            )
            check = ["jack_wait", "-s", self.name, "-c"]  # -w looks but once a second
            end = time.monotonic() + 10
            while self.process.poll() is None and time.monotonic() < end:
                found = subprocess.run(check, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                if found.stdout.strip() == "running":
                    return self
                time.sleep(0.05)
            self.stop()
            time.sleep(0.5)
        raise RuntimeError(f"jackd ended with {self.process.returncode}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> JackServer:
        os.environ["JACK_DEFAULT_SERVER"] = self.name
        os.environ["JACK_NO_START_SERVER"] = "1"
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        os.environ.pop("JACK_DEFAULT_SERVER", None)


@contextlib.contextmanager
def jack_server(period: int = 128, rate: int = 48000) -> Iterator[JackServer]:
    install("jackd2", "libportaudio2", program="jackd")
    with JackServer(period, rate) as server:
        yield server


def probe(sound: np.ndarray, target: str, source: str, *options: str) -> tuple[np.ndarray, dict[str, int]]:
    """Play ``sound`` into port ``target`` and record port ``source``, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        played, recorded = Path(folder) / "played.npy", Path(folder) / "recorded.npy"
        np.save(played, sound)
        command = [sys.executable, "-m", "rtsep.live.jack", str(played), str(recorded), target, source, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=len(sound) / 48000 + 60)
        assert done.returncode == 0, done.stderr
        return np.load(recorded), json.loads(done.stdout)


def delay_of(sound: np.ndarray, recording: np.ndarray, most: int = 1 << 15) -> int:
    """Samples by which ``sound`` comes later in ``recording``."""
    size = 1 << (len(sound) + len(recording) - 1).bit_length()
    spectrum = np.fft.rfft(recording, size) * np.conj(np.fft.rfft(sound, size))
    return int(np.argmax(np.abs(np.fft.irfft(spectrum, size)[:most])))
