"""EngineStream: what a Stream is but for the network, which runs in an Engine, together with that of other streams.

Messages, as clients send them, go through in rounds: what comes before the engine, the engine and what comes after it
are one call of compiled code, of however many streams, while other threads of Python run.

    rounds = EngineRounds(engine)
    message = Message(stream, sixteen_bits=True)
    message.put(data)
    while message.left:
        rounds.step([message, ...])
    message.answer
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.engine import engine_stream_words as words
from rtsep.engine.engine_stream_words import TOGETHER
from rtsep.engine.many_streams import Engine
from rtsep.engine.stream import Stream
from rtsep.model_spec import ModelSpec

Floats = NDArray[np.float32]


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
    """With the bits, the latency and the strength of ``Model.stream`` of the same model.

    It takes ``places`` places of the engine: one for each group of the model's channels.
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
        self._numbers = np.zeros(self.places, np.int64)
        context = self._served = np.zeros(words.WORDS, np.int64)
        context[: len(self._words)] = self._words
        context[words.LATENCY], context[words.DELAY] = self.latency, spec.algorithmic_latency
        context[words.HOP], context[words.OWN_CHANNELS] = spec.hop, spec.channels
        context[words.OWN_SOURCE], context[words.AFTER] = spec.target_index, self._inward.after
        context[words.PLACES] = self._numbers.ctypes.data
        self.context = int(context.ctypes.data)

    def take_places(self, places: Sequence[int]) -> None:
        """The numbers of its places in the engine, before anything else."""
        self._numbers[:] = places

    def rows(self, samples: int) -> int:
        """Rows of a round that a piece of so many samples may take, at most."""
        hops = samples * self.spec.sample_rate // (self.sample_rate * self.spec.hop) + 1
        return self.places * min(TOGETHER, hops)


class Message:
    """Sound of one stream on its way: interleaved 16-bit integers or float32, and its answer of the same kind.

    One object serves a stream for as long as it lasts: what it holds is replaced by the next ``put``.

    left: samples of each channel that are still to go.
    """

    def __init__(self, stream: EngineStream, sixteen_bits: bool) -> None:
        self.stream, self.left = stream, 0
        self._frame_bytes = stream.channels * (2 if sixteen_bits else 4)
        self._sixteen_bits = int(sixteen_bits)
        self._length = 0
        self._make_room(0)

    def put(self, data: bytes) -> None:
        """data: whole samples of all channels; not finite ones count as zero, the rest is clamped to +-8.

        Raises InputError when they break the promise of the stream's ``block_multiple``; nothing has happened then.
        """
        length = len(data)
        samples = length // self._frame_bytes
        self.stream.check_length(samples)
        if length > len(self._source):
            self._make_room(length)
        self._source[:length] = data
        self._length, self.left = length, samples
        self.words = [self.stream.context, *self._addresses, samples, self._sixteen_bits, 0, 0, 0]

    @property
    def answer(self) -> memoryview:
        """As many bytes as were put in, whole when nothing is left; to be used or copied before the next ``put``."""
        return self._target[: self._length]

    def _make_room(self, length: int) -> None:
        source, target = np.empty(length, np.uint8), np.empty(length, np.uint8)
        self._source, self._target = source.data, target.data
        self._addresses = source.ctypes.data, target.ctypes.data


class EngineRounds:
    """Puts messages through an engine, many at once. Belongs to one thread, as the engine does."""

    def __init__(self, engine: Engine) -> None:
        spec = engine.spec
        self.engine, self._native = engine, engine.native()
        words.run_round.load()
        most_rows = engine.streams * TOGETHER  # so no round of whatever messages writes behind them
        self._table = np.zeros((engine.streams, words.PIECE_WORDS), np.int64)
        self._order = np.zeros(most_rows, np.int64)
        self._sound = np.zeros((most_rows, spec.hop, spec.channels), np.float32)
        self._addresses = [array.ctypes.data for array in (self._table, self._order, self._sound)]

    def step(self, messages: Sequence[Message]) -> int:
        """A piece of each, at most one message of a stream; how many hops that were.

        Raises ValueError for more messages than the engine has streams; nothing has happened then.
        """
        count, table = len(messages), self._table
        if count > len(table):
            raise ValueError(f"{count} messages of {len(table)} streams.")
        table[:count] = [message.words for message in messages]
        at, order, sound = self._addresses
        rows = words.run_round(at, count, order, sound, *self._native)
        self.engine.renew(self._order[:rows])
        for message, now in zip(messages, table[:count].tolist(), strict=True):
            message.words, message.left = now, now[words.LEFT]
        return rows
