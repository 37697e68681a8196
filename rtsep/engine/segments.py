"""Segments: where the overlapping segments of a song lie, and how what was separated in them is joined again.

Segment k covers ``length`` samples from ``k * step`` on. Near its ends a separator sees only one side, so the first and
last quarter of an overlap are thrown away, and over its middle half one segment fades into the next. The weights of the
two add up to one: the sources still add up to the song, and there is no seam. Where a sample comes from depends on its
place in the song alone, so a song played from anywhere is the song that is written to a file, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.spectral_spec import SpectralSpec

Floats = NDArray[np.float32]


class Segments:
    """Lengths in samples at ``rate`` (Hz), the song's.

    margin: of a segment's beginning that is not used. fade: what follows it, in which the segment before fades out.
    """

    def __init__(self, spec: SpectralSpec, rate: int) -> None:
        def samples(hops: float) -> int:
            return round(hops * spec.hop * rate / spec.sample_rate)

        self.length = spec.segment * rate // spec.sample_rate
        self.step = samples(spec.frames - 1 - spec.overlap)
        self.margin, self.fade = samples(spec.overlap / 4), samples(spec.overlap / 2)

    def at(self, sample: int) -> int:
        """The segment that ``sample`` comes from, or fades into."""
        return max(0, (sample - self.margin) // self.step)

    def needed(self, sample: int) -> range:
        """The segments that must be there for ``sample``: one, or two where they fade."""
        last = self.at(sample)
        return range(last - int(last > 0 and sample - self._begin(last) < self.fade), last + 1)

    def ready(self, at: int, count: int, there: Callable[[int], bool]) -> int:
        """How many of ``count`` samples from ``at`` on can be joined; there: whether a segment has been separated."""
        place, end = at, at + count
        while place < end and all(there(number) for number in self.needed(place)):
            place = min(end, self._until(place))
        return place - at

    def joined(self, at: int, count: int, get: Callable[[int, int, int], Floats]) -> Floats:
        """``count`` samples from ``at`` on, [..., count, channels].

        get: (segment, from, to) to its samples, [..., to - from, channels]; see ``needed`` for which are asked for.
        """
        pieces: list[Floats] = []
        place, end = at, at + count
        while place < end or not pieces:
            until = min(end, self._until(place))
            numbers = self.needed(place)
            here = [get(number, place - number * self.step, until - number * self.step) for number in numbers]
            if len(here) == 1:
                pieces.append(here[0])
            else:
                inside = np.arange(place, until) - self._begin(numbers[1])
                weight = ((inside + 0.5) / self.fade).astype(np.float32)[:, None]
                pieces.append(here[0] * (1 - weight) + here[1] * weight)
            place = until
        return np.concatenate(pieces, axis=-2)

    def _begin(self, number: int) -> int:
        return number * self.step + self.margin if number else 0

    def _until(self, sample: int) -> int:
        """Where the segments that are needed for ``sample`` are others."""
        last = self.at(sample)
        faded = self._begin(last) + self.fade
        return faded if last and sample < faded else self._begin(last + 1)
