"""--follow-default on real servers: the microphone is the default one, and never rtsep's own or what is played."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from servers import PipeWireServer, PulseServer, pulse_list, sines_at
from tape import wait

from rtsep.errors import InputError
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.routing import pipewire_links
from rtsep.live.routing.virtual_microphone import SOURCE, VirtualMicrophone

pytestmark = pytest.mark.usefixtures("patient")
FEEDS = {"mic": 1000, "usb": 2000}  # Hz that the microphones hear


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tones")
    for name, pitch in FEEDS.items():
        sine = np.tile(0.4 * np.sin(2 * np.pi * pitch / 48000 * np.arange(48000)), 400)
        soundfile.write(folder / f"{name}.wav", sine, 48000, subtype="PCM_16")
    return {name: folder / f"{name}.wav" for name in FEEDS}


@pytest.fixture
def players() -> Iterator[list[subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []
    yield running
    for player in running:
        player.kill()
        player.wait()


def pactl(*words: str) -> str:
    return subprocess.run(["pactl", *words], check=True, capture_output=True, text=True).stdout.strip()


def hears(pitch: float) -> None:
    levels, pitches = sines_at(SOURCE, [0.4])
    assert levels == pytest.approx([0.4], rel=0.15) and pitches == pytest.approx([pitch], abs=6)


def test_pulseaudio(identity_model: str, tones: dict[str, Path], players: list[subprocess.Popen[bytes]]) -> None:
    with PulseServer():
        pactl("load-module", "module-null-sink", "sink_name=usbfeed", "rate=48000", "channels=1", "norewinds=1")
        usb = pactl("load-module", "module-remap-source", "source_name=usb", "master=usbfeed.monitor")
        players += [subprocess.Popen(["paplay", "-d", f"{name}feed", str(tone)]) for name, tone in tones.items()]
        modules = pulse_list("modules")
        with VirtualMicrophone(follow_default=True) as microphone:
            assert microphone.source == "mic"
            told: list[dict[str, Any]] = []

            def moved(settings: dict[str, Any]) -> None:
                told.append(settings)
                live.input_moved(settings)

            settings = LiveSettings(model=identity_model, **microphone.settings())
            with LiveEngine(settings, opened=microphone.pin) as live:
                microphone.moved = moved
                hears(FEEDS["mic"])
                pactl("set-default-source", "usb")
                hears(FEEDS["usb"])
                assert wait(lambda: microphone.source == "usb" and len(told) == 1)
                assert live.status()["input"] == told[0]["labels"][0]
                again = pactl("load-module", "module-remap-source", "source_name=again", f"master={SOURCE}")
                for own in (SOURCE, "again", "rtsep_input", "micfeed.monitor"):
                    pactl("set-default-source", own)
                    hears(FEEDS["usb"])
                    assert microphone.source == "usb"
                pactl("unload-module", again)
                pactl("unload-module", usb)  # out with it: the other one is taken
                hears(FEEDS["mic"])
                assert wait(lambda: microphone.source == "mic")
                assert live.restarts == {"worker": 0, "device": 0}
        assert pulse_list("modules").splitlines() == [
            line for line in modules.splitlines() if "source_name=usb" not in line
        ]


def test_pipewire(identity_model: str) -> None:
    """The links are where they should be, and nowhere else."""
    with PipeWireServer():
        properties = ("media.class=Audio/Source/Virtual", "sink_name=usb", "channel_map=mono")
        pactl("load-module", "module-null-sink", *properties, "sink_properties=device.description=USB")
        with VirtualMicrophone(follow_default=True) as microphone:
            assert microphone.source == "mic"
            settings = LiveSettings(model=identity_model, **microphone.settings())
            with LiveEngine(settings, opened=microphone.pin) as live:
                microphone.moved = live.input_moved
                before = "mic"
                for default, expected in (
                    ("mic", "mic"),
                    ("usb", "usb"),
                    (SOURCE, "usb"),
                    ("mic", "mic"),
                    ("usb", "usb"),
                ):
                    pactl("set-default-source", default)
                    if expected == before:
                        time.sleep(1.0)  # for what must not happen
                    until_heard(microphone, expected)
                    before = expected
                assert (live.status()["input"], live.device["input"]) == ("USB", "USB")
                assert live.state == "running"


def until_heard(microphone: VirtualMicrophone, expected: str) -> None:
    end, sources = time.monotonic() + 60, set()
    while time.monotonic() < end:
        inside = pipewire_links.links(microphone.client)
        sources = {source.split(":")[0] for source, port in inside if port.startswith(f"{microphone.client}:in")}
        if sources == {expected} and microphone.source == expected:
            return
        time.sleep(0.05)
    pytest.fail(f"{sources} and {microphone.source} instead of {expected}")


def test_there_must_be_a_microphone() -> None:
    with pytest.raises(InputError, match="leave --input out"):
        VirtualMicrophone("mic", follow_default=True)
    with PulseServer():
        for line in pulse_list("modules").splitlines():
            if "remap" in line:
                pactl("unload-module", line.split()[0])
        with pytest.raises(InputError, match="no microphone"), VirtualMicrophone(follow_default=True):
            pass
