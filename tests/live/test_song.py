"""Songs on their way to the player: decoded, resampled, readable at any place, and honest about where they break."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from test_jack import wait

from rtsep.errors import InputError, RtsepError
from rtsep.live.player.song import COLUMNS, Song


def tune(seconds: float, rate: int, channels: int = 2) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal((round(rate * seconds), channels))).astype(np.float32)


def whole(path: Path, rate: int) -> Song:
    song = Song(path, rate)
    assert wait(lambda: song.length is not None, 60)
    return song


@pytest.mark.parametrize(("rate", "channels"), [(48000, 2), (44100, 2), (8000, 1), (96000, 1)])
def test_any_rate_is_what_soxr_makes_of_it_at_any_place(tmp_path: Path, rate: int, channels: int) -> None:
    sound = tune(1.0, rate, channels)
    soundfile.write(tmp_path / "a.wav", sound, rate, "FLOAT")
    song = whole(tmp_path / "a.wav", 48000)
    wanted = sound if rate == 48000 else soxr.resample(sound, rate, 48000)
    wanted = np.broadcast_to(wanted, (len(wanted), 2))
    assert song.error is None and song.length == len(wanted) and abs(song.expected - len(wanted)) <= 1
    for at, count in ((0, 100), (31337, 5000), (47000, 5000), (90000, 10)):
        assert np.allclose(song.read(at, count), wanted[at : at + count], atol=1e-6)
    assert song.title == "a" and len(song.peaks) == COLUMNS and song.peaks.min() > 0
    song.close()


def test_an_mp3_is_as_long_as_what_was_coded(tmp_path: Path) -> None:
    """Else two songs of one piece would have a gap between them."""
    soundfile.write(tmp_path / "a.mp3", tune(1.0, 44100), 44100)
    song = whole(tmp_path / "a.mp3", 44100)
    assert song.length == 44100
    song.close()


def test_a_song_that_breaks_off_plays_as_far_as_it_goes_and_says_so(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", tune(4.0, 48000), 48000)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    (tmp_path / "cut.flac").write_bytes(data[: len(data) // 2])
    song = whole(tmp_path / "cut.flac", 48000)
    assert song.length is not None and 48000 < song.length < 3 * 48000
    assert song.error is not None and "damaged or cut off" in song.error
    song.close()


def test_what_is_no_song_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "six.wav", np.zeros((100, 6)), 48000)
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 2)), 48000)
    for name, words in (("six.wav", "one or two"), ("none.wav", "no sound"), ("gone.wav", "does not exist")):
        with pytest.raises(InputError, match=words):
            Song(tmp_path / name, 48000)
    soundfile.write(tmp_path / "a.wav", np.zeros((100, 2)), 48000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(RtsepError, match="TMPDIR"):
        Song(tmp_path / "a.wav", 48000)
