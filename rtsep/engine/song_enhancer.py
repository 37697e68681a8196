"""SongEnhancer: what Enhancer is for streams, for separators that see whole segments of a song."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.checks import checked_signal
from rtsep.engine.segments import Segments
from rtsep.engine.spectral_spec import check_channels
from rtsep.engine.stream_settings import check_rate, gain_of
from rtsep.errors import InputError

if TYPE_CHECKING:
    from rtsep.model import SpectralModel

Floats = NDArray[np.float32]


class SongEnhancer:
    """A whole song in pieces, in constant memory: output aligned with the input, same rate, length and channels.

    Nothing comes out before a segment is complete, about twelve seconds of Spleeter's.
    """

    def __init__(
        self,
        model: SpectralModel,
        sample_rate: int,
        channels: int = 2,
        strength: float | None = None,
        source: str | None = None,
    ) -> None:
        """See Enhancer; channels: 1 or the model's. Raises InputError for values outside these."""
        spec = model.spec
        if source is not None and source not in spec.sources:
            raise InputError(f"{spec.name} has no source {source!r}; it has {', '.join(spec.sources)}.")
        self.model, self.sample_rate = model, check_rate(sample_rate)
        self.channels = check_channels(channels, spec)
        self._row = spec.sources.index(source or spec.target)
        self._gain = gain_of(strength)
        self._grid, self._separator = Segments(spec, self.sample_rate), model.segment_separator(self.sample_rate)
        self.reset()

    def reset(self) -> None:
        """Forget all sound."""
        self._dry = np.zeros((0, self.channels), np.float32)  # from self._begin on
        self._begin = self._given = self._taken = 0
        self._made: dict[int, Floats] = {}

    def process(self, block: NDArray[Any]) -> Floats:
        """The next piece, [samples, channels] of any length, to what is ready by now; see Enhancer."""
        return self._mixed(*self._take(block))

    def flush(self) -> Floats:
        """The samples still owed; then the enhancer is as new."""
        return self._mixed(*self._finish())

    def process_sources(self, block: NDArray[Any]) -> Floats:
        """As ``process``, all sources at full strength: [sources, samples, channels]."""
        return self._take(block)[1]

    def flush_sources(self) -> Floats:
        """The samples still owed, of all sources; then the enhancer is as new."""
        return self._finish()[1]

    def _take(self, block: NDArray[Any]) -> tuple[Floats, Floats]:
        """``block`` in; what is ready, and all sources in it."""
        dry = checked_signal(block, self.channels, self._taken)
        self._taken += len(dry)
        self._dry = np.concatenate([self._dry, dry])
        done = [self._nothing()]
        while self._next * self._grid.step + self._grid.length <= self._taken:
            done.append(self._separated())
        return self._together(done)

    def _finish(self) -> tuple[Floats, Floats]:
        done = [self._nothing()]
        while self._given < self._taken:
            done.append(self._separated())
        self.reset()
        return self._together(done)

    def _nothing(self) -> tuple[Floats, Floats]:
        shape = (0, self.channels)
        return np.zeros(shape, np.float32), np.zeros((len(self.model.spec.sources), *shape), np.float32)

    @staticmethod
    def _together(pieces: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
        songs, sources = zip(*pieces, strict=True)
        return np.concatenate(songs), np.concatenate(sources, axis=1)

    @property
    def _next(self) -> int:
        """The segment to be separated next."""
        return max(self._made, default=-1) + 1

    def _separated(self) -> tuple[Floats, Floats]:
        """One more segment separated: the song from what was given last up to where the next one is needed."""
        grid, number = self._grid, self._next
        begin = number * grid.step - self._begin
        self._made[number] = self._separator.separate(self._dry[begin : begin + grid.length])
        self._made.pop(number - 2, None)
        end = min(self._taken, (number + 1) * grid.step + grid.margin)
        estimated = grid.joined(self._given, end - self._given, lambda one, a, b: self._made[one][:, a:b])
        song = self._dry[self._given - self._begin : end - self._begin]
        self._given = end
        kept = min(end, (number + 1) * grid.step)
        self._dry, self._begin = self._dry[kept - self._begin :], kept
        spec = self.model.spec
        return song, np.insert(estimated, spec.sources.index(spec.target), rest(song, estimated), axis=0)

    def _mixed(self, song: Floats, sources: Floats) -> Floats:
        wet = sources[self._row]
        if self._gain in (0.0, 1.0):
            return song if self._gain else wet
        return (1 - self._gain) * wet + np.float32(self._gain) * song


def rest(song: Floats, sources: Floats) -> Floats:
    """What is left of a song, [samples, channels], without the ``sources``, [sources, samples, channels]."""
    for source in sources:
        song = song - source
    return song
