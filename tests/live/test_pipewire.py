"""The virtual microphone on a private PipeWire, through pipewire-jack: short, listed, heard, and gone afterwards."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import soundfile
from servers import PipeWireServer, pulse_list, sines_at
from test_jack import wait

from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.routing.virtual_microphone import SOURCE, VirtualMicrophone

pytestmark = pytest.mark.usefixtures("patient")


def test_virtual_microphone_on_pipewire(identity_model: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    tone = tmp_path_factory.mktemp("tone") / "tone.wav"
    soundfile.write(tone, np.tile(0.4 * np.sin(2 * np.pi * 1000 / 48000 * np.arange(48000)), 180), 48000)
    with PipeWireServer():
        before = pulse_list("modules")
        with VirtualMicrophone() as microphone:
            assert microphone.server == "pipewire" and microphone.source == "mic"
            assert SOURCE in pulse_list("sources")
            settings = LiveSettings(model=identity_model, slack=2, **microphone.settings())
            with LiveEngine(settings, opened=microphone.pin) as live:
                status = live.status()
                assert status["host"] == "JACK Audio Connection Kit" and status["input"] == "Real Mic"
                # The quantum that was asked for: 8 ms, as on JACK.
                assert (status["block"], status["rate"], status["added_ms"]) == (128, 48000, 8.0)
                subprocess.run(["pactl", "set-default-source", SOURCE], check=True)  # nobody follows that
                player = subprocess.Popen(["pw-play", "--target=0", tone], stderr=subprocess.DEVNULL)
                levels, heard = sines_at(SOURCE, [0.4], before=_into_the_microphone)
                player.kill()
                player.wait()
                links = subprocess.run(["pw-link", "-l"], capture_output=True, text=True).stdout
                assert live.state == "running"
        assert wait(lambda: pulse_list("modules") == before) and SOURCE not in pulse_list("sources")
    assert levels == pytest.approx([0.4], rel=0.15) and heard == pytest.approx([1000], abs=6)
    assert "rtsep:out_0" in links and "mic:capture_MONO" in links


def _into_the_microphone() -> None:
    """What plays is led into the real microphone, whether it has one channel or two."""
    for port in ("MONO", "FL"):
        subprocess.run(["pw-link", f"pw-play:output_{port}", "mic:input_MONO"], capture_output=True)
