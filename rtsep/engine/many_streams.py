"""Engine: many independent live streams on one model, a hop of all of them in one product."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.compiled.native import CHANNELS, USED, Rows
from rtsep.errors import InputError
from rtsep.model import Model

Floats = NDArray[np.float32]

MAX_STREAMS = 1024


class Engine:
    """Up to ``streams`` streams of a compiled model, for servers: the weights are read once a hop for all of them.

    Each has the bits of a Stream whose blocks are whole hops, whoever else is there, and its latency. Streams join and
    leave between two hops; each has a place, a number from 0. Belongs to one thread.
    """

    def __init__(self, model: Model, streams: int) -> None:
        """Raises InputError for a model that is not compiled, or a number of streams outside 1 to 1024."""
        if isinstance(streams, bool) or not isinstance(streams, int) or not 1 <= streams <= MAX_STREAMS:
            raise InputError(f"streams is {streams!r}; it must be a whole number from 1 to {MAX_STREAMS}.")
        program = model.program
        spec = self.spec = program.spec
        self.streams, self.hop, self.channels = streams, spec.hop, spec.channels
        self.latency = spec.algorithmic_latency - spec.hop  # samples at the model's rate, of whole hops
        self._rows = Rows(program, streams, streams * spec.channels)
        self._places: list[int] = []  # of each row that is used

    @property
    def places(self) -> tuple[int, ...]:
        """The places of the streams that are there, in no order."""
        return tuple(self._places)

    def join(self) -> int:
        """A new stream: its place. Raises InputError when all are taken."""
        free = next((place for place in range(self.streams) if place not in self._places), None)
        if free is None:
            raise InputError(f"All {self.streams} streams of the engine are taken; one must leave first.")
        self._rows.clear(len(self._places))
        self._places.append(free)
        return free

    def leave(self, place: int) -> None:
        """The stream at a place is over. Raises InputError when there is none."""
        row, last = self._row(place), len(self._places) - 1
        if row != last:
            self._rows.move(last, row)
            self._places[row] = self._places[last]
        self._places.pop()

    def process(self, sound: NDArray[Any]) -> Floats:
        """One hop of every stream, ``latency`` samples late.

        sound: [streams, hop, channels] float32; what stands at a free place counts for nothing, and silence
        comes out there. Raises InputError for another shape or type.
        """
        if np.shape(sound) != (self.streams, self.hop, self.channels) or sound.dtype != np.float32:
            wanted = f"float32 {[self.streams, self.hop, self.channels]}"
            raise InputError(f"The sound is {np.asarray(sound).dtype} {list(np.shape(sound))}; it must be {wanted}.")
        out = np.zeros_like(sound, order="C")
        if self._places:
            used = len(self._places)
            self._rows.words[USED], self._rows.words[CHANNELS] = used, used * self.channels
            together = np.ascontiguousarray(sound[self._places].transpose(1, 0, 2))
            made, _ = self._rows.step(together)
            out[self._places] = made.transpose(1, 0, 2)
        return out

    def activity(self, place: int) -> float | None:
        """Probability that the target was active in the newest hop of a stream, if the model says."""
        return self._rows.activity(self._row(place))

    def _row(self, place: int) -> int:
        try:
            return self._places.index(place)
        except ValueError:
            raise InputError(f"There is no stream at place {place} of the engine.") from None
