"""The virtual microphone on a private PulseAudio: listed while it lasts, heard by another program, gone afterwards."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest
import soundfile
from servers import PulseServer, pulse_list, sines_at

from rtsep.errors import InputError
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.routing.virtual_microphone import INPUT, SOURCE, VirtualMicrophone

pytestmark = pytest.mark.usefixtures("patient")


def test_virtual_microphone(identity_model: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    tone = tmp_path_factory.mktemp("tone") / "tone.wav"
    soundfile.write(tone, np.tile(0.4 * np.sin(2 * np.pi * 1000 / 48000 * np.arange(48000)), 180), 48000)
    with PulseServer():
        before = pulse_list("modules")
        with VirtualMicrophone() as microphone:
            assert microphone.source == "mic" and SOURCE in pulse_list("sources")
            with pytest.raises(InputError, match="own output"):
                VirtualMicrophone(SOURCE)._real_microphone()
            settings = LiveSettings(model=identity_model, **microphone.settings())
            with LiveEngine(settings, opened=microphone.pin) as live:
                subprocess.run(["pactl", "set-default-source", SOURCE], check=True)  # nobody follows that
                player = subprocess.Popen(["paplay", "-d", "micfeed", str(tone)])
                levels, heard = sines_at(SOURCE, [0.4])
                player.kill()
                player.wait()
                status = live.status()
                assert live.state == "running" and status["host"] == "ALSA"
                assert status["output"] == microphone.description and status["input"].startswith("Remapped Monitor")
        assert pulse_list("modules") == before
    assert levels == pytest.approx([0.4], rel=0.15) and heard == pytest.approx([1000], abs=6)


def test_the_stream_stays_when_the_default_changes(identity_model: str) -> None:
    """By itself, not only because it is moved back: with nobody left to do that."""
    with PulseServer(), VirtualMicrophone() as microphone:
        settings = LiveSettings(model=identity_model, **microphone.settings())
        with LiveEngine(settings, opened=microphone.pin) as live:
            assert microphone._subscription is not None
            microphone._over.set()
            microphone._subscription.kill()
            microphone._subscription.wait()
            assert place_of(live) == INPUT
            for default in (SOURCE, "micfeed.monitor", "mic", SOURCE):
                subprocess.run(["pactl", "set-default-source", default], check=True)
                assert place_of(live) == INPUT
            assert live.state == "running"


def place_of(live: LiveEngine) -> str:
    """Name of the source that the audio process records."""
    names = dict(line.split("\t")[:2] for line in pulse_list("sources").splitlines())
    listing = subprocess.run(["pactl", "list", "source-outputs"], capture_output=True, text=True, check=True).stdout
    ours = [text for text in listing.split("Source Output #") if f'process.id = "{live.processes["audio"]}"' in text]
    assert len(ours) == 1
    found = re.search(r"Source: (\d+)", ours[0])
    assert found is not None
    return names[found[1]]
