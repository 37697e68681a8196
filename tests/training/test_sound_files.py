"""Sounds on disk: what is sliced is what a whole reading gives, at the file's rate and at another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from tests.training.songs import music, stem_folder
from tests.training.tiny import TINY
from training.data.datasets.stems import rows as stem_rows
from training.data.manifest import ForbiddenRow
from training.data.song_clips import load_clips, open_clips, pair_songs
from training.data.sound_files import SoundOnDisk, write_sound

MUSIC = TINY.parent / "music/stems/caesium-accompaniment.opus"


@pytest.mark.parametrize("rate", [48000, 44100])
def test_a_slice_is_a_part_of_the_whole(rate: int, tmp_path: Path) -> None:
    sound = soxr.resample(music().T, 48000, rate)
    soundfile.write(tmp_path / "music.flac", sound, rate)
    whole = soxr.resample(soundfile.read(tmp_path / "music.flac", dtype="float32")[0], rate, 48000)
    lazy = SoundOnDisk(tmp_path / "music.flac", 48000)
    assert abs(lazy.shape[1] - len(whole)) <= 1
    for start, stop in ((0, 5000), (48000 + 123, 100000), (lazy.shape[1] - 777, lazy.shape[1] + 5000), (9, 9)):
        piece = lazy[:, start:stop]
        expected = whole[start : min(stop, lazy.shape[1])].T * 32767
        assert piece.dtype == np.int16 and piece.shape == expected.shape
        assert not expected.size or np.abs(piece - expected).max() < 2


def test_coded_files_are_read_from_anywhere(tmp_path: Path) -> None:
    write_sound(tmp_path / "music.ogg", music().T, 48000)
    for file in (tmp_path / "music.ogg", MUSIC):
        whole = soundfile.read(file, dtype="float32")[0].T * 32767
        lazy = SoundOnDisk(file, 48000)
        for start in (0, 1, 70001):
            assert np.abs(lazy[:, start : start + 4000] - whole[:, start : start + 4000]).max() <= 0.51


def test_one_channel_is_doubled_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    write_sound(tmp_path / "voice.flac", music()[0], 48000)
    both = SoundOnDisk(tmp_path / "voice.flac", 48000)[:, 100:300]
    assert both.shape == (2, 200) and np.array_equal(both[0], both[1]) and both.any()
    (tmp_path / "bad.flac").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"bad\.flac is damaged"):
        SoundOnDisk(tmp_path / "bad.flac", 48000)
    with pytest.raises(ValueError, match=r"\.flac or \.ogg"):
        write_sound(tmp_path / "music.mp3", music().T, 48000)


def test_songs_on_demand_are_the_decoded_ones(tmp_path: Path) -> None:
    songs = pair_songs(stem_rows(stem_folder(tmp_path / "stems")))
    ahead, there = load_clips(songs, 48000), open_clips(songs, 48000, tmp_path / "cache")
    for one, other in zip(ahead, there, strict=True):
        assert one.length == other.length and np.array_equal(one.voiced, other.voiced)
        for name in ("accompaniment", "vocals"):
            assert np.array_equal(one.parts[name][:, 5000:9000], other.parts[name][:, 5000:9000])
    kept = {file.name for file in (tmp_path / "cache").iterdir()}
    again = open_clips(songs, 48000, tmp_path / "cache")
    assert {file.name for file in (tmp_path / "cache").iterdir()} == kept and len(kept) == len(songs)
    assert all(np.array_equal(one.voiced, other.voiced) for one, other in zip(there, again, strict=True))


def test_the_test_split_is_not_opened(tmp_path: Path) -> None:
    from dataclasses import replace

    row = replace(stem_rows(stem_folder(tmp_path / "stems"))[0], split="test", path=tmp_path / "not-there.flac")
    with pytest.raises(ForbiddenRow):
        open_clips(pair_songs([row]), 48000)
