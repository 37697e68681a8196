"""What other programs play, on a private PulseAudio: the sink while it lasts, the model at work, and refusals."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from graphs import Network
from servers import PulseServer, delay_of, jack_server, probe, pulse_list, sines_at

from rtsep.errors import InputError
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.routing.capture import CAPTURE_SINK, Capture

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture(scope="module")
def half_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Stereo; all of the song is accompaniment, none of it vocals."""
    sizes = {"hop": 128, "analysis_window": 512, "synthesis_window": 256, "channels": 2, "identity": True}
    path = tmp_path_factory.mktemp("capture") / "stereo.onnx"
    return str(Network(**sizes, sources=("accompaniment", "vocals")).save(path))  # type: ignore[arg-type]


def test_another_program_is_heard_through_the_sink_made_for_it(half_model: str, tmp_path: Path) -> None:
    tone = tmp_path / "tone.wav"
    time_axis = np.arange(48000) / 48000
    left, right = 0.4 * np.sin(2 * np.pi * 1000 * time_axis), 0.2 * np.sin(2 * np.pi * 1500 * time_axis)
    soundfile.write(tone, np.tile(np.stack([left, right], 1), (180, 1)), 48000)
    with PulseServer():
        before = pulse_list("modules")
        with Capture(virtual_sink=True) as capture:
            assert CAPTURE_SINK in pulse_list("sinks") and capture.output == "speakers"
            settings = LiveSettings(model=half_model, channels=2, **capture.settings())
            with LiveEngine(settings, opened=capture.pin) as live:
                subprocess.run(["pactl", "set-default-sink", CAPTURE_SINK], check=True)  # as people do
                player = subprocess.Popen(["paplay", "-d", CAPTURE_SINK, str(tone)])
                levels, heard = sines_at("speakers.monitor", [0.4, 0.2])
                player.kill()
                player.wait()
                assert live.state == "running" and live.block.channels == 2
        assert pulse_list("modules") == before
    assert levels == pytest.approx([0.4, 0.2], rel=0.15) and heard == pytest.approx([1000, 1500], abs=6)


def test_what_is_listened_to_is_found_by_name_and_never_fed_back() -> None:
    with PulseServer():
        with Capture("micfeed") as capture:
            assert capture.heard == "micfeed.monitor" and dict(capture.settings()["environment"]) == {
                "PULSE_SOURCE": "micfeed.monitor",
                "PULSE_SINK": "speakers",
            }
        with Capture("Remapped") as capture:  # by what people read
            assert capture.heard == "mic"
        with pytest.raises(InputError, match="played there again"):
            Capture().__enter__()
        with pytest.raises(InputError, match="fits 0 sources"):
            Capture("nothing like this").__enter__()
        with pytest.raises(InputError, match="fits 0 sinks"):
            Capture("micfeed", "nothing like this").__enter__()
        assert CAPTURE_SINK not in pulse_list("sinks")


def test_a_cable_is_heard_in_stereo_within_20_ms(half_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right in, right out, bit for bit, through JACK, where no PulseAudio answers."""
    monkeypatch.setenv("PULSE_SERVER", "unix:/nowhere")
    sound = (0.1 * np.random.default_rng(0).standard_normal(24000)).astype(np.float32)
    with jack_server(128), Capture("system", "system") as capture:
        assert capture.settings() == {"input": "system", "output": "system"}
        settings = LiveSettings(model=half_model, channels=2, strength=0.0, slack=2, **capture.settings())
        with LiveEngine(settings) as live:
            for _ in range(5):  # a machine that is too busy may lose blocks
                recording, _ = probe(sound, "rtsep:in_1", "rtsep:out_1")
                delay = delay_of(sound, recording)
                same = float(np.mean(recording[delay:] == sound[: len(sound) - delay]))
                if same > 0.5:
                    break
            assert same > 0.5 and delay == live.added_samples + 128 and 1000 * delay / 48000 < 20
            left, _ = probe(sound, "rtsep:in_1", "rtsep:out_0")
            assert not left.any()
