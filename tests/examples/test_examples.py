"""Every program in examples/ does what it says, on real recordings."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

import rtsep
from tests.recordings import CLEAN, NOISY, noisy

HOME = Path(__file__).parents[2]
EXAMPLES = sorted((HOME / "examples").glob("*.py"))


def run(name: str, *arguments: object) -> str:
    """What the program prints, in a process of its own."""
    command = [sys.executable, str(HOME / "examples" / name), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=True).stdout


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(name).stem, HOME / "examples" / name)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_example_has_a_test_and_a_line_in_the_table() -> None:
    here = Path(__file__).read_text("utf-8")
    table = (HOME / "examples" / "README.md").read_text("utf-8")
    assert len(EXAMPLES) == 8
    for file in EXAMPLES:
        assert f'"{file.name}"' in here and f"`{file.name}" in table
        assert len(file.read_text("utf-8").splitlines()) <= 60, f"{file.name} is no short program"


def test_clean_file(tmp_path: Path) -> None:
    out = tmp_path / "clean.flac"
    assert "11.0 s" in run("clean_file.py", NOISY, out)
    before, rate = soundfile.read(NOISY, dtype="float32")
    after, same_rate = soundfile.read(out, dtype="float32")
    clean = soundfile.read(CLEAN, dtype="float32")[0]
    assert same_rate == rate and after.shape == before.shape and soundfile.info(out).subtype == "PCM_16"
    assert np.square(after - clean).mean() < np.square(before - clean).mean() / 2


def test_clean_file_says_what_is_wrong(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "slow.wav", np.zeros(4000, np.float32), 4000)
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run("clean_file.py", tmp_path / "slow.wav", tmp_path / "out.wav")
    assert failed.value.stderr.count("\n") == 1 and "8000" in failed.value.stderr
    assert not (tmp_path / "out.wav").exists()


def test_callback_stream() -> None:
    """Called as PortAudio calls it, with blocks of two hops: the result of a stream that was given all at once."""
    sound, size = noisy(48000, 1, 1.0)[: 48000 // 256 * 256], 256
    model = rtsep.load("denoise-small")
    callback = load("callback_stream.py").cleaner(model.stream(block_multiple=model.spec.hop))
    played = np.full((len(sound), 2), np.nan, np.float32)
    for at in range(0, len(sound), size):
        callback(sound[at : at + size], played[at : at + size], size, None, None)
    expected = model.stream(block_multiple=model.spec.hop).process(sound[:, 0])
    assert np.array_equal(played[:, 0], expected) and np.array_equal(played[:, 1], expected)


def test_numpy_chunks() -> None:
    assert "the same 48000 samples" in run("numpy_chunks.py")
    sound = noisy(48000, 1, 1.0)[:, 0]
    model = rtsep.load("denoise")
    aligned = np.concatenate(list(load("numpy_chunks.py").cleaned(np.split(sound, [1, 100, 30000]), model.stream())))
    assert np.array_equal(aligned, rtsep.enhance(sound, 48000, model))


def test_custom_model(tmp_path: Path, tiny_path: Path) -> None:
    recording = tmp_path / "talk.wav"
    soundfile.write(recording, noisy(48000, 1, 1.0)[:, 0], 48000, subtype="FLOAT")
    assert "speech of speech, noise" in run("custom_model.py", tiny_path, recording)
    parts = {name: soundfile.read(tmp_path / f"talk.{name}.wav", dtype="float32")[0] for name in ("speech", "noise")}
    assert all(len(part) == 48000 and np.abs(part).max() > 0 for part in parts.values())
    target = rtsep.enhance(soundfile.read(recording, dtype="float32")[0], 48000, rtsep.load(tiny_path))
    assert np.abs(parts["speech"] - target).max() < 1e-4  # 16 bits in the file


def test_karaoke_mix(tmp_path: Path) -> None:
    song = noisy(44100, 2, 2.0)
    soundfile.write(tmp_path / "song.wav", song, 44100, subtype="FLOAT")
    run("karaoke_mix.py", tmp_path / "song.wav", tmp_path / "out.wav")
    mixed, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    accompaniment = rtsep.enhance(song, 44100, "karaoke")
    assert rate == 44100 and mixed.shape == song.shape
    assert np.allclose(mixed, accompaniment + 10**-0.6 * (song - accompaniment), atol=1e-6)


def test_livekit_agent() -> None:
    """The default microphone's place is taken by a track of noise; without one it says so."""
    rtc = pytest.importorskip("livekit.rtc")
    program = load("livekit_agent.py")

    async def run() -> list[float]:
        source = rtc.AudioSource(48000, 1)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        listening = asyncio.create_task(program.listen(track, 30))
        frame = rtc.AudioFrame((8000 * np.ones(480)).astype(np.int16).tobytes(), 48000, 1, 480)
        while not listening.done():
            await source.capture_frame(frame)
        return await listening

    assert len(asyncio.run(asyncio.wait_for(run(), 60))) == 30
    _say_that_there_is_no_microphone("livekit_agent.py")


def test_websocket_client(tmp_path: Path) -> None:
    """Through the program itself, on a port of its own; a file is longer than what may come at once."""
    pytest.importorskip("aiohttp")
    command = [sys.executable, "-m", "rtsep", "serve", "--model", "denoise-small", "--port", "0", "--max-speed", "1000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=HOME) as server:
        assert server.stderr is not None
        lines = iter(server.stderr.readline, "")  # the first may say that code is compiled
        address = next(word for line in lines for word in line.split() if word.startswith("ws://"))
        assert "11.0 s" in run("websocket_client.py", address, NOISY, tmp_path / "clean.wav")
        server.terminate()
        assert server.wait(30) == 0
    sound, rate = soundfile.read(NOISY, dtype="float32")
    model = rtsep.load("denoise-small", backend="compiled")
    stream = model.stream(rate)
    expected = np.concatenate([stream.process(sound), stream.flush()])[stream.latency :]
    made = soundfile.read(tmp_path / "clean.wav", dtype="float32")[0]
    assert len(made) == len(sound) and np.abs(made - np.clip(expected, -1, 1)).max() < 1e-4  # 16 bits in the file


def test_pipecat_agent() -> None:
    """Everything but the microphone, which is not there; the filter itself is tested in tests/integrations."""
    pytest.importorskip("pipecat")
    program = load("pipecat_agent.py")
    assert issubclass(program.Microphone, program.BaseInputTransport)
    _say_that_there_is_no_microphone("pipecat_agent.py")


def _say_that_there_is_no_microphone(name: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run(name)
    assert "The microphone cannot be opened" in failed.value.stderr and "Traceback" not in failed.value.stderr
