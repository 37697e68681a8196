"""`rtsep separate` and `rtsep.separate`: a file, or an array, for every source."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

import rtsep as api
from rtsep.engine.separate import MOST, Separation, something_left
from tests.program import assert_one_sentence, names, rtsep, write
from tests.recordings import noisy
from tests.training.tiny import SMALL
from training.checkpoints import named_weights
from training.export import export
from training.network import Network, NetworkSpec

pytestmark = pytest.mark.training  # its models are made by it


def model(folder: Path, spec: NetworkSpec, halve: bool = False) -> Path:
    """A model of random weights, or one whose first source is half of the sound in every bin, and the second too."""
    torch.manual_seed(0)
    network = Network(spec).requires_grad_(False)
    if halve:
        network.head.project.weight.zero_()
        network.head.project.bias.zero_()
    else:
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    text = yaml.safe_dump({"name": "toy", "target": spec.sources[0], "network": spec.to_dict()})
    state = {"average": named_weights(network), "recipe": text, "hours": 1.0, "step": 1, "trained_on": "nothing"}
    torch.save(state, folder / "checkpoint.pt")
    return export(folder / "checkpoint.pt", folder / "toy.onnx")[0]


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for models, beside the one to work in."""
    return tmp_path_factory.mktemp("store")


FILM = replace(SMALL, filterbank="folded", condition="film", classes=["dog_bark", "rain"], sources=["event", "rest"])
SIDE = replace(SMALL, filterbank="folded", condition="attention", side_frames=6, side_width=2)
HALF = replace(SMALL, filterbank="folded", sources=["one", "rest"])


def test_a_file_for_every_source(here: Path) -> None:
    before = write("talk.wav", 1.0, 44100).read_bytes()
    Path("out").mkdir()
    result = rtsep("separate", "talk.wav", "-o", "out", "--model", "denoise")
    assert result.exit_code == 0, result.stderr
    assert names(Path("out")) == ["talk.noise.wav", "talk.speech.wav"] and Path("talk.wav").read_bytes() == before
    sound, rate = soundfile.read("talk.wav", dtype="float32")
    found = api.separate(sound, rate)
    for name in ("speech", "noise"):
        written = soundfile.read(f"out/talk.{name}.wav", dtype="float32")[0]
        assert written.shape == sound.shape and np.abs(written - found[name]).max() < 1 / 16384
    assert np.abs(found["speech"] - api.enhance(sound, rate)).max() < 1e-6
    again = rtsep("separate", "talk.wav", "-o", "out", "--model", "denoise")
    assert again.exit_code == 2 and "talk.speech.wav" in again.stderr
    assert rtsep("separate", "talk.wav", "-o", "out", "--model", "denoise", "--overwrite", "--json").exit_code == 0


def test_a_class_is_asked_for(here: Path, store: Path) -> None:
    file = model(store, FILM)
    write("street.wav")
    assert rtsep("separate", "street.wav", "--model", file, "--class", "dog", "--quiet").exit_code == 0
    dog = soundfile.read("street.event.wav")[0]
    result = rtsep("separate", "street.wav", "--model", file, "--class", "rain", "--overwrite", "--json")
    assert json.loads(result.stdout)[0]["outputs"] == {"event": "street.event.wav", "rest": "street.rest.wav"}
    assert np.abs(soundfile.read("street.event.wav")[0] - dog).max() > 1e-3
    assert_one_sentence(rtsep("separate", "street.wav", "--model", file), "--class", "dog_bark, rain")
    assert_one_sentence(rtsep("separate", "street.wav", "--model", file, "--class", "cat", "--overwrite"), "no class")
    assert_one_sentence(rtsep("separate", "street.wav", "--model", "denoise", "--class", "dog"), "takes no condition")


def test_a_side_sequence_is_given(here: Path, store: Path) -> None:
    file = model(store, SIDE)
    write("song.wav")
    Path("side.csv").write_text("1,0\n0,1\n0.5,0.5\n")
    np.save("side.npy", np.array([[1, 0], [0, 1], [0.5, 0.5]], np.float32))
    made = []
    for side in ("side.csv", "side.npy"):
        assert rtsep("separate", "song.wav", "--model", file, "--side", side, "--overwrite").exit_code == 0
        made.append(soundfile.read("song.speech.wav")[0])
    assert np.array_equal(*made)
    assert rtsep("separate", "song.wav", "--model", file, "--overwrite").exit_code == 0
    assert np.abs(soundfile.read("song.speech.wav")[0] - made[0]).max() > 1e-4
    Path("words.csv").write_text("yes,no\n")
    assert_one_sentence(rtsep("separate", "song.wav", "--model", file, "--side", "words.csv"), "holds no numbers")
    Path("wide.csv").write_text("1,2,3\n")
    said = rtsep("separate", "song.wav", "--model", file, "--side", "wide.csv", "--overwrite")
    assert_one_sentence(said, "12 finite numbers")
    assert_one_sentence(rtsep("separate", "song.wav", "--model", file, "--side", "none.csv"), "There is no file")


def test_one_and_the_rest_until_nothing_is_left(here: Path, store: Path) -> None:
    """Half is taken out each time, 6 dB: after five passes the rest lies 30 dB below, and no sixth is made."""
    file = model(store, HALF, halve=True)
    sound = noisy(48000, 1, 0.5)[:, 0].astype(np.float32)
    soundfile.write("talk.wav", sound, 48000, subtype="FLOAT")
    found = api.separate(sound, 48000, file)
    assert list(found) == [f"source-{number}" for number in range(1, 6)]
    for number, made in enumerate(found.values(), 1):
        assert np.abs(made - sound / 2**number).max() < 1e-3
    assert rtsep("separate", "talk.wav", "--model", file).exit_code == 0
    assert names(here) == [*(f"talk.source-{number}.wav" for number in range(1, 6)), "talk.wav"]
    for name, made in found.items():
        assert np.abs(soundfile.read(f"talk.{name}.wav", dtype="float32")[0] - made).max() < 1e-6


def test_activity_tells_when_to_stop(store: Path) -> None:
    """With an activity head the energy does not matter: 0.02 of the hops must hold something."""
    file = model(store, replace(HALF, activity=True), halve=True)
    run = Separation(api.load(file), 48000)
    run.process(noisy(48000, 1, 0.5).astype(np.float32))
    run.flush()
    assert run.active is not None and run.active.shape == (2,)
    for share, expected in ((0.5, True), (0.03, True), (0.01, False)):
        run._active[1] = share * run._hops
        assert something_left(run, 1e9) is expected
    run.made[1] = 0
    run._active[1] = run._hops
    assert not something_left(run, 1e-9) and MOST > 3


def test_nothing_is_left_of_a_failure(here: Path) -> None:
    assert_one_sentence(rtsep("separate", "none.wav", "--model", "denoise"), "none.wav")
    write("talk.wav")
    assert_one_sentence(rtsep("separate", "talk.wav", "-o", "nowhere"), "nowhere does not exist")
    Path("talk.noise.wav").write_text("mine")
    assert_one_sentence(rtsep("separate", "talk.wav", "--model", "denoise"), "talk.noise.wav")
    assert names(here) == ["talk.noise.wav", "talk.wav"] and Path("talk.noise.wav").read_text() == "mine"
    assert "FILE..." in rtsep("separate").stdout
