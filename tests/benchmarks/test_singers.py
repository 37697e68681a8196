"""Songs of strangers: real packages and recordings in, songs that the karaoke benchmark reads out."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from benchmarks import singers as module
from benchmarks.songs import find_songs
from tests.training.test_debian import make_package
from tests.training.test_speech_to_singing import vowel
from training.data.manifest import COLUMNS, Row, read_manifest

app = typer.Typer()
app.command()(module.main)
pytestmark = pytest.mark.skipif(not (shutil.which("dpkg-deb") and shutil.which("ffmpeg")), reason="needs dpkg, ffmpeg")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SPEAKERS": 2, "SPOKEN_S": 2.0, "BEFORE_S": 2.0, "SONG_S": 6.0}.items():
        monkeypatch.setattr(module, name, value)


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pieces = {f"music/{name}.wav": (9.0, 24000) for name in "abcd"}
    return make_package(tmp_path_factory.mktemp("deb"), module.PACKAGE, pieces)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Of each split a wide speaker, a narrow one in two recordings, and one who hardly says a thing."""
    rows = []
    for split in ("train", "valid", "test"):
        for speaker, rate, lengths in (
            ("narrow", 16000, (1.5, 1.5)),
            ("wide", 48000, (3.0,)),
            ("brief", 48000, (1.0,)),
        ):
            for number, seconds in enumerate(lengths):
                path = tmp_path / f"{split}-{speaker}-{number}.flac"
                soundfile.write(path, vowel(140 + 10 * number, seconds, rate), rate)
                facts = (f"{split}-{speaker}", "corpus", seconds, rate, 1, "", "CC0-1.0", "", "")
                rows.append([path.name, "speech", split, *facts])
    file = tmp_path / "manifest.csv"
    with open(file, "w", newline="") as handle:
        csv.writer(handle).writerows([COLUMNS.split(","), *rows])
    return file


def call(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*map(str, words)])
    return done.exit_code, done.output


@pytest.mark.parametrize("split", ["valid", "test"])
def test_songs_of_strangers(manifest: Path, deb: Path, tmp_path: Path, split: str) -> None:
    out = tmp_path / "out"
    code, said = call(out, "--data", manifest, "--split", split, "--deb", deb)
    assert code == 0, said
    songs = find_songs(out / "manifest.csv", split)
    assert [song.name for song in songs] == [
        f"{split}-{speaker}-{where}" for speaker in ("narrow", "wide") for where in ("middle", "wide")
    ]
    assert {row.licence for row in read_manifest(out / "manifest.csv")} == {"CC0-1.0", module.LICENCE}
    for song in songs:
        assert song.rate == 48000 and len(song.vocals) == 6 * 48000
        before, after = song.vocals[: 2 * 48000], song.vocals[2 * 48000 :]
        assert not before.any() and np.abs(song.mixture).max() <= 0.51
        sung = after[: np.flatnonzero(np.abs(after).sum(1))[-1]]
        music = song.accompaniment[2 * 48000 :][: len(sung)]
        level = 10 * np.log10(np.square(sung).mean() / np.square(music).mean())
        assert level == pytest.approx(-module.BELOW_DB, abs=0.3)
        middle, side = sung.sum(1), sung[:, 0] - sung[:, 1]
        assert (np.square(side).sum() > 0.05 * np.square(middle).sum()) == song.name.endswith("wide")


def test_the_splits_share_no_music(manifest: Path, deb: Path, tmp_path: Path) -> None:
    notes = []
    for split in ("valid", "test"):
        assert call(tmp_path / split, "--data", manifest, "--split", split, "--deb", deb)[0] == 0
        with open(tmp_path / split / "manifest.csv", newline="") as handle:
            notes.append({row["note"] for row in csv.DictReader(handle) if row["kind"] == "accompaniment"})
    assert len(notes[0]) == len(notes[1]) == 2 and not notes[0] & notes[1]


def test_the_same_seed_makes_the_same_songs(manifest: Path, deb: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        assert call(tmp_path / name, "--data", manifest, "--deb", deb, "--seed", seed)[0] == 0
    one, again, other = (find_songs(tmp_path / name / "manifest.csv")[1].vocals for name in ("one", "again", "other"))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_refusals(manifest: Path, deb: Path, tmp_path: Path) -> None:
    out, few = tmp_path / "out", make_package(tmp_path, "few", {"music/a.wav": (9.0, 24000)})
    brief = make_package(tmp_path, "brief", {f"music/{name}.wav": (5.0, 24000) for name in "abcd"})
    for words, reason in (
        ((out, "--data", manifest, "--split", "train"), "not of train"),
        ((out, "--data", manifest, "--deb", few), "1 pieces of music, and 4 are needed"),
        ((out, "--data", manifest, "--deb", brief), "is shorter than 6 s"),
        ((out, "--data", manifest, "--deb", manifest), "dpkg-deb failed"),
        ((out, "--data", tmp_path / "none.csv"), "none.csv"),
        ((tmp_path, "--data", manifest, "--deb", deb), "exists already"),
    ):
        code, said = call(*words)
        assert code == 2 and reason in said and len(said.strip().splitlines()) == 1, said
        assert not out.exists()


def test_damaged_recordings_and_silent_music(manifest: Path, deb: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    for name in "abcd":
        path = silent / module.PACKAGE / f"music/{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros((9 * 24000, 2)), 24000)
    (silent / module.PACKAGE / "DEBIAN").mkdir()
    shutil.copy(deb.parent / module.PACKAGE / "DEBIAN/control", silent / module.PACKAGE / "DEBIAN/control")
    nothing = tmp_path / "silent.deb"
    subprocess.run(["dpkg-deb", "-Znone", "-b", silent / module.PACKAGE, nothing], check=True, capture_output=True)
    code, said = call(tmp_path / "out", "--data", manifest, "--deb", nothing)
    assert code == 2 and "wav is silent" in said and not (tmp_path / "out").exists()
    (tmp_path / "test-wide-0.flac").write_bytes(b"no sound")
    code, said = call(tmp_path / "out", "--data", manifest, "--deb", deb)
    assert code == 2 and "is missing or damaged" in said and not (tmp_path / "out").exists()


def test_who_sings() -> None:
    """All with treble, then evenly of the rest; speakers of one name in two corpora are two."""
    narrow = [(f"n{number}", "a", 8000) for number in range(5)]
    people = [*narrow, ("w", "a", 20000), ("w", "b", 20000), ("half", "a", 20000), ("half", "a", 8000)]
    rows = [
        Row(Path(f"{number}"), "speech", "test", corpus, "l", 3.0, 48000, 1, band, speaker=name)
        for number, (name, corpus, band) in enumerate(people)
    ]
    chosen = [(each[0].speaker, each[0].corpus) for each in module.speakers(rows, "test", 5)]
    assert chosen == [("w", "a"), ("w", "b"), ("half", "a"), ("n1", "a"), ("n4", "a")]


def test_too_few_speakers(manifest: Path, deb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPEAKERS", 3)
    code, said = call(tmp_path / "out", "--data", manifest, "--deb", deb)
    assert code == 2 and "2 speakers of the split test" in said
