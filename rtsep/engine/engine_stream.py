"""EngineStream: what a Stream is but for the network, which runs in an Engine, together with that of other streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.engine import stream_words as words
from rtsep.engine.stream import Stream
from rtsep.model_spec import ModelSpec

Floats = NDArray[np.float32]

TOGETHER = 8  # hops of a long block that are handed over at once


class _Elsewhere:
    """In the place of a step, which is in the engine."""

    activity: Floats | None = None

    def __init__(self, spec: ModelSpec) -> None:
        self.spec, self.hops = spec, TOGETHER
        self.condition = np.zeros(spec.condition, np.float32)

    def step(self, window: Floats) -> Floats:
        return window

    def reset(self) -> None:
        pass


class EngineStream(Stream):
    """Blocks of any size in, hops out, for whoever steps an Engine; made hops in, as many samples out.

        for piece in stream.pieces(block):
            hops = stream.put(piece)
            out = stream.get(engine.step(..., hops))

    With the bits, the latency and the strength of ``Model.stream`` of the same model. It takes ``places`` places of the
    engine: one for each group of the model's channels. Belongs to one thread, which need not be the engine's.
    """

    def __init__(
        self,
        spec: ModelSpec,
        sample_rate: int | None = None,
        channels: int = 1,
        strength: float | None = None,
        block_multiple: int = 1,
    ) -> None:
        """See Model.stream. Raises InputError as it does."""
        new_step: Any = lambda: _Elsewhere(spec)  # noqa: E731
        super().__init__(spec, new_step, sample_rate, channels, strength, block_multiple, hops=TOGETHER)
        self.places = len(self._steps)
        self._count = 0

    def pieces(self, block: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """``block`` [samples, channels], float32 or float64, in pieces for ``put``, which must come in between.

        Raises InputError as Stream.process does, before the first.
        """
        block = self._checked(block)
        done = 0
        while done < len(block):
            yield block[done:]
            done += self._count

    def put(self, piece: NDArray[Any]) -> Floats:
        """Take the beginning of a piece; the hops that it completes, [places, hops, hop, channels of the model]."""
        self._count = self._take(piece)
        return self._hops_waiting(self._convert())

    def get(self, made: Floats) -> Floats:
        """What comes out for what was put in last, [samples, channels], given its hops as the engine made them."""
        spec = self.spec
        count = made.shape[1]
        if count:
            width = count * spec.hop
            frames = np.ascontiguousarray(made.transpose(0, 3, 1, 2), np.float32).reshape(1, -1, width)
            begin = (self._hops + 1) * spec.hop - spec.algorithmic_latency
            place = frames.ctypes.data, frames.nbytes, 1, width, frames.shape[1], width
            words.add_frames(self._context, spec.target_index, 1, *place, 0, begin)
            self._hops += count
        out = np.empty((self._count, self.channels), np.float32)
        self._emit(self._count, out[None], False)
        return out

    def _hops_waiting(self, count: int) -> Floats:
        spec = self.spec
        sound = np.empty((len(self._heard), count * spec.hop), np.float32)
        if count:
            end = (self._hops + count) * spec.hop
            words.copy_windows(self._context, sound.ctypes.data, sound.shape[1], 1, spec.hop, end)
        parts = sound.reshape(self.places, spec.channels, count, spec.hop)
        return np.ascontiguousarray(parts.transpose(0, 2, 3, 1))
