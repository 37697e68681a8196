"""The kernel of sample rate conversion: outputs of a polyphase FIR filter, whose tables `resample.Converter` makes."""

from __future__ import annotations

import numpy as np

from rtsep.engine.numba_cache import compiled


@compiled(
    "void(float32[:,::1], int64, float32[:,::1], int64, int64, int64, int64, int64, float32[::1], float32[:,::1], "
    "int64, int64)",
    fastmath=True,
)
def convolve(ring, mask, table, before, up, down, first, count, scratch, out, at, out_mask):
    """Outputs ``first`` to ``first + count`` of the converter, into ``out`` ([channels, length]) from ``at`` on.

    ``table`` is [phases + 1, taps]; tap t of an output weighs input ``floor(position) - before + t`` of ``ring``.
    An ``out`` with more channels than ``ring`` gets the last one again. ``scratch`` takes one channel's input span.
    """
    if up == down:  # the signal itself
        for channel in range(out.shape[0]):
            row = ring[min(channel, ring.shape[0] - 1)]
            for i in range(count):
                out[channel, (at + i) & out_mask] = row[(first + i) & mask]
        return
    taps = table.shape[1]
    phases = table.shape[0] - 1
    begin = (first * down) // up - before
    span = ((first + count - 1) * down) // up - before + taps - begin
    for channel in range(out.shape[0]):
        row = ring[min(channel, ring.shape[0] - 1)]
        for i in range(span):
            scratch[i] = row[(begin + i) & mask]
        for i in range(count):
            position = (first + i) * down
            base = position // up - before - begin
            numerator = (position % up) * phases
            phase = numerator // up
            share = numerator % up
            total = np.float32(0.0)
            for t in range(taps):
                total += table[phase, t] * scratch[base + t]
            if share:
                upper = np.float32(0.0)
                for t in range(taps):
                    upper += table[phase + 1, t] * scratch[base + t]
                total += np.float32(share / up) * (upper - total)
            out[channel, (at + i) & out_mask] = total
