"""Songs that are separated ahead of playing: the same bits from anywhere, kept for whoever comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_jack import wait

import rtsep
from rtsep.engine.enhance import enhance
from rtsep.karaoke.song_parts import Karaoke
from rtsep.live.player.separated_song import Ahead, SeparatedParts, SeparatedSong
from rtsep.live.player.song import Song
from rtsep.model import SpectralModel
from tests.recordings import noisy
from tests.spectral_graphs import SpectralNetwork

RATE = 48000


@pytest.fixture
def model(tmp_path: Path) -> SpectralModel:
    loaded = rtsep.load(SpectralNetwork().save(tmp_path / "tiny.onnx"))
    assert isinstance(loaded, SpectralModel)
    return loaded


def separated(folder: Path, model: SpectralModel, seconds: float, name: str = "a") -> tuple[np.ndarray, SeparatedSong]:
    sound = noisy(RATE, 2, seconds)
    soundfile.write(folder / f"{name}.wav", sound, RATE, "FLOAT")
    song = Song(folder / f"{name}.wav", RATE)
    assert wait(lambda: song.length is not None, 60)
    return sound, SeparatedSong(song, model)


def test_what_is_played_from_anywhere_is_what_is_written(tmp_path: Path, model: SpectralModel) -> None:
    sound, song = separated(tmp_path, model, 1.5)
    whole = enhance(sound, RATE, model)
    parts = SeparatedParts(RATE, key=0)
    for begin in (40000, 3000, 41000):
        while (number := song.missing(begin)) is not None:
            song.separate(number)
        parts.reset()
        parts.begin(song, begin)
        for at in range(begin, len(sound), 2048):
            piece = sound[at : at + 2048]
            assert parts.ready(len(piece)) == len(piece)
            made = parts.process(piece)
            assert np.array_equal(made.accompaniment, whole[at : at + 2048])
            assert np.array_equal(made.song, piece) and np.array_equal(made.vocals, piece - made.accompaniment)
    song.close()
    song.song.close()


def test_another_key_is_as_it_is_written(tmp_path: Path, model: SpectralModel) -> None:
    sound, song = separated(tmp_path, model, 1.0)
    while (number := song.missing(0)) is not None:
        song.separate(number)
    parts, karaoke = SeparatedParts(RATE, key=2), Karaoke(model, RATE, 2, key=2)
    parts.begin(song, 0)
    made = [parts.process(sound[at : at + 2048]).accompaniment for at in range(0, len(sound), 2048)]
    made.append(parts.flush().accompaniment)
    assert np.array_equal(np.concatenate(made), np.concatenate([karaoke.process(sound), karaoke.flush()]))
    song.close()
    song.song.close()


def test_the_place_that_is_wanted_comes_first_and_only_what_is_needed(tmp_path: Path, model: SpectralModel) -> None:
    """One segment makes a place playable, two where they fade; what is there stays when somebody seeks."""
    sound, song = separated(tmp_path, model, 1.5)
    grid = song.grid
    place = 5 * grid.step + grid.margin + grid.fade + 10
    assert song.ready(place, 1) == 0 and song.missing(place) == 5
    song.separate(5)
    assert 0 < song.ready(place, len(sound)) < grid.step
    assert song.ready(place - 20, 1) == 0 and song.missing(place - 20) == 4
    song.separate(4)
    assert song.ready(place - 20, 100) == 100
    assert song.missing(place) == 6 and song.missing(0) == 0
    assert song.missing(len(sound) - 1) is not None
    song.close()
    song.separate(7)  # closed meanwhile: nothing happens
    song.song.close()
    song.separate(8)


def test_the_thread_goes_on_with_the_next_song_and_says_why_it_stopped(tmp_path: Path, model: SpectralModel) -> None:
    (_, first), (_, second) = (separated(tmp_path, model, 0.6, name) for name in "ab")
    ahead = Ahead()
    ahead.want([(first, 10000), (second, 0)])
    assert wait(lambda: second.missing(0) is None, 60)
    assert first.missing(10000) is None and first.missing(0) == 0 and ahead.failure is None
    ahead.want([(first, 0)])
    assert wait(lambda: first.missing(0) is None, 60)

    def no_room(number: int) -> None:
        raise OSError(28, "No space left on device")

    first._there.clear()
    first.separate = no_room  # type: ignore[method-assign]
    assert wait(lambda: ahead.failure is not None, 60)
    for song in (first, second):
        song.close()
        song.song.close()


def test_a_song_that_is_not_decoded_yet_is_not_separated_beyond_what_is_there(tmp_path: Path, model) -> None:
    _, song = separated(tmp_path, model, 0.6)
    whole, song.song.length = song.song.length, None
    song.song.ready = song.grid.length - 1
    assert song.missing(0) is None
    song.song.ready = song.grid.length
    assert song.missing(0) == 0 and song.missing(song.grid.length) is None
    song.song.length = song.song.ready = 0  # nothing could be decoded
    assert song.missing(0) is None and whole
    song.close()
    song.song.close()
