"""The words of the contexts of streams on an engine, int64, after those of `stream_words`, and of messages at work."""

from __future__ import annotations

from rtsep.engine import stream_words
from rtsep.engine.native_function import NativeFunction

TOGETHER = 16  # hops of a long message that are handed over at once

# Of a stream: samples taken, and brought to the model's rate, and hops made; sizes, and the address of its places.
_NAMES = range(stream_words.WORDS, stream_words.WORDS + 11)
TAKEN, FED, HOPS, LATENCY, HOP, OWN_CHANNELS, OWN_SOURCE, DELAY, AFTER, PLACES, _LAST = _NAMES
WORDS = _LAST

# Of a message: its stream, where the rest of it lies and its answer goes, and samples left; and of its piece at work,
# samples, hops of each place, and the first row.
CONTEXT, SOURCE, TARGET, LEFT, SIXTEEN_BITS, COUNT, NEW_HOPS, FIRST_ROW, PIECE_WORDS = range(9)

run_round = NativeFunction(
    "rtsep.engine.engine_stream_kernels", "run_round", f"int64({', '.join(['int64'] * 7)})", long=True
)
