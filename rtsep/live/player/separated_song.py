"""A song on its way to the player through a separator that sees whole segments: separated ahead, kept while it plays.

The segments lie in a temporary file, so what was separated once is there at once when somebody seeks back to it.
"""

from __future__ import annotations

import tempfile
import threading
import time

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.segments import Segments
from rtsep.engine.song_enhancer import rest
from rtsep.karaoke.song_parts import KeyShift, Parts, split
from rtsep.live.player.song import Song, cannot_be_kept
from rtsep.model import SpectralModel

Floats = NDArray[np.float32]
_SAMPLE = 8  # bytes: two channels, float32
_LOOK_S = 0.01


class SeparatedSong:
    """One song and what is separated of it. ``separate`` may run in another thread than the rest."""

    def __init__(self, song: Song, model: SpectralModel) -> None:
        """Raises RtsepError when nothing can be kept."""
        self.song = song
        self.grid, self._separator = Segments(model.spec, song.rate), model.segment_separator(song.rate)
        self._sources = len(model.spec.estimated)
        self._there: set[int] = set()
        self._closed, self._lock = False, threading.Lock()
        try:
            self._file = tempfile.TemporaryFile(prefix="rtsep-parts-")  # noqa: SIM115 (closed in close)
        except OSError as error:
            raise cannot_be_kept(song.path, error) from None

    def close(self) -> None:
        """Give the file back; a segment that is being separated is lost."""
        with self._lock:
            self._closed = True
            self._file.close()

    def missing(self, place: int) -> int | None:
        """The first segment from sample ``place`` on that is not there yet; None when its sound is not either."""
        number = self.grid.needed(place)[0]
        while number in self._there:
            number += 1
        begin, length = number * self.grid.step, self.song.length
        if length is None:
            return number if self.song.ready >= begin + self.grid.length else None
        return number if begin + self.grid.margin < length or number == 0 < length else None

    def separate(self, number: int) -> None:
        """Separate a segment and keep it; raises OSError when there is no room."""
        try:
            piece = self.song.read(number * self.grid.step, self.grid.length)
        except ValueError:  # closed meanwhile
            return
        data = np.ascontiguousarray(self._separator.separate(piece)).tobytes()
        with self._lock:
            if not self._closed:
                self._file.seek(number * len(data))
                self._file.write(data)
                self._file.flush()
                self._there.add(number)

    def ready(self, at: int, count: int) -> int:
        """How many of ``count`` samples from ``at`` on are separated."""
        return self.grid.ready(at, count, self._there.__contains__)

    def accompaniment(self, at: int, song: Floats) -> Floats:
        """Of ``song``, [samples, 2] from sample ``at`` on, of which all must be ready."""
        return rest(song, self.grid.joined(at, len(song), self._read))

    def _read(self, number: int, begin: int, end: int) -> Floats:
        """[sources, end - begin, 2] of a segment."""
        parts = []
        for source in range(self._sources):
            first = (number * self._sources + source) * self.grid.length + begin
            with self._lock:
                self._file.seek(first * _SAMPLE)
                parts.append(np.frombuffer(self._file.read((end - begin) * _SAMPLE), np.float32).reshape(-1, 2))
        return np.stack(parts)


class Ahead:
    """A thread that separates what is wanted next, one segment after another. failure: why it stopped, if it did."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self._wanted: list[tuple[SeparatedSong, int]] = []
        threading.Thread(target=self._run, daemon=True, name="separator").start()

    def want(self, wanted: list[tuple[SeparatedSong, int]]) -> None:
        """Songs, in order, each from a sample on to its end; instead of what was wanted before."""
        self._wanted = wanted

    def _run(self) -> None:
        try:
            while True:
                if not self._separate_one():
                    time.sleep(_LOOK_S)
        except Exception as error:
            self.failure = error

    def _separate_one(self) -> bool:
        for song, place in self._wanted:
            number = song.missing(place)
            if number is not None:
                song.separate(number)
                return True
        return False


class SeparatedParts:
    """The parts of a separated song from a place on, piece after piece, as Separator gives them."""

    def __init__(self, sample_rate: int, key: int) -> None:
        """sample_rate: Hz. key: semitones."""
        self._shift = KeyShift(sample_rate, 2, key)
        self._nothing = np.zeros((0, 2), np.float32)
        self.place: tuple[SeparatedSong, int]  # of what comes next

    def begin(self, song: SeparatedSong, place: int) -> None:
        """What comes next is sample ``place`` of ``song``."""
        self.place = song, place

    def ready(self, count: int) -> int:
        """How many of the next ``count`` samples can be processed."""
        song, place = self.place
        return song.ready(place, count)

    def process(self, piece: Floats) -> Parts:
        """See Separator."""
        song, place = self.place
        accompaniment = song.accompaniment(place, piece)
        self.place = song, place + len(piece)
        return self._shift.process(split(piece, accompaniment))

    def flush(self) -> Parts:
        """See Separator."""
        return self._shift.flush(Parts(self._nothing, self._nothing, self._nothing))

    def reset(self) -> None:
        """See Separator."""
        self._shift.reset()
