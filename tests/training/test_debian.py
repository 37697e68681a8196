"""Music out of Debian packages: real packages, made here."""

from __future__ import annotations

import csv
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from training.data.datasets import read_dataset
from training.data.song_clips import decode_stereo, pair_songs
from training.data.tools import debian as module

app = typer.Typer()
app.command()(module.main)
pytestmark = pytest.mark.skipif(not (shutil.which("dpkg-deb") and shutil.which("ffmpeg")), reason="needs dpkg, ffmpeg")


def noise(seconds: float, rate: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, (round(seconds * rate), 2)).astype(np.float32)


def make_package(folder: Path, name: str, files: dict[str, tuple[float, int]], archive: str | None = None) -> Path:
    """A .deb with noise in place of music: path → seconds and rate; `archive` puts all into one .pk3."""
    root = folder / name
    for index, (place, (seconds, rate)) in enumerate(files.items()):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / place, noise(seconds, rate, index), rate)
    if archive:
        with zipfile.ZipFile(root / archive, "w") as parts:
            for place in files:
                parts.write(root / place, place)
                (root / place).unlink()
    (root / "DEBIAN").mkdir(parents=True)
    facts = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: none <none@localhost>\nDescription: music\n"
    (root / "DEBIAN/control").write_text(facts)
    made = folder / f"{name}_1_all.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "-b", root, made], check=True, capture_output=True)
    return made


@pytest.fixture
def debs(tmp_path: Path) -> Path:
    folder = tmp_path / "debs"
    folder.mkdir()
    make_package(
        folder,
        "asc-music",
        {"usr/music/long.wav": (60.0, 48000), "usr/music/short.wav": (20.0, 48000), "usr/speech/said.wav": (30, 48000)},
    )
    make_package(folder, "nexuiz-music", {"cd/one.ogg": (30.0, 44100)}, archive="music.pk3")
    return folder


def call(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*map(str, words)])
    return done.exit_code, done.output


def test_music_comes_out_with_its_licence(debs: Path, tmp_path: Path) -> None:
    words = ("--package", "asc-music", "--package", "nexuiz-music", "--debs", debs, "--seconds", 40)
    code, said = call(tmp_path / "out", *words)
    assert code == 0 and "1.2 minutes of music" in said, said
    rows = list(csv.DictReader((tmp_path / "out/manifest.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["path"], row["licence"], row["seconds"]) for row in rows] == [
        ("asc-music-music-long.flac", "GPL-2+ (Debian copyright file)", "40.00"),
        ("nexuiz-music-cd-one.flac", "GPL-2+ (Debian copyright file)", "30.00"),
    ]
    long, rate = soundfile.read(tmp_path / "out" / rows[0]["path"], dtype="float32")
    assert rate == 48000 and len(long) == 40 * rate
    # A fifth in: what was there before, to the last bit but one of 16.
    assert np.abs(long - noise(60, 48000, 0)[12 * rate : 52 * rate]).max() < 2 / 32768
    # And a recipe for songs takes it for accompaniments that nobody sings to.
    songs = pair_songs(read_dataset(f"manifest={tmp_path / 'out/manifest.csv'}", 20.0))
    assert len(songs) == 2 and all(song.accompaniment and not song.vocals for song in songs)
    assert songs[1].accompaniment and decode_stereo(songs[1].accompaniment, 48000).shape == (2, 30 * 48000)


def test_a_damaged_piece_is_passed_over(debs: Path, tmp_path: Path) -> None:
    root = tmp_path / "debs/asc-music"
    (root / "usr/music/aaa.ogg").write_bytes(b"noise" * 100_000)
    made = debs / "asc-music_1_all.deb"
    words = ["dpkg-deb", "-Znone", "--root-owner-group", "-b", root, made]
    subprocess.run(words, check=True, capture_output=True)
    code, said = call(tmp_path / "out", "--package", "asc-music", "--debs", debs)
    assert code == 0 and "aaa.ogg is passed over" in said and "1.0 minutes of music" in said, said
    (root / "usr/music/long.wav").unlink()
    subprocess.run(words, check=True, capture_output=True)
    code, said = call(tmp_path / "none", "--package", "asc-music", "--debs", debs)
    assert code == 2 and "No music was found" in said and not (tmp_path / "none").exists(), said


def test_what_cannot_be_gets_one_sentence_and_leaves_nothing(debs: Path, tmp_path: Path) -> None:
    (debs / "xmoto-data_1_all.deb").write_bytes(b"no package")
    for words, sentence in (
        (("--package", "solitaire"), "solitaire is none of"),
        (("--package", "mu-cade-data", "--debs", debs), "There is no package of mu-cade-data in"),
        (("--package", "asc-music", "--package", "xmoto-data", "--debs", debs), "dpkg-deb failed"),
    ):
        code, said = call(tmp_path / "out", *words)
        assert code == 2 and sentence in said and len(said.strip().splitlines()) <= 2, said
        assert sorted(path.name for path in tmp_path.iterdir()) == ["debs"]
    (tmp_path / "out").mkdir()
    code, said = call(tmp_path / "out", "--package", "asc-music", "--debs", debs)
    assert code == 2 and "exists already" in said
