"""The test set of karaoke from its recipe: a real repository and a real package in, songs for the benchmark out."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
import yaml
from typer.testing import CliRunner

from benchmarks import passages as module
from benchmarks.songs import find_songs
from tests.training.test_collect import make_repository
from tests.training.test_debian import make_package
from training.data.public_sources import CATALOGUE, read_catalogue
from training.evaluation.song_metrics import passages as voiced_and_free

app = typer.Typer()
app.command()(module.main)
needed = pytest.mark.skipif(not (shutil.which("dpkg-deb") and shutil.which("git")), reason="needs dpkg, git")
RATE = 16000


@pytest.fixture
def repos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two singers in a repository, two pieces in a package, and a recipe for both; passages of 8 s."""
    lengths = {"PASSAGES": 4, "PASSAGE_S": 8.0, "BEFORE_S": 2.0, "SUNG_S": 4.0, "ROOM_S": 0.3}
    for name, value in lengths.items():
        monkeypatch.setattr(module, name, value)
    time = np.arange(2 * RATE) / RATE
    tones = {
        f"{who}/{n}.wav": 0.1 * np.sin(2 * np.pi * f * n * time)
        for who, f in (("ann", 150), ("bob", 90))
        for n in (1, 2)
    }
    folder = tmp_path / "repos"
    folder.mkdir()
    commit = make_repository(folder / "choir", {name: tone.astype(np.float32) for name, tone in tones.items()})
    make_package(folder, "tunes", {"usr/music/a.wav": (30.0, 24000), "usr/music/b.wav": (9.0, 24000)})
    facts = {"licence": "CC0", "stated": "here"}
    parts = [{"kind": "vocals", "files": f"{who}/*.wav", "speaker": who} for who in ("ann", "bob")]
    recipe = [
        {"name": "choir", "git": "choir", "commit": commit, **facts, "parts": parts},
        {
            "name": "tunes",
            "debian": "tunes",
            "version": "1",
            **facts,
            "parts": [{"kind": "instrumental", "files": "*/music/*.wav"}],
        },
    ]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"sources": recipe}))
    monkeypatch.setattr(module, "RECIPE", tmp_path / "recipe.yaml")
    return folder


def call(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


def monitored_level(sound: np.ndarray) -> float:
    return 20 * np.log10(module.level(sound.ravel()))


@needed
def test_people_sing_over_music_at_levels_spread_evenly(repos: Path, tmp_path: Path) -> None:
    code, said = call(tmp_path / "out", "--repos", repos)
    assert code == 0 and said.split() == ["ann-01", "bob-01", "ann-02", "bob-02"], said
    songs = find_songs(tmp_path / "out" / "manifest.csv", "test")
    assert [song.name for song in songs] == ["ann-01", "ann-02", "bob-01", "bob-02"]
    below = []
    for song in songs:
        assert (song.rate, len(song.vocals)) == (48000, 8 * 48000)
        voiced, free = voiced_and_free(song.vocals, song.rate)
        assert free[:15].all() and not voiced[:20].any() and voiced[20:].mean() > 0.4
        during = slice(2 * 48000, 6 * 48000)
        below.append(monitored_level(song.accompaniment[during]) - monitored_level(song.vocals))
        middle, side = song.vocals.sum(1), song.vocals[:, 0] - song.vocals[:, 1]
        assert 0 < np.square(side).sum() < 0.1 * np.square(middle).sum()
        assert np.abs(song.mixture).max() <= module.PEAK + 1e-3
    assert sorted(below) == pytest.approx([0, 8 / 3, 16 / 3, 8], abs=0.5)
    # Nothing stands twice: pieces go on where they were, voices begin elsewhere.
    firsts = {song.accompaniment[:4800].tobytes() for song in songs} | {
        song.vocals[96000:100800].tobytes() for song in songs
    }
    assert len(firsts) == 8


@needed
def test_the_same_seed_makes_the_same_passages(repos: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        assert call(tmp_path / name, "--repos", repos, "--seed", seed)[0] == 0
    one, two, three = (soundfile.read(tmp_path / name / "bob-02-vocals.flac")[0] for name in ("one", "two", "three"))
    assert np.array_equal(one, two) and not np.array_equal(one, three)


@needed
def test_what_cannot_be_had_is_one_sentence_and_leaves_nothing(
    repos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(module, "PASSAGES", 6)
    code, said = call(out, "--repos", repos)
    assert code == 2 and "There is music for" in said and not out.exists()
    recipe = yaml.safe_load(module.RECIPE.read_text())
    recipe["sources"][0]["parts"][0]["files"] = "carl/*.wav"
    module.RECIPE.write_text(yaml.safe_dump(recipe))
    code, said = call(out, "--repos", repos)
    assert (code, said) == (2, "choir has no carl/*.wav.\n") and not out.exists()


def test_the_recipe_is_a_catalogue_of_what_no_training_collects() -> None:
    """The committed one: no source of music is in the catalogue of training, and the singers are held back there."""
    recipe, training = read_catalogue(module.RECIPE), read_catalogue(CATALOGUE)
    collected = {
        source.git or source.debian
        for source in training.sources
        if source.git != "MTG/turkish-makam-acapella-sections-dataset"
    }
    for source in recipe.sources:
        assert (source.git or source.debian) not in collected
    makam, pop = recipe.sources[:2]
    assert training.holds_back(makam, "guelen/01_Aksam_0_zemin.wav")
    assert training.holds_back(pop, "etv_am_136_adlib/x.wav")
