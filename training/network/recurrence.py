"""The recurrence of gated recurrent units (Cho et al. 2014, arXiv 1406.1078; gates as in `torch.nn.GRU`) on a CPU.

`torch.nn.GRU` has a CPU add up the gradient of its weights frame by frame, which reads and writes all of them for every
frame. Here that is one product over all frames, and what goes from frame to frame is one compiled loop of one thread: a
call of torch for each sum of a frame would take longer than the sums.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class _Recurrence(torch.autograd.Function):
    """Gates of the input `[frames, batch, 3 × width]`, weight `[3 × width, width]`, bias → `[frames, batch, width]`.

    `before` is the state before the first frame, `[batch, width]`; no gradient goes into it.
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None) -> Tensor:
        from training.network.recurrent_loops import forwards  # compiled here, for who needs it

        frames, batch, width = *gates.shape[:2], weight.shape[1]
        units = gates.new_zeros(frames + 1, batch, width)  # the first is the state before the first frame
        if before is not None:
            units[0] = before
        both = gates.new_empty(frames, batch, 2 * width)
        fresh, past = gates.new_empty(2, frames, batch, width)
        products = gates.new_empty(batch, 3 * width)
        given = (gates.contiguous(), weight.t().contiguous(), bias)
        forwards(*(each.detach().numpy() for each in (*given, units, both, fresh, past, products)))
        ctx.save_for_backward(units, both, fresh, past, weight)
        return units[1:].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        from training.network.recurrent_loops import backwards

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
        backwards(*(each.detach().numpy() for each in (*given, whole, products, later)))
        of_gates = torch.cat([products[..., : 2 * width], whole * to_fresh], -1)
        flat = products.view(frames * batch, 3 * width)
        return of_gates, flat.t() @ before.reshape(-1, width), flat.sum(0), None


def gated_recurrence(gru: nn.GRU, x: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What `gru(x, before)` is for `x` `[batch, frames, width]`, with a `gru` of one direction and `batch_first`.

    `before` and the state at the end, which comes second, are `[layers, batch, width]`; on a CPU no gradient goes into
    `before`.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32:
        return gru(x, before)
    x, ends = x.transpose(0, 1), []
    for layer in range(gru.num_layers):
        weights = {name: getattr(gru, f"{name}_l{layer}") for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")}
        gates = F.linear(x, weights["weight_ih"], weights["bias_ih"])
        state = None if before is None else before[layer]
        x = _Recurrence.apply(gates, weights["weight_hh"], weights["bias_hh"], state)
        ends.append(x[-1])
    return x.transpose(0, 1), torch.stack(ends)
