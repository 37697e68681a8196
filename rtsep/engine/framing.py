"""Numba kernels between samples and frames: windows, rings, overlap-add, the dry/wet mix.

Everything is addressed by its absolute position in the stream (sample or hop number, int64), and rings are looked up
modulo their length, a power of two where a mask is given. So what is written never depends on how the samples were
cut into blocks. Rings are planar: ``[channels, length]``, float32. Positions before 0 read the zeros rings start with.

Each kernel has a slow numpy twin in tests/engine/test_framing.py.
"""

from __future__ import annotations

import numpy as np

from rtsep.engine.limits import LIMIT, TINY
from rtsep.engine.numba_cache import compiled


@compiled(
    "void(float32[:,::1], int64, float32[:,::1], int64, int64)",
    "void(float64[:,::1], int64, float32[:,::1], int64, int64)",
)
def take(block, count, ring, mask, at):
    """Write ``block[:count]`` ([samples, channels]) into ``ring`` from position ``at`` on.

    A ring with more channels than the block gets the last one again. Non-finite samples become zero, the rest is
    clamped to +-LIMIT: one bad sample must not live on in the state.
    """
    for channel in range(ring.shape[0]):
        source = min(channel, block.shape[1] - 1)
        for i in range(count):
            value = block[i, source]
            if not np.isfinite(value):
                value = 0.0
            elif value > LIMIT:
                value = LIMIT
            elif value < -LIMIT:
                value = -LIMIT
            ring[channel, (at + i) & mask] = value


@compiled("void(float32[:,::1], int64, int64, float32[:,::1])")
def push(ring, mask, end, window):
    """Copy the newest samples, those before position ``end``, into ``window`` ([channels, window])."""
    length = window.shape[1]
    for channel in range(window.shape[0]):
        for i in range(length):
            value = ring[channel, (end - length + i) & mask]
            window[channel, i] = value if abs(value) >= TINY else np.float32(0.0)


@compiled("void(float32[:,::1], int64[::1], int64[::1], int64, float32[:,:,::1])")
def gather(history, dilations, starts, time, taps):
    """Read what each layer tapped 2d, d, ... hops before hop ``time`` into ``taps`` ([layers, kernel-1, hidden]).

    Layer l owns the ``(kernel-1) * dilations[l]`` rows of ``history`` from ``starts[l]`` on, used as a ring; the
    oldest tap is the row that ``scatter`` is about to overwrite.
    """
    layers, reach, hidden = taps.shape
    for layer in range(layers):
        length = reach * dilations[layer]
        for tap in range(reach):
            row = starts[layer] + (time - (reach - tap) * dilations[layer]) % length
            for i in range(hidden):
                taps[layer, tap, i] = history[row, i]


@compiled("void(float32[:,::1], int64[::1], int64[::1], int64, int64, float32[:,::1])")
def scatter(history, dilations, starts, time, reach, column):
    """Write hop ``time``'s tapped values ``column`` ([layers, hidden]) into each layer's ring; see ``gather``."""
    layers, hidden = column.shape
    for layer in range(layers):
        row = starts[layer] + time % (reach * dilations[layer])
        for i in range(hidden):
            value = column[layer, i]
            history[row, i] = value if abs(value) >= TINY else np.float32(0.0)


@compiled("void(float32[::1])")
def settle(state):
    """Set what is below TINY in ``state`` to zero, so that a state that fades does not fade through denormals."""
    for i in range(len(state)):
        if not abs(state[i]) >= TINY:  # NaN too: no state may stay broken
            state[i] = 0.0


@compiled("void(float32[:,:,::1], int64, int64, float32[:,:,::1], int64, int64)")
def overlap_add(frames, begin, hop, rings, mask, channel):
    """Add ``frames`` ([sources, channels, width]) into ``rings`` ([sources, channels, length]) from ``begin`` on.

    The last ``hop`` samples of a frame are the first word on their positions, so they replace what the ring held a
    round ago. ``channel`` is where the frame's first channel goes.
    """
    sources, channels, width = frames.shape
    overlap = width - hop
    for source in range(sources):
        for c in range(channels):
            for i in range(overlap):
                rings[source, channel + c, (begin + i) & mask] += frames[source, c, i]
            for i in range(overlap, width):
                rings[source, channel + c, (begin + i) & mask] = frames[source, c, i]


@compiled("void(float32[:,::1], int64, float32[:,::1], int64, int64, float64[::1], float32[:,::1])")
def mix(wet, count, ring, mask, at, gain, out):
    """``out[i] = (1-g) wet[:, i] + g dry[:, at+i]`` for i < ``count``; ``ring`` holds the dry signal.

    wet is [channels, samples], out [samples, channels]. ``gain`` is [g now, g aimed at, change a sample, samples to
    go] and moves on by ``count`` samples. At rest g = 0 and g = 1 copy, bit for bit.
    """
    channels = wet.shape[0]
    for i in range(count):
        if gain[3] > 0.0:
            gain[3] -= 1.0
            gain[0] = gain[0] + gain[2] if gain[3] > 0.0 else gain[1]
        g = gain[0]
        for channel in range(channels):
            dry = ring[channel, (at + i) & mask]
            if g == 0.0:
                out[i, channel] = wet[channel, i]
            elif g == 1.0:
                out[i, channel] = dry
            else:
                out[i, channel] = (1.0 - g) * wet[channel, i] + g * dry
