"""One list of names for every command, channels of the input, and children that run nothing of the current folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from servers import PulseServer, jack_server, probe
from test_ends import ended, start, until_running
from test_jack import wait

from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.routing.virtual_microphone import VirtualMicrophone

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture(scope="module")
def pulse() -> Iterator[PulseServer]:
    with PulseServer() as server:
        yield server


def listed() -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "rtsep", "devices", "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)


def test_the_servers_devices_are_listed_and_taken(random_model: str, pulse: PulseServer, tmp_path: Path) -> None:
    found = {(device["name"], device["host"]): device for device in listed()}
    assert found["mic", "PulseAudio"]["inputs"] == 1 and found["mic", "PulseAudio"]["default_input"]
    assert found["speakers", "PulseAudio"]["outputs"] == 2 and found["pulse", "ALSA"]["inputs"] > 0
    common = ("--model", random_model, "--json", "--seconds", "60")
    process = start("denoise", "--live", "--input", "mic", "--output", "speakers", *common)
    status = until_running(process)
    assert (status["input"], status["output"], status["host"]) == ("mic", "speakers", "PulseAudio")
    sources = subprocess.run(["pactl", "list", "short", "sources"], capture_output=True, text=True).stdout
    number = next(line.split("\t")[0] for line in sources.splitlines() if line.split("\t")[1] == "mic")

    def recorded() -> str:
        return subprocess.run(["pactl", "list", "source-outputs"], capture_output=True, text=True).stdout

    assert wait(lambda: f"Source: {number}\n" in recorded()), recorded()
    process.terminate()
    assert ended(process) == 0
    soundfile.write(tmp_path / "song.wav", 0.1 * np.random.default_rng(0).standard_normal((48000 * 60, 2)), 48000)
    process = start("karaoke", str(tmp_path / "song.wav"), "--model", "mid-side", "--output", "speakers", "--json")
    status = until_running(process)
    assert status["output"] == "speakers" and status["block"] >= 1024
    process.terminate()
    assert ended(process) == 0


@pytest.mark.parametrize("ends", [{"input": "mic"}, {"output": "speakers"}, {}], ids=str)
def test_the_default_is_the_servers_and_shares_its_clock(
    random_model: str, pulse: PulseServer, ends: dict[str, str]
) -> None:
    with LiveEngine(LiveSettings(model=random_model, **ends)) as engine:
        assert (engine.device["input"], engine.device["output"]) == ("mic", "speakers")
        assert not engine.device["separate_clocks"] and engine.status()["clocks"] is None
        assert wait(lambda: engine.status()["callbacks"] > 20)


def test_a_virtual_microphone_takes_a_device_that_is_not_the_servers(random_model: str, pulse: PulseServer) -> None:
    with VirtualMicrophone("pulse") as microphone:
        settings = LiveSettings(model=random_model, **microphone.settings())
        with LiveEngine(settings, opened=microphone.pin) as engine:
            assert engine.device["input"] == "pulse" and engine.device["output"] == microphone.sink
            assert wait(lambda: engine.status()["callbacks"] > 20)


def test_the_right_channel_alone(identity_model: str) -> None:
    sound = (0.1 * np.random.default_rng(0).standard_normal(24000)).astype(np.float32)
    settings = LiveSettings(model=identity_model, input_channels="right", ring=1 << 20)
    with jack_server(128), LiveEngine(settings) as engine:
        assert engine.device["channels"][0] == 2
        heard: list[float] = []
        for port in ("rtsep:in_0", "rtsep:in_1"):
            begin = engine.block.state.position
            probe(sound, port, "-")
            end = engine.block.state.position
            heard.append(float(np.abs(engine.block.samples_before(engine.block.heard, end, end - begin)).max()))
    assert heard[0] == 0.0 and heard[1] == pytest.approx(float(np.abs(sound).max()))


def test_children_run_nothing_of_the_current_folder(
    random_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where PYTHONPATH names it: a module of ours or of Python's is never taken from there."""
    for name in ("json", "numpy", "rtsep", "sounddevice"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with jack_server(128), LiveEngine(LiveSettings(model=random_model, slack=2)) as engine:
        assert wait(lambda: engine.status()["callbacks"] > 20 and engine.status()["runs"] > 5)
    assert not (tmp_path / "was run").exists()
