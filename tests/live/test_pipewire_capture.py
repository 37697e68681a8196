"""What other programs play, on a private PipeWire, as users start it: found, turned down, in its channels, and gone."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import fftconvolve
from servers import PipeWireServer, delay_of, probe, pulse_list, recorded

from rtsep.engine.enhance import enhance
from rtsep.errors import InputError
from rtsep.live.backends.passthrough import PassThrough
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.routing.capture import CAPTURE_SINK, Capture
from rtsep.live.routing.pipewire_links import links, pw_link
from rtsep.live.routing.virtual_microphone import VirtualMicrophone

pytestmark = pytest.mark.usefixtures("patient")

PATIENCE = 120.0
WINDOW = 4096


@contextlib.contextmanager
def karaoke(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict]]:
    """`rtsep karaoke` with its first status, once sound runs; ended as by Ctrl-C."""
    command = [sys.executable, "-m", "rtsep", "karaoke", "--model", "mid-side", "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            first = next((line for line in process.stdout if "event" not in json.loads(line)), "")
            assert first, process.wait()
            yield process, json.loads(first)
        finally:
            stopped(process)


def stopped(process: subprocess.Popen[str]) -> int:
    """Exit code, after Ctrl-C."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.communicate()
    return process.returncode


def until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def node(name: str, description: str, kind: str, channels: str = "FL FR") -> None:
    """A device that nobody hears; kind: Audio/Sink or Audio/Source/Virtual."""
    properties = f'factory.name=support.null-audio-sink node.name={name} node.description="{description}"'
    more = f"media.class={kind} audio.position=[ {channels} ] object.linger=true"
    command = ["pw-cli", "create-node", "adapter", f"{{ {properties} {more} }}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    until(lambda: name in pulse_list("sinks" if kind == "Audio/Sink" else "sources"))


def song(seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Song and voice, float32 [samples, 2]: a voice-like sound in the middle, noise of its own on either side."""
    rng, count = np.random.default_rng(1), round(48000 * seconds)
    phase = 2 * np.pi * np.cumsum(150 + 15 * np.sin(2 * np.pi * 0.7 * np.arange(count) / 48000)) / 48000
    voice = 0.1 * sum(np.sin(harmonic * phase) / harmonic for harmonic in range(2, 25))
    sides = np.array([0.05, 0.02]) * rng.standard_normal((count, 2))
    return (voice[:, None] + sides).astype(np.float32), np.stack([voice, voice], 1).astype(np.float32)


def places(heard: np.ndarray, wanted: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """The windows of ``heard`` that are some place of ``wanted``, sample by sample and in both channels, and where."""
    found = []
    for window in np.split(heard, range(WINDOW, len(heard), WINDOW))[:-1]:
        at = int(np.argmax(fftconvolve(wanted[:, 0], window[::-1, 0], "valid")))
        if np.any(window) and np.allclose(window, wanted[at : at + WINDOW], rtol=0, atol=1e-6):
            found.append((window, at))
    return found


def test_virtual_sink_as_people_start_it(tmp_path: Path) -> None:
    sound, voice = song(30.0)
    wanted, file = enhance(sound, sample_rate=48000, model="mid-side"), tmp_path / "song.wav"
    soundfile.write(file, np.tile(sound, (10, 1)), 48000, "FLOAT")
    with PipeWireServer():
        before = pulse_list("modules")
        with karaoke("--virtual-sink", "--slack", "8") as (process, status):
            assert status["host"] == "JACK Audio Connection Kit" and status["rate"] == 48000
            player = subprocess.Popen(["paplay", "-d", CAPTURE_SINK, str(file)])
            found, end = [], time.monotonic() + PATIENCE
            while time.monotonic() < end and len(found) < 5:
                found = places(recorded("speakers.monitor", 2, 2.0), wanted)
            process.kill()  # nothing is tidied up
            process.wait()
        player.kill()
        player.wait()
        assert len(found) >= 5
        for window, at in found:
            middle = np.mean(window, axis=1) @ np.mean(voice[at : at + WINDOW], axis=1)
            assert abs(middle) < 0.1 * np.sum(np.mean(voice[at : at + WINDOW], axis=1) ** 2)
        assert CAPTURE_SINK in pulse_list("sinks")
        with karaoke("--virtual-sink") as (process, status):
            assert [line.split("\t")[1] for line in pulse_list("sinks").splitlines()].count(CAPTURE_SINK) == 1
            assert stopped(process) == 0
        until(lambda: pulse_list("modules") == before)
        assert CAPTURE_SINK not in pulse_list("sinks")


@pytest.fixture
def jack(monkeypatch: pytest.MonkeyPatch) -> Callable[[], contextlib.AbstractContextManager]:
    """``with jack():`` programs that are started find PipeWire where they look for JACK, as by ``pw-jack``."""

    @contextlib.contextmanager
    def within() -> Iterator[None]:
        command = ["pw-jack", "printenv", "LD_LIBRARY_PATH"]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        with monkeypatch.context() as patch:
            patch.setenv("LD_LIBRARY_PATH", found.stdout.strip())
            patch.setenv("PIPEWIRE_LATENCY", "128/48000")
            yield

    return within


def test_capture_finds_the_monitor_and_says_the_delay(jack: Callable) -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal(24000)).astype(np.float32)
    left, right = "Headphones (USB):monitor_FL", "Headphones (USB):monitor_FR"

    def delay() -> int:
        """In samples, of most samples bit for bit; a machine that is too busy may lose blocks."""
        for _ in range(5):
            recording, _ = probe(noise, "Speakers:playback_FL", left)
            found = delay_of(noise, recording)
            if np.mean(recording[found:] == noise[: len(noise) - found]) > 0.5:
                return found
        pytest.fail("what was played did not come out")

    with PipeWireServer():
        node("phones", "Headphones (USB)", "Audio/Sink")
        for wanted, output in ((None, None), ("speakers.monitor", "speakers"), ("usb", "phones")):
            with pytest.raises(InputError, match="played there again"):
                Capture(wanted, output).__enter__()
        with jack(), PassThrough(48000, "Speakers", "Speakers", client="empty"):
            for link in links("empty"):
                if "speakers:playback_FL" in link:
                    pw_link("--disconnect", *link)
            pw_link("empty:out_0", "phones:playback_FL")
            bare = delay()
        arguments = ("--capture", "monitor of speakers", "--output", "headphones", "--vocals", "0", "--slack", "4")
        with karaoke(*arguments) as (_, status), jack():
            assert delay() - bare == status["added_samples"] == 384 + 4 * 128
            assert not probe(noise, "Speakers:playback_FL", right)[0].any()


def test_both_channels_are_linked_where_the_right_one_is_heard(identity_model: str) -> None:
    with PipeWireServer():
        node("stereo_in", "Stereo", "Audio/Source/Virtual")
        with VirtualMicrophone("stereo_in") as microphone:
            settings = LiveSettings(model=identity_model, input_channels="right", **microphone.settings())
            with LiveEngine(settings, opened=microphone.pin):
                wanted = {(f"stereo_in:capture_F{side}", f"rtsep:in_{port}") for port, side in enumerate("LR")}
                until(lambda: wanted <= links("rtsep"))


def test_devices_described_alike_are_told_apart_and_linked_again(identity_model: str) -> None:
    """Card and microphone of one name are one JACK client, in which the monitor may come first."""
    with PipeWireServer():
        node("line_in", "Speakers", "Audio/Source/Virtual", "MONO")
        with VirtualMicrophone("line_in") as microphone:
            settings = LiveSettings(model=identity_model, **microphone.settings())
            with LiveEngine(settings, opened=microphone.pin) as live:
                wanted = {("line_in:capture_MONO", "rtsep:in_0"), ("rtsep:out_0", "rtsep_mic:input_MONO")}
                assert live.status()["block"] == 128 and links("rtsep") == wanted
                subprocess.run(["pw-cli", "destroy", "line_in"], check=True, stdout=subprocess.DEVNULL)
                until(lambda: links("rtsep") < wanted)
                node("line_in", "Speakers", "Audio/Source/Virtual", "MONO")
                until(lambda: links("rtsep") == wanted)
                assert live.state == "running"
