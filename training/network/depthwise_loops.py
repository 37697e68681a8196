"""The loops of a block's depthwise convolution on a CPU, compiled for bfloat16 when this is first imported.

Numba knows no bfloat16: those numbers come as their bits, `uint16`, and are the upper half of a float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import float32, int64, intp, uint16, void

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


@compiled(void(uint16[:, ::1], float32, rows), fastmath=FUSED)
def _activated(wide, slope, column):
    """PReLU of a whole sequence, float32."""
    frames, width = column.shape
    for t in range(frames):
        for i in range(width):
            u = widened(wide[t, i])
            column[t, i] = u if u > np.float32(0) else u * slope


@compiled(void(rows, rows, line, int64, int64, line), fastmath=FUSED)
def _mixed(column, weights, bias, dilation, t, mixed):
    """The convolution's sum at frame t."""
    width, kernel = len(mixed), len(weights)
    if kernel == 3 and t >= 2 * dilation:  # as nearly always: the sum stays in a register
        for i in range(width):
            older = bias[i] + column[t - 2 * dilation, i] * weights[0, i]
            mixed[i] = older + column[t - dilation, i] * weights[1, i] + column[t, i] * weights[2, i]
        return
    for i in range(width):
        mixed[i] = bias[i]
    for k in range(kernel):
        past = t - (kernel - 1 - k) * dilation
        if past >= 0:
            for i in range(width):
                mixed[i] += column[past, i] * weights[k, i]


@compiled(void(shorts, line, rows, line, intp, rows, line, shorts), fastmath=FUSED)
def forwards(wide, slope, weights, bias, dilation, column, mixed, out):
    """Fills `out` `[batch, frames, hidden]`; `column` `[frames, hidden]` and `mixed` `[hidden]` are room to work in."""
    batch, frames, width = wide.shape
    after = slope[1]
    for b in range(batch):
        _activated(wide[b], slope[0], column)
        for t in range(frames):
            _mixed(column, weights, bias, dilation, t, mixed)
            for i in range(width):
                x = mixed[i]
                out[b, t, i] = narrowed(x if x > np.float32(0) else x * after)


@compiled(void(shorts, line, rows, line, intp, shorts, rows, rows, rows, shorts, rows, line, rows), fastmath=FUSED)
def backwards(
    wide, slope, weights, bias, dilation, gradient, column, before, sums, of_wide, of_weights, of_bias, of_slope
):
    """Fills the gradients: `of_wide` like `wide`, `of_weights` `[kernel, hidden]`, `of_bias` `[hidden]`, all but
    `of_wide` zero before, and `of_slope` `[2, hidden]`, whose rows want to be summed.

    Room to work in: `column` and `before` (gradients of the sums) `[frames, hidden]`, `sums` `[2, hidden]`.
    """
    batch, frames, width = wide.shape
    kernel = len(weights)
    first, after = slope[0], slope[1]
    mixed, back = sums[0], sums[1]
    for b in range(batch):
        _activated(wide[b], first, column)
        for t in range(frames):
            _mixed(column, weights, bias, dilation, t, mixed)
            for i in range(width):
                x, g = mixed[i], widened(gradient[b, t, i])
                positive = x > np.float32(0)
                of_slope[1, i] += np.float32(0) if positive else g * x
                g = g if positive else g * after
                before[t, i] = g
                of_bias[i] += g
            for k in range(kernel):
                past = t - (kernel - 1 - k) * dilation
                if past >= 0:
                    for i in range(width):
                        of_weights[k, i] += before[t, i] * column[past, i]
        for t in range(frames):
            for i in range(width):
                back[i] = np.float32(0)
            for k in range(kernel):
                later = t + (kernel - 1 - k) * dilation
                if later < frames:
                    for i in range(width):
                        back[i] += before[later, i] * weights[k, i]
            for i in range(width):
                u, g = widened(wide[b, t, i]), back[i]
                positive = u > np.float32(0)
                of_slope[0, i] += np.float32(0) if positive else g * u
                of_wide[b, t, i] = narrowed(g if positive else g * first)
