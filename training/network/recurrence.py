"""The recurrence of gated recurrent units (Cho et al. 2014, arXiv 1406.1078; gates as in `torch.nn.GRU`) on a CPU.

`torch.nn.GRU` has a CPU add up the gradient of its weights frame by frame, which reads and writes all of them for every
frame. Here that is one product over all frames, and what goes from frame to frame is one compiled loop: a call of torch
for each sum of a frame would take longer than the sums.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from numba import njit, types
from numba.extending import overload
from torch import Tensor, nn
from torch.nn import functional as F

from rtsep.engine.compiled.elementary import sigmoid, tangent

kernel: Any = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


def _sigmoid(x: Any) -> Any: ...


def _tanh(x: Any) -> Any: ...


@overload(_sigmoid)
def _sigmoid_of(x):
    """Of float32 the step's own, of which LLVM makes vectors; of float64 the exact one."""
    if x == types.float32:
        return lambda x: sigmoid(x)
    return lambda x: 1 / (1 + math.exp(-x))


@overload(_tanh)
def _tanh_of(x):
    if x == types.float32:
        return lambda x: tangent(x)
    return lambda x: math.tanh(x)


@kernel
def _add_product(x, weight, y):
    """y[r] += x[r] @ weight, of few rows: `x` `[rows, depth]`, `weight` `[depth, width]`, `y` `[rows, width]`."""
    rows, depth = x.shape
    width = weight.shape[1]
    whole = depth // 4 * 4
    for k in range(0, whole, 4):
        for row in range(rows):
            a, b, c, d = x[row, k], x[row, k + 1], x[row, k + 2], x[row, k + 3]
            for i in range(width):
                y[row, i] += a * weight[k, i] + b * weight[k + 1, i] + c * weight[k + 2, i] + d * weight[k + 3, i]
    for k in range(whole, depth):
        for row in range(rows):
            a = x[row, k]
            for i in range(width):
                y[row, i] += a * weight[k, i]


@kernel
def _forwards(gates, weight, bias, units, both, fresh, past, products):
    """Fills `units` from its second frame on, and what the gradient needs; `weight` `[width, 3 × width]`."""
    frames, batch, width = fresh.shape
    for frame in range(frames):
        for row in range(batch):
            for i in range(3 * width):
                products[row, i] = bias[i]
        _add_product(units[frame], weight, products)
        for row in range(batch):
            for i in range(2 * width):
                both[frame, row, i] = _sigmoid(gates[frame, row, i] + products[row, i])
            for i in range(width):
                held = products[row, 2 * width + i]
                past[frame, row, i] = held
                new = _tanh(gates[frame, row, 2 * width + i] + both[frame, row, i] * held)
                fresh[frame, row, i] = new
                units[frame + 1, row, i] = new + both[frame, row, width + i] * (units[frame, row, i] - new)


@kernel
def _backwards(gradient, weight, factors, update, whole, products, later):
    """Fills `whole`, the gradient of each frame's units, and `products` of it and `factors`, `[…, 3 × width]`."""
    frames, batch, width = whole.shape
    for frame in range(frames - 1, -1, -1):
        for row in range(batch):
            for i in range(width):
                here = gradient[frame, row, i] + later[row, i]
                whole[frame, row, i] = here
                later[row, i] = here * update[frame, row, i]
                for part in range(3):
                    products[frame, row, part * width + i] = here * factors[frame, row, part * width + i]
        _add_product(products[frame], weight, later)


class _Recurrence(torch.autograd.Function):
    """Gates of the input `[frames, batch, 3 × width]`, weight `[3 × width, width]`, bias → `[frames, batch, width]`.

    `before` is the state before the first frame, `[batch, width]`; no gradient goes into it.
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None) -> Tensor:
        frames, batch, width = *gates.shape[:2], weight.shape[1]
        units = gates.new_zeros(frames + 1, batch, width)  # the first is the state before the first frame
        if before is not None:
            units[0] = before
        both = gates.new_empty(frames, batch, 2 * width)
        fresh, past = gates.new_empty(2, frames, batch, width)
        products = gates.new_empty(batch, 3 * width)
        given = (gates.contiguous(), weight.t().contiguous(), bias)
        _forwards(*(each.detach().numpy() for each in (*given, units, both, fresh, past, products)))
        ctx.save_for_backward(units, both, fresh, past, weight)
        return units[1:].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        units, both, fresh, past, weight = ctx.saved_tensors
        frames, batch, width = fresh.shape
        reset, update = both.split(width, -1)
        before = units[:-1]
        # What the gradient of a frame's units is multiplied by, for the products with the past: reset, update, fresh.
        to_fresh = (1 - update) * (1 - fresh * fresh)
        factors = torch.cat(
            [to_fresh * past * reset * (1 - reset), (before - fresh) * update * (1 - update), to_fresh * reset], -1
        )
        products, whole = torch.empty_like(factors), torch.empty_like(fresh)
        later = torch.zeros_like(fresh[0])
        given = (gradients[0].contiguous(), weight.contiguous(), factors, update.contiguous())
        _backwards(*(each.detach().numpy() for each in (*given, whole, products, later)))
        of_gates = torch.cat([products[..., : 2 * width], whole * to_fresh], -1)
        flat = products.view(frames * batch, 3 * width)
        return of_gates, flat.t() @ before.reshape(-1, width), flat.sum(0), None


def gated_recurrence(gru: nn.GRU, x: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What `gru(x, before)` is for float32 `x` `[batch, frames, width]`, `gru` of one direction and `batch_first`.

    `before` and the state at the end, which comes second, are `[layers, batch, width]`; on a CPU no gradient goes into
    `before`.
    """
    if x.device.type != "cpu":
        return gru(x, before)
    x, ends = x.transpose(0, 1), []
    for layer in range(gru.num_layers):
        weights = {name: getattr(gru, f"{name}_l{layer}") for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")}
        gates = F.linear(x, weights["weight_ih"], weights["bias_ih"])
        state = None if before is None else before[layer]
        x = _Recurrence.apply(gates, weights["weight_hh"], weights["bias_hh"], state)
        ends.append(x[-1])
    return x.transpose(0, 1), torch.stack(ends)
