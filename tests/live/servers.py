"""Private sound servers for tests: they die with the test, and nobody else hears them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator

import pytest

from rtsep.live.probe import delay_of, probe
from rtsep.live.server import JackServer, _dies_with_us

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


class PulseServer:
    """A private PulseAudio with a null sink as loudspeaker and a fake microphone fed by the sink ``micfeed``."""

    def __enter__(self) -> PulseServer:
        install("pulseaudio", "pulseaudio-utils", "libasound2-plugins", program="pulseaudio")
        self._folder = tempfile.TemporaryDirectory(prefix="rtsep-pulse-")
        folder = self._folder.name
        names = ("HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH", "PULSE_STATE_PATH")
        settings = dict.fromkeys(names, folder) | {"PULSE_SERVER": f"unix:{folder}/native"}
        self._before = {key: os.environ.get(key) for key in settings}
        modules = [
            f"module-native-protocol-unix auth-anonymous=1 socket={folder}/native",
            "module-null-sink sink_name=speakers rate=48000 channels=2 format=float32le norewinds=1",
            "module-null-sink sink_name=micfeed rate=48000 channels=1 format=float32le norewinds=1",
            "module-remap-source source_name=mic master=micfeed.monitor",
        ]
        command = [
            "pulseaudio",
            "-n",
            "--daemonize=no",
            "--use-pid-file=no",
            "--exit-idle-time=-1",
            "--log-target=stderr",
        ]
        for module in modules:
            command += ["-L", module]
        environment = os.environ | {key: value for key, value in settings.items() if key != "PULSE_SERVER"}
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_dies_with_us,
        )
        os.environ.update(settings)
        for _ in range(200):
            if subprocess.run(["pactl", "info"], capture_output=True).returncode == 0:
                break
            time.sleep(0.05)
        subprocess.run(["pactl", "set-default-sink", "speakers"], check=True)
        subprocess.run(["pactl", "set-default-source", "mic"], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for key, value in self._before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        self._folder.cleanup()


def pulse_list(kind: str) -> str:
    return subprocess.run(["pactl", "list", "short", kind], capture_output=True, text=True, check=True).stdout
