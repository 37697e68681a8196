"""The loops over frames of the recurrence, compiled for float32 when this is first imported: of one thread."""

from __future__ import annotations

from numba import float32, void

from rtsep.engine.compiled.elementary import FUSED, compiled, sigmoid, tangent

line, rows, frames = float32[::1], float32[:, ::1], float32[:, :, ::1]


@compiled(void(*[rows] * 3), fastmath=FUSED)
def _add_product(x, weight, y):
    """y[r] += x[r] @ weight, of few rows: `x` `[rows, depth]`, `weight` `[depth, width]`, `y` `[rows, width]`."""
    count, depth = x.shape
    width = weight.shape[1]
    whole = depth // 4 * 4
    for k in range(0, whole, 4):
        for row in range(count):
            a, b, c, d = x[row, k], x[row, k + 1], x[row, k + 2], x[row, k + 3]
            for i in range(width):
                y[row, i] += a * weight[k, i] + b * weight[k + 1, i] + c * weight[k + 2, i] + d * weight[k + 3, i]
    for k in range(whole, depth):
        for row in range(count):
            a = x[row, k]
            for i in range(width):
                y[row, i] += a * weight[k, i]


@compiled(void(frames, rows, line, *[frames] * 4, rows), fastmath=FUSED)
def forwards(gates, weight, bias, units, both, fresh, past, products):
    """Fills `units` from its second frame on, and what the gradient needs; `weight` `[width, 3 × width]`."""
    count, batch, width = fresh.shape
    for frame in range(count):
        for row in range(batch):
            for i in range(3 * width):
                products[row, i] = bias[i]
        _add_product(units[frame], weight, products)
        for row in range(batch):
            for i in range(2 * width):
                both[frame, row, i] = sigmoid(gates[frame, row, i] + products[row, i])
            for i in range(width):
                held = products[row, 2 * width + i]
                past[frame, row, i] = held
                new = tangent(gates[frame, row, 2 * width + i] + both[frame, row, i] * held)
                fresh[frame, row, i] = new
                units[frame + 1, row, i] = new + both[frame, row, width + i] * (units[frame, row, i] - new)


@compiled(void(frames, rows, *[frames] * 4, rows), fastmath=FUSED)
def backwards(gradient, weight, factors, update, whole, products, later):
    """Fills `whole`, the gradient of each frame's units, and `products` of it and `factors`, `[…, 3 × width]`."""
    count, batch, width = whole.shape
    for frame in range(count - 1, -1, -1):
        for row in range(batch):
            for i in range(width):
                here = gradient[frame, row, i] + later[row, i]
                whole[frame, row, i] = here
                later[row, i] = here * update[frame, row, i]
                for part in range(3):
                    products[frame, row, part * width + i] = here * factors[frame, row, part * width + i]
        _add_product(products[frame], weight, later)
