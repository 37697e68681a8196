"""The C functions of `worker`: between the shared block's rings [channels, length] and blocks [samples, channels]."""

from __future__ import annotations

from numba import carray

from rtsep.engine.compiled.memory import integers, pointer_to_floats
from rtsep.live.backends.memory_fence import fence as _fence


def fence():
    """NumPy's stores are plain; what follows a call of this comes after them."""
    _fence()


def fetch(ring, channels, length, at, chunk, count):
    """``count`` samples from position ``at`` of a ring on, whose writer has said that they are there."""
    _fence()
    source, target = (
        carray(pointer_to_floats(ring), (channels, length)),
        carray(pointer_to_floats(chunk), (count, channels)),
    )
    for i in range(count):
        for channel in range(channels):
            target[i, channel] = source[channel, (at + i) & (length - 1)]


def store(ring, channels, length, at, chunk, count, processed):
    """``count`` samples into a ring, and then the number, at the address ``processed``, that says so."""
    source, target = (
        carray(pointer_to_floats(chunk), (count, channels)),
        carray(pointer_to_floats(ring), (channels, length)),
    )
    for i in range(count):
        for channel in range(channels):
            target[channel, (at + i) & (length - 1)] = source[i, channel]
    _fence()
    integers(processed, 1)[0] = at + count
