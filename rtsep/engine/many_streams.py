"""Engine: many independent live streams on one model, a hop of many of them in one product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.compiled.streams import StreamMemories
from rtsep.errors import InputError
from rtsep.model import Model

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

MAX_STREAMS = 1024


class Engine:
    """Up to ``streams`` streams of a compiled model, for servers: the weights are read once for several hops.

    Each has the bits of a Stream whose blocks are whole hops, whoever else is there, and its latency. Streams join and
    leave between two hops; each has a place, a number from 0. Belongs to one thread.

    A part of the network that runs at a lower rate would run in all streams that joined together in the same hop; so
    each begins where in the round the fewest are, not all at the beginning (``first_hop``).

    A fault of one stream, a sample or a state that is no number, is its own: samples that are not finite count as zero
    and the rest is clamped to +-8, as by a Stream; when something that is no number still comes out, silence stands in
    its place, until the end of what was handed over, and the stream is as new (``faults``). No other stream notices.
    """

    def __init__(self, model: Model, streams: int) -> None:
        """Raises InputError for a model that is not compiled, or a number of streams outside 1 to 1024."""
        if isinstance(streams, bool) or not isinstance(streams, int) or not 1 <= streams <= MAX_STREAMS:
            raise InputError(f"streams is {streams!r}; it must be a whole number from 1 to {MAX_STREAMS}.")
        program = model.program
        spec = self.spec = program.spec
        self.streams, self.hop, self.channels = streams, spec.hop, spec.channels
        self.latency = spec.algorithmic_latency - spec.hop  # samples at the model's rate, of whole hops
        self._memories = StreamMemories(program, streams)
        self._faults: dict[int, int] = {}  # of each place that is taken
        self._first_hops: dict[int, int] = {}
        self._warm_up()

    def _warm_up(self) -> None:
        """Touch all memory that streams share, in each branch of the graph."""
        silence = np.zeros((self.streams, self.hop, self.channels), np.float32)
        for _ in range(2 * self.spec.slow_rate):
            self._memories.step(np.arange(self.streams, dtype=np.int64), silence)
        for place in range(self.streams):
            self._memories.clear(place)

    @property
    def places(self) -> tuple[int, ...]:
        """The places of the streams that are there, in the order in which they came."""
        return tuple(self._faults)

    def join(self) -> int:
        """A new stream: its place. Raises InputError when all are taken."""
        free = next((place for place in range(self.streams) if place not in self._faults), None)
        if free is None:
            raise InputError(f"All {self.streams} streams of the engine are taken; one must leave first.")
        rate = self.spec.slow_rate
        phases = np.bincount(self._memories.hops[list(self._faults)] % rate, minlength=rate)
        self._first_hops[free] = first = int(phases.argmin())
        self._memories.clear(free, first)
        self._faults[free] = 0
        return free

    def leave(self, place: int) -> None:
        """The stream at a place is over. Raises InputError when there is none."""
        self._check(place)
        del self._faults[place], self._first_hops[place]

    def process(self, sound: NDArray[Any]) -> Floats:
        """One hop of every stream, ``latency`` samples late.

        sound: [streams, hop, channels] float32; what stands at a free place counts for nothing, and silence
        comes out there. Raises InputError for another shape or type.
        """
        self._check_sound(sound, self.streams)
        out = np.zeros(sound.shape, np.float32)
        if self._faults:
            places = list(self._faults)
            out[places] = self.step(places, sound[places])
        return out

    def step(self, places: Sequence[int], sound: NDArray[Any]) -> Floats:
        """Hops of some streams, any number of each, while the others stand still; ``latency`` samples late.

        places: of what stream each hop is; those of one stream one after the other. sound: [len(places), hop, channels]
        float32, and so is what comes back. Raises InputError for another shape or type, and for a place without a
        stream; nothing has happened then.
        """
        self._check_sound(sound, len(places))
        for place in set(places):
            self._check(place)
        order = np.array(places, np.int64)
        made = np.array(sound, np.float32, order="C")
        for begin in range(0, len(order), self._memories.rows):
            rows = slice(begin, begin + self._memories.rows)
            self._memories.step(order[rows], made[rows])
        self.renew(order)
        return made

    def native(self) -> tuple[int, int, int]:
        """What steps rows without Python: address and context of the C function, and rows at once; see `streams`.

        Who calls it calls ``renew`` afterwards.
        """
        return *self._memories.native, self._memories.rows

    def renew(self, order: Integers) -> None:
        """Make those streams as new that have had a fault."""
        for place in np.unique(order[self._memories.faults[order] != 0]).tolist():
            self._faults[place] += 1
            self._first_hops[place] = first = int(self._memories.hops[place]) % self.spec.slow_rate
            self._memories.clear(place, first)

    def activity(self, place: int) -> float | None:
        """Probability that the target was active in the newest hop of a stream, if the model says."""
        self._check(place)
        return float(self._memories.activities[place]) if self.spec.activity else None

    def faults(self, place: int) -> int:
        """How often what came out of a stream was no number, so that it was made as new."""
        self._check(place)
        return self._faults[place]

    def first_hop(self, place: int) -> int:
        """The number of the first hop of a stream since it joined or was made as new; below the model's slow rate.

        0 for every stream of a model without a part of lower rate; of others, what ``Model.stream`` gives is a stream
        whose first hop is number 0.
        """
        self._check(place)
        return self._first_hops[place]

    def _check(self, place: int) -> None:
        if place not in self._faults:
            raise InputError(f"There is no stream at place {place} of the engine.")

    def _check_sound(self, sound: NDArray[Any], count: int) -> None:
        if np.shape(sound) != (count, self.hop, self.channels) or sound.dtype != np.float32:
            wanted = f"float32 {[count, self.hop, self.channels]}"
            raise InputError(f"The sound is {np.asarray(sound).dtype} {list(np.shape(sound))}; it must be {wanted}.")
