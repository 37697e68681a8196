"""Private sound servers for tests: they die with the test, and nobody else hears them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rtsep.live.backends.jack_probe import delay_of, probe
from rtsep.live.backends.jack_server import JackServer
from rtsep.live.engine.processes import set_parent_death_signal

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
        os.environ.update(settings)
        return self.start()

    def start(self) -> PulseServer:
        folder = self._folder.name
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
        environment = {key: value for key, value in os.environ.items() if key != "PULSE_SERVER"}
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=set_parent_death_signal,
        )
        _until(lambda: subprocess.run(["pactl", "info"], capture_output=True).returncode == 0)
        subprocess.run(["pactl", "set-default-sink", "speakers"], check=True)
        subprocess.run(["pactl", "set-default-source", "mic"], check=True)
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __exit__(self, *_: object) -> None:
        self.kill()
        _restore(self._before)
        self._folder.cleanup()


def _restore(before: dict[str, str | None]) -> None:
    """Gives the environment the values back that it had; None is none."""
    for key, value in before.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value


_PIPEWIRE = """
context.properties = { default.clock.rate = 48000 default.clock.allowed-rates = [ 48000 ] }
context.objects = [
  { factory = adapter args = { factory.name = support.null-audio-sink node.name = speakers
    node.description = "Speakers" media.class = Audio/Sink audio.position = [ FL FR ] object.linger = true } }
  { factory = adapter args = { factory.name = support.null-audio-sink node.name = mic
    node.description = "Real Mic" media.class = Audio/Source/Virtual audio.position = [ MONO ] object.linger = true } }
]
"""


class PipeWireServer:
    """A private PipeWire, its session manager and its PulseAudio server: a loudspeaker and the microphone ``mic``."""

    PACKAGES = ("pipewire", "pipewire-bin", "pipewire-jack", "pipewire-pulse", "wireplumber", "dbus")

    def __enter__(self) -> PipeWireServer:
        for program in ("pipewire", "pipewire-pulse", "wireplumber", "pw-jack", "pw-link", "dbus-daemon"):
            install(*self.PACKAGES, program=program)
        install("pulseaudio-utils", program="pactl")
        self._folder = tempfile.TemporaryDirectory(prefix="rtsep-pipewire-")
        folder = self._folder.name
        names = ("HOME", "XDG_RUNTIME_DIR", "PIPEWIRE_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
        settings = dict.fromkeys(names, folder)
        settings |= {
            "PULSE_SERVER": f"unix:{folder}/pulse/native",
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder}/bus",
        }
        place = Path(folder) / "pipewire" / "pipewire.conf.d"
        place.mkdir(parents=True)
        (place / "10-rtsep.conf").write_text(_PIPEWIRE)
        self._before = {key: os.environ.get(key) for key in settings}
        os.environ.update(settings)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._start("dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address=unix:path={folder}/bus")
        self._start("pipewire")
        _until(lambda: os.path.exists(f"{folder}/pipewire-0") and os.path.exists(f"{folder}/bus"))
        self._start("wireplumber")
        self._start("pipewire-pulse")
        _until(lambda: "mic" in _pactl("list", "short", "sources") and "mic" in _pactl("get-default-source"))
        return self

    def _start(self, *command: str) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, start_new_session=True, preexec_fn=set_parent_death_signal, **quiet)  # type: ignore[call-overload]
        self._processes.append(process)

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        _restore(self._before)
        self._folder.cleanup()


def _pactl(*arguments: str) -> str:
    return subprocess.run(["pactl", *arguments], capture_output=True, text=True).stdout


def _until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail("the private sound server did not start")
        time.sleep(0.05)


def recorded(source: str, channels: int = 1, seconds: float = 1.0, patience: float = 20.0) -> NDArray[np.float32]:
    """[samples, channels] of what ``source`` hears from now on, at 48 kHz; fewer, or none, when it gives no more."""
    command = ["parec", "-d", source, "--rate=48000", f"--channels={channels}", "--format=float32le"]
    recorder = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert recorder.stdout is not None
    alarm = threading.Timer(patience, recorder.kill)
    alarm.start()
    with recorder.stdout as sound:
        data = sound.read(4 * channels * round(48000 * seconds))
    alarm.cancel()
    recorder.kill()
    recorder.wait()
    return np.frombuffer(data[: len(data) // (4 * channels) * 4 * channels], np.float32).reshape(-1, channels)


def sines_at(
    source: str, amplitudes: list[float], before: Callable[[], object] = lambda: None
) -> tuple[list[float], list[float]]:
    """Amplitude and pitch (Hz) of a sine in each channel of ``source``, once a third of a second of it comes whole.

    amplitudes: those that are awaited. before: done before each try. Where nothing comes whole it is the last try's.
    """
    found = pitches = [0.0] * len(amplitudes)
    whole = False  # a block that was lost is a jump of the phase: it moves the pitch and hardly the level
    end = time.monotonic() + 150
    while not (whole and np.allclose(found, amplitudes, rtol=0.1)) and time.monotonic() < end:
        before()
        sound = recorded(source, len(amplitudes))[-16384:].astype(np.float64)
        if len(sound) == 16384:
            found = [float(value) for value in np.sqrt(2 * np.mean(sound**2, axis=0))]
            spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))[:, None], axis=0))
            places = np.argmax(spectrum, axis=0)
            pitches = [float(place) for place in places * 48000 / len(sound)]
            near = np.abs(np.arange(len(spectrum))[:, None] - places) <= 3
            whole = bool((np.sum(spectrum**2 * near, axis=0) > 0.98 * np.sum(spectrum**2, axis=0)).all())
    return found, pitches


def pulse_list(kind: str) -> str:
    return subprocess.run(["pactl", "list", "short", kind], capture_output=True, text=True, check=True).stdout
