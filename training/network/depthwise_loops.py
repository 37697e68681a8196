"""The loops of a block's depthwise convolution on a CPU, compiled for bfloat16 when this is first imported.

Numba knows no bfloat16: those numbers come as their bits, `uint16`, and are the upper half of a float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import float32, intp, uint16, void
from numba.core.types import UniTuple

from rtsep.engine.compiled.elementary import FUSED, compiled
from rtsep.engine.compiled.memory import intrinsic

_FLOAT, _BITS, _SHORT = ir.FloatType(), ir.IntType(32), ir.IntType(16)

shorts, rows, line = uint16[:, :, ::1], float32[:, ::1], float32[::1]


@intrinsic
def widened(typing: Any, bits: Any) -> Any:
    """The float32 that the bits of a bfloat16 stand for."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.shl(builder.zext(arguments[0], _BITS), ir.Constant(_BITS, 16)), _FLOAT)

    return float32(uint16), code


@intrinsic
def narrowed(typing: Any, value: Any) -> Any:
    """The bits of the bfloat16 nearest to a float32, of two the even one; what is not a number may become infinite."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], _BITS)
        odd = builder.and_(builder.lshr(bits, ir.Constant(_BITS, 16)), ir.Constant(_BITS, 1))
        rounded = builder.add(bits, builder.add(odd, ir.Constant(_BITS, 0x7FFF)))
        return builder.trunc(builder.lshr(rounded, ir.Constant(_BITS, 16)), _SHORT)

    return uint16(float32), code


@compiled(float32(uint16, float32), fastmath=FUSED)
def _activated(bits, slope):
    """PReLU of a bfloat16."""
    u = widened(bits)
    return u if u > np.float32(0) else u * slope


@compiled(float32(UniTuple(uint16, 3), *[float32] * 4), fastmath=FUSED)
def _weighted(taps, slope, newest, old, oldest):
    """The sum of three taps, newest first, each times its weight."""
    total = _activated(taps[0], slope) * newest
    return total + _activated(taps[1], slope) * old + _activated(taps[2], slope) * oldest


@compiled(void(shorts, line, rows, line, intp, shorts), fastmath=FUSED)
def forwards(wide, slope, weights, bias, dilation, out):
    """Fills `out` `[batch, frames, hidden]`. What a tap reads before the first frame is that frame, times nothing."""
    batch, frames, width = wide.shape
    first, after, nothing = slope[0], slope[1], np.float32(0)
    for b in range(batch):
        for t in range(frames):
            old, oldest = max(t - dilation, 0), max(t - 2 * dilation, 0)
            there = np.float32(t >= dilation), np.float32(t >= 2 * dilation)
            for i in range(width):
                taps = wide[b, t, i], wide[b, old, i], wide[b, oldest, i]
                x = bias[i] + _weighted(taps, first, weights[2, i], there[0] * weights[1, i], there[1] * weights[0, i])
                out[b, t, i] = narrowed(x if x > nothing else x * after)


@compiled(void(shorts, line, rows, line, intp, shorts, rows, shorts, rows, line, rows), fastmath=FUSED)
def backwards(wide, slope, weights, bias, dilation, gradient, before, of_wide, of_weights, of_bias, of_slope):
    """Fills the gradients: `of_wide` like `wide`, `of_weights` `[3, hidden]`, `of_bias` `[hidden]`, all but `of_wide`
    zero before, and `of_slope` `[2, hidden]`, whose rows want to be summed.

    Room to work in: `before` `[frames, hidden]`, the gradients of the convolution's sums.
    """
    batch, frames, width = wide.shape
    first, after, nothing = slope[0], slope[1], np.float32(0)
    for b in range(batch):
        for t in range(frames):
            old, oldest = max(t - dilation, 0), max(t - 2 * dilation, 0)
            there = np.float32(t >= dilation), np.float32(t >= 2 * dilation)
            for i in range(width):
                taps = wide[b, t, i], wide[b, old, i], wide[b, oldest, i]
                x = bias[i] + _weighted(taps, first, weights[2, i], there[0] * weights[1, i], there[1] * weights[0, i])
                g = widened(gradient[b, t, i])
                of_slope[1, i] += nothing if x > nothing else g * x
                before[t, i] = g if x > nothing else g * after
            for i in range(width):
                of_bias[i] += before[t, i]
                of_weights[2, i] += before[t, i] * _activated(wide[b, t, i], first)
            for i in range(width):
                of_weights[1, i] += there[0] * before[t, i] * _activated(wide[b, old, i], first)
            for i in range(width):
                of_weights[0, i] += there[1] * before[t, i] * _activated(wide[b, oldest, i], first)
        for t in range(frames):
            soon, late = min(t + dilation, frames - 1), min(t + 2 * dilation, frames - 1)
            there = np.float32(t + dilation < frames), np.float32(t + 2 * dilation < frames)
            for i in range(width):
                g = before[t, i] * weights[2, i] + there[0] * before[soon, i] * weights[1, i]
                g += there[1] * before[late, i] * weights[0, i]
                u = widened(wide[b, t, i])
                of_slope[0, i] += nothing if u > nothing else g * u
                of_wide[b, t, i] = narrowed(g if u > nothing else g * first)
