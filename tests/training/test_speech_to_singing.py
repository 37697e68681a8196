"""Singing made of speech: the melody is a melody, and the sound has its pitch and its length."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from hypothesis import given
from hypothesis import strategies as st
from soxr import resample
from typer.testing import CliRunner

from training.data.datasets import read_dataset
from training.data.manifest import read_manifest
from training.data.song_clips import pair_songs
from training.data.tools import speech_to_singing as module
from training.data.tools.speech_to_singing import A1, SECOND, Score, compose, sung

RATE = 24000
app = typer.Typer()
app.command()(module.main)


def vowel(hertz: float, seconds: float, rate: int = RATE) -> np.ndarray:
    """A buzz with two formants."""
    time = np.arange(round(seconds * rate)) / rate
    sound = np.zeros(len(time))
    for number in range(1, int(4000 / hertz)):
        loud = sum(1 / (1 + ((number * hertz - formant) / 120) ** 2) for formant in (700, 1200))
        sound += loud * np.sin(2 * np.pi * number * hertz * time)
    return sound / np.abs(sound).max() * 0.5


@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=20),
    middle=st.floats(5, 50),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_speech_gets_a_melody(lengths: list[int], middle: float, seed: int) -> None:
    voiced = np.concatenate([np.full(length, index % 2 == 0) for index, length in enumerate(lengths)])
    score = compose(voiced, middle, np.random.default_rng(seed))
    assert len(score.place) == len(score.pitch) == len(score.voiced)
    assert score.place.min() >= 0 and score.place.max() <= len(voiced) - 1
    assert (np.diff(score.place) >= 0).all()  # nothing is sung backwards
    assert np.array_equal(score.voiced, voiced[np.rint(score.place).astype(int)])
    assert np.abs(score.pitch - middle).max() < 12 + 2  # within the reach, a note beside it, vibrato and drift
    for count in np.unique(np.rint(score.place[~score.voiced]), return_counts=True)[1]:
        assert count == 1  # consonants are not drawn out
    assert np.count_nonzero(score.voiced) >= np.count_nonzero(voiced)


def test_notes_are_those_of_a_scale() -> None:
    score = compose(np.ones(20 * SECOND, bool), 24.0, np.random.default_rng(3))
    pitch = np.rint(score.pitch[np.abs(score.pitch - np.rint(score.pitch)) < 0.2]).astype(int) % 12
    used = np.bincount(pitch, minlength=12) > 0.02 * len(pitch)
    assert 3 <= used.sum() <= 7


@pytest.mark.parametrize("semitones", [12.0, 24.0, 31.0])
def test_the_sound_has_the_pitch_and_the_length_of_the_score(semitones: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(voiced: np.ndarray, middle: float, rng: np.random.Generator) -> Score:
        place = np.linspace(0, len(voiced) - 1, 2 * len(voiced))
        return Score(place, np.full(len(place), semitones), np.ones(len(place), bool))

    monkeypatch.setattr(module, "compose", held)
    speech = vowel(130, 1.5)
    song = sung(speech, RATE, np.random.default_rng(0))
    assert song is not None and np.isfinite(song).all() and np.abs(song).max() == pytest.approx(0.5)
    assert len(song) == pytest.approx(2 * len(speech), rel=0.02)
    middle = song[len(song) // 2 - RATE // 2 :][:RATE]
    power = np.abs(np.fft.rfft(middle * np.hanning(RATE))) ** 2  # bins of 1 Hz
    wanted = A1 * 2 ** (semitones / 12)
    near = np.zeros(len(power), bool)
    for number in range(1, int(5000 / wanted)):
        near[round(number * wanted) - 4 : round(number * wanted) + 5] = True
    assert power[near].sum() > 0.95 * power[:5000].sum()


def test_no_voice_no_song() -> None:
    assert sung(np.random.default_rng(0).standard_normal(RATE) * 1e-3, RATE, np.random.default_rng(0)) is None
    assert sung(np.zeros(RATE), RATE, np.random.default_rng(0)) is None


def test_narrow_singers_get_a_treble() -> None:
    breath = 0.02 * np.random.default_rng(1).standard_normal(32000)
    narrow = resample(vowel(150, 2.0, 16000) + breath, 16000, 48000)
    for band, treble in ((np.inf, False), (7500.0, True)):
        sound = sung(narrow, 48000, np.random.default_rng(5), band)
        power = np.abs(np.fft.rfft(sound)) ** 2
        hertz = np.fft.rfftfreq(len(sound), 1 / 48000)
        above, below = (power[(hertz > low) & (hertz < low + 2000)].mean() for low in (10000, 5000))
        assert (above > 0.01 * below) == treble
        assert above < below


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for name in ("one", "held", "tested"):
        sound = np.concatenate([np.zeros(4000), vowel(150, 2.0, 16000), np.zeros(4000)])
        soundfile.write(tmp_path / f"{name}.flac", sound, 16000)
    with open(tmp_path / "manifest.csv", "w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(
            ["path", "kind", "split", "corpus", "licence", "seconds", "sample_rate", "channels", "bandwidth_hz"]
        )
        for name, split in (("one", "train"), ("held", "valid"), ("tested", "test")):
            table.writerow([f"{name}.flac", "speech", split, "us", "CC0-1.0", 2.5, 16000, 1, 8000])
    return tmp_path / "manifest.csv"


def test_a_folder_of_songs(manifest: Path, tmp_path: Path) -> None:
    made = CliRunner().invoke(app, [str(tmp_path / "out"), "--data", str(manifest), "--minutes", "0.1"])
    assert made.exit_code == 0, made.output
    rows = read_manifest(tmp_path / "out" / "manifest.csv")
    assert rows and rows == read_dataset(f"manifest={tmp_path / 'out' / 'manifest.csv'}")
    assert {row.kind for row in rows} == {"vocals"} and {row.split for row in rows} == {"train"}
    assert {row.corpus for row in rows} == {"us (sung)"} and {row.licence for row in rows} == {"CC0-1.0"}
    assert sum(row.seconds for row in rows) >= 6
    assert all(soundfile.info(row.path).samplerate == 48000 for row in rows)
    assert {row.bandwidth for row in rows} == {8000}
    songs = pair_songs(rows)
    assert len(songs) == len(rows) and all(song.vocals and not song.accompaniment for song in songs)
    with open(tmp_path / "out" / "manifest.csv") as handle:
        assert {record["source"] for record in csv.DictReader(handle)} == {"one.flac"}  # never of the test split


def test_sets_of_other_seeds_go_together(manifest: Path, tmp_path: Path) -> None:
    rows = []
    for seed in ("1", "2"):
        words = [str(tmp_path / seed), "--data", str(manifest), "--minutes", "0.1", "--seed", seed]
        assert CliRunner().invoke(app, words).exit_code == 0
        rows += read_manifest(tmp_path / seed / "manifest.csv")
    assert len(pair_songs(rows)) == len(rows)


def test_singers_sing_something_else(manifest: Path, tmp_path: Path) -> None:
    manifest.write_text(manifest.read_text().replace("speech,train", "vocals,train"))
    words = [str(tmp_path / "out"), "--data", str(manifest), "--minutes", "0.1", "--kind", "vocals"]
    made = CliRunner().invoke(app, words)
    assert made.exit_code == 0, made.output
    assert {row.split for row in read_manifest(tmp_path / "out" / "manifest.csv")} == {"train"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--corpus", "them"], "No speech of them"),
        (["--data", "nowhere.csv"], "nowhere.csv"),
        (["--kind", "vocals"], "no vocals"),
        (["--kind", "noise"], "speech or vocals, not noise"),
    ],
)
def test_one_sentence_for_what_is_wrong(manifest: Path, tmp_path: Path, words: list[str], said: str) -> None:
    asked = CliRunner().invoke(app, [str(tmp_path / "out"), "--data", str(manifest), *words])
    assert asked.exit_code == 2 and said in asked.output and not (tmp_path / "out").exists()


def test_nothing_half_written_stays(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sung", lambda *_: None)
    before = sorted(tmp_path.iterdir())
    asked = CliRunner().invoke(app, [str(tmp_path / "out"), "--data", str(manifest), "--minutes", "0.1"])
    assert asked.exit_code == 2 and "Hardly any" in asked.output and sorted(tmp_path.iterdir()) == before


def test_nothing_is_overwritten(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    asked = CliRunner().invoke(app, [str(tmp_path / "out"), "--data", str(manifest)])
    assert asked.exit_code == 2 and "exists already" in asked.output
