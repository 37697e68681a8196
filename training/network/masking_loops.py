"""The loops of `masking` on a CPU, compiled for float32 when this is first imported: of one thread.

Shapes: `masked` `[frames, channels, 2, pairs]`, `recent` `[frames, read, 2, bins]`, `earlier` `[frames, channels,
periods, 2, low]`; `gains` `[frames, made, pairs]`, `filters` `[frames, made, read, 2, bins]`, `early` `[frames, made,
periods, low]`; `kept` `[frames, made, 2, pairs]`, where `made` counts sources × channels.
"""

from __future__ import annotations

from numba import float32, void

from rtsep.engine.compiled.elementary import FUSED, compiled

f3, f4, f5 = float32[:, :, ::1], float32[:, :, :, ::1], float32[:, :, :, :, ::1]


@compiled(void(f4, f4, f5, f3, f5, f4, f4), fastmath=FUSED)
def forwards(masked, recent, earlier, gains, filters, early, kept):
    """Fills `kept`."""
    frames, made, _, pairs = kept.shape
    channels, read, bins, periods, low = (
        masked.shape[1],
        recent.shape[1],
        recent.shape[3],
        early.shape[2],
        early.shape[3],
    )
    for t in range(frames):
        for o in range(made):
            c = o % channels
            real, imaginary = kept[t, o, 0], kept[t, o, 1]
            for i in range(pairs):
                real[i] = masked[t, c, 0, i] * gains[t, o, i]
                imaginary[i] = masked[t, c, 1, i] * gains[t, o, i]
            for f in range(read):
                for i in range(bins):
                    x, y = recent[t, f, 0, i], recent[t, f, 1, i]
                    a, b = filters[t, o, f, 0, i], filters[t, o, f, 1, i]
                    real[i] += x * a - y * b
                    imaginary[i] += x * b + y * a
            for p in range(periods):
                for i in range(low):
                    real[i] += earlier[t, c, p, 0, i] * early[t, o, p, i]
                    imaginary[i] += earlier[t, c, p, 1, i] * early[t, o, p, i]


@compiled(void(f4, f4, f4, f5, f3, f5, f4), fastmath=FUSED)
def gain_gradients(gradient, masked, recent, earlier, of_gains, of_filters, of_early):
    """Fills the gradients of gains, filters and `early` from that of `kept`."""
    frames, made, _, pairs = gradient.shape
    channels, read, bins = masked.shape[1], recent.shape[1], recent.shape[3]
    periods, low = of_early.shape[2], of_early.shape[3]
    for t in range(frames):
        for o in range(made):
            c = o % channels
            real, imaginary = gradient[t, o, 0], gradient[t, o, 1]
            for i in range(pairs):
                of_gains[t, o, i] = masked[t, c, 0, i] * real[i] + masked[t, c, 1, i] * imaginary[i]
            for f in range(read):
                for i in range(bins):
                    x, y = recent[t, f, 0, i], recent[t, f, 1, i]
                    of_filters[t, o, f, 0, i] = x * real[i] + y * imaginary[i]
                    of_filters[t, o, f, 1, i] = x * imaginary[i] - y * real[i]
            for p in range(periods):
                for i in range(low):
                    x, y = earlier[t, c, p, 0, i], earlier[t, c, p, 1, i]
                    of_early[t, o, p, i] = x * real[i] + y * imaginary[i]


@compiled(void(f4, f3, f5, f4, f4, f4, f5), fastmath=FUSED)
def pair_gradients(gradient, gains, filters, early, of_masked, of_recent, of_earlier):
    """Adds to the gradients of the pairs, which begin as zeros."""
    frames, made, _, pairs = gradient.shape
    channels, read, bins = of_masked.shape[1], of_recent.shape[1], of_recent.shape[3]
    periods, low = early.shape[2], early.shape[3]
    for t in range(frames):
        for o in range(made):
            c = o % channels
            real, imaginary = gradient[t, o, 0], gradient[t, o, 1]
            for i in range(pairs):
                of_masked[t, c, 0, i] += gains[t, o, i] * real[i]
                of_masked[t, c, 1, i] += gains[t, o, i] * imaginary[i]
            for f in range(read):
                for i in range(bins):
                    a, b = filters[t, o, f, 0, i], filters[t, o, f, 1, i]
                    of_recent[t, f, 0, i] += a * real[i] + b * imaginary[i]
                    of_recent[t, f, 1, i] += a * imaginary[i] - b * real[i]
            for p in range(periods):
                for i in range(low):
                    of_earlier[t, c, p, 0, i] += early[t, o, p, i] * real[i]
                    of_earlier[t, c, p, 1, i] += early[t, o, p, i] * imaginary[i]
