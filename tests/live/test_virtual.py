"""The virtual microphone on a private PulseAudio: listed while it lasts, heard by another program, gone afterwards."""

from __future__ import annotations

import subprocess
import time

import numpy as np
import pytest
import soundfile
from servers import PulseServer, pulse_list

from rtsep.errors import InputError
from rtsep.live.duplex import Live, LiveSettings
from rtsep.live.virtual import SOURCE, VirtualMicrophone


def test_virtual_microphone(identity_model: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    tone = tmp_path_factory.mktemp("tone") / "tone.wav"
    soundfile.write(tone, 0.4 * np.sin(2 * np.pi * 1000 / 48000 * np.arange(48000 * 20)), 48000)
    with PulseServer():
        before = pulse_list("modules")
        with VirtualMicrophone() as microphone:
            assert microphone.source == "mic" and SOURCE in pulse_list("sources")
            with pytest.raises(InputError, match="own output"):
                VirtualMicrophone(SOURCE)._real_microphone()
            settings = LiveSettings(model=identity_model, **microphone.settings())
            with Live(settings, opened=microphone.pin) as live:
                subprocess.run(["pactl", "set-default-source", SOURCE], check=True)  # nobody follows that
                player = subprocess.Popen(["paplay", "-d", "micfeed", str(tone)])
                level = heard = 0.0
                end = time.monotonic() + 15
                while time.monotonic() < end and level < 0.9 * 0.4 / np.sqrt(2):
                    command = ["parec", "-d", SOURCE, "--rate=48000", "--channels=1", "--format=float32le"]
                    recorder = subprocess.Popen(command, stdout=subprocess.PIPE)
                    assert recorder.stdout is not None
                    data = np.frombuffer(recorder.stdout.read(4 * 48000), np.float32)
                    recorder.kill()
                    recorder.wait()
                    tail = data[-16384:]
                    level = float(np.sqrt(np.mean(tail.astype(np.float64) ** 2)))
                    heard = float(np.argmax(np.abs(np.fft.rfft(tail * np.hanning(len(tail))))) * 48000 / len(tail))
                player.kill()
                player.wait()
                assert live.state == "running" and live.status()["host"] == "ALSA"
        assert pulse_list("modules") == before
    assert level == pytest.approx(0.4 / np.sqrt(2), rel=0.15)
    assert heard == pytest.approx(1000, abs=6)


def test_what_a_killed_session_left_is_removed() -> None:
    with PulseServer():
        first = VirtualMicrophone("mic")
        first.__enter__()  # and never left
        with VirtualMicrophone("mic"):
            assert pulse_list("sources").count(SOURCE) == 1
        assert SOURCE not in pulse_list("sources")
