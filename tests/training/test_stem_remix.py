"""Songs mixed anew from stems: every stem goes to its own part, and both parts stay together."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from training.data.augment.offline_augment import Copy
from training.data.datasets import read_dataset
from training.data.song_clips import pair_songs
from training.data.tools import stem_remix as module
from training.data.tools.stem_remix import RATE, Stems, read_stems, version

app = typer.Typer()
app.command()(module.main)
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg reads the stems")
TONES = {"vocals": 440.0, "drums": 1000.0, "others": 2500.0}


def tone(hertz: float, samples: int, loud: float = 0.1) -> np.ndarray:
    sound = np.rint(32767 * loud * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)).astype(np.int16)
    return np.stack([sound, sound])


def power_at(part: np.ndarray, hertz: float) -> float:
    """Of one channel at a multiple of 10 Hz, in dB; `part` `[2, samples]`."""
    cut = part[0][: part.shape[1] // 4800 * 4800].reshape(-1, 4800).astype(np.float64)
    return 10 * np.log10(np.square(np.abs(np.fft.rfft(cut)[:, round(hertz / 10)])).mean() / 2400**2 + 1e-20)


@pytest.fixture
def untreated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TREATMENTS", (Copy(),))


@settings(max_examples=30, deadline=None)
@given(counts=st.tuples(*[st.integers(0, 3)] * 3), seed=st.integers(0, 2**32 - 1), loud=st.floats(0.01, 0.9))
def test_voices_go_to_the_vocals_and_nothing_else_does(counts: tuple[int, ...], seed: int, loud: float) -> None:
    vocals, drums, others = (
        [tone(hertz, 9600 * (1 + index), loud) for index in range(count)]
        for hertz, count in zip(TONES.values(), counts, strict=True)
    )
    song = Stems("song", vocals or [tone(TONES["vocals"], 19200, loud)], drums, others or [tone(2500.0, 19200, loud)])
    guest = Stems("guest", [tone(770.0, 14400)], [tone(5000.0, 4800)], [tone(7000.0, 48000)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TREATMENTS", (Copy(),))
        parts = version(song, [song, guest], np.random.default_rng(seed))
        again = version(song, [song, guest], np.random.default_rng(seed))
    assert np.array_equal(parts, again) and parts.dtype == np.float32
    assert parts.shape == (2, 2, song.length)  # a longer stem of another song is cut
    assert max(np.abs(parts).max(), np.abs(parts.sum(0)).max()) < 1
    music, voice = parts
    assert power_at(voice, 440) > -80 and power_at(music, 440) < -90
    assert all(power_at(voice, hertz) < -90 for hertz in (1000.0, 2500.0, 5000.0, 7000.0))
    assert power_at(music, 770) < -90 and power_at(voice, 770) < -90  # another song's voice stays there


def test_versions_differ(untreated: None) -> None:
    song = Stems("song", [tone(440.0, 4800)] * 3, [tone(1000.0, 4800)] * 3, [tone(2500.0, 4800)] * 3)
    rng = np.random.default_rng(0)
    levels = [[power_at(part, hertz) for part, hertz in zip(version(song, [song], rng), (1000.0, 440.0), strict=True)]
              for _ in range(10)]  # fmt: skip
    assert np.ptp(levels, axis=0).min() > 3


@pytest.fixture
def stems(tmp_path: Path) -> Path:
    for song in ("1.One", "2.Two", "3.Kept"):
        home = tmp_path / "stems" / song
        home.mkdir(parents=True)
        for name, hertz in (("VOX LEAD", 440.0), ("BGVOX", 440.0), ("Main Drums", 1000.0), ("PAD", 2500.0)):
            soundfile.write(home / f"{name}.flac", tone(hertz, 24000).T, RATE)
        (home / "cover.txt").write_text("no sound")
    return tmp_path / "stems"


@needs_ffmpeg
def test_a_folder_of_versions(stems: Path, tmp_path: Path, untreated: None) -> None:
    words = [str(tmp_path / "out"), "--stems", str(stems), "--leave", "kept", "--versions", "2"]
    made = CliRunner().invoke(app, [*words, "--corpus", "us", "--licence", "CC0-1.0"])
    assert made.exit_code == 0, made.output
    rows = read_dataset(f"manifest={tmp_path / 'out' / 'manifest.csv'}")
    assert {row.split for row in rows} == {"train"} and {row.licence for row in rows} == {"CC0-1.0"}
    songs = pair_songs(rows)
    assert [song.name for song in songs] == ["1-one-0", "2-two-0", "1-one-1", "2-two-1"]  # and none of 3.Kept
    for song in songs:
        assert song.vocals and song.accompaniment
        voice, music = (soundfile.read(row.path)[0].T for row in (song.vocals, song.accompaniment))
        assert voice.shape == music.shape == (2, 24000)
        assert power_at(voice, 440) > -60 > -75 > power_at(voice, 2500) and power_at(music, 440) < -75


@needs_ffmpeg
def test_names_tell_what_a_stem_is(stems: Path) -> None:
    song = read_stems(stems)[0]
    assert (len(song.vocals), len(song.drums), len(song.others)) == (2, 1, 1)
    song = read_stems(stems, vocals="lead|pad", drums="^$")[0]
    assert (len(song.vocals), len(song.drums), len(song.others)) == (2, 0, 2)


@needs_ffmpeg
def test_one_sentence_for_what_is_wrong(stems: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for words, said in (
        (["--stems", str(tmp_path / "no")], "There is no folder"),
        (["--stems", str(stems), "--leave", "."], "no folder with stems"),
        (["--stems", str(stems), "--vocals", "singer"], "has no vocals"),
        (["--stems", str(stems), "--vocals", "."], "has no stem but vocals"),
        (["--stems", str(stems), "--vocals", "("], "no regular expression"),
    ):
        asked = CliRunner().invoke(app, [str(out), *words])
        assert asked.exit_code == 2 and said in asked.output and asked.output.count("\n") == 1 and not out.exists()
    (stems / "2.Two" / "PAD.flac").write_bytes(b"not a sound")
    asked = CliRunner().invoke(app, [str(out), "--stems", str(stems)])
    assert asked.exit_code == 2 and "PAD.flac" in asked.output and not out.exists()
    out.mkdir()
    asked = CliRunner().invoke(app, [str(out), "--stems", str(stems)])
    assert asked.exit_code == 2 and "exists already" in asked.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "stems"]  # nothing half-written stays
