"""The recurrence of gated recurrent units (Cho et al. 2014, arXiv 1406.1078; gates as in `torch.nn.GRU`) on a CPU.

`torch.nn.GRU` has a CPU add up the gradient of its weights frame by frame, which reads and writes all of them for every
frame. Here that is one product over all frames, and what the gradient needs of each frame is made for all at once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Recurrence(torch.autograd.Function):
    """Gates of the input `[frames, batch, 3 × width]`, weight `[3 × width, width]`, bias → `[frames, batch, width]`.

    `before` is the state before the first frame, `[batch, width]`; no gradient goes into it.
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None) -> Tensor:
        frames, batch, width = *gates.shape[:2], weight.shape[1]
        both_in, fresh_in = gates.split([2 * width, width], -1)
        units = gates.new_zeros(frames + 1, batch, width)  # the first is the state before the first frame
        if before is not None:
            units[0] = before
        both = torch.empty_like(both_in)
        fresh, past = torch.empty_like(fresh_in), torch.empty_like(fresh_in)
        turned = weight.t()
        for frame in range(frames):
            products = torch.addmm(bias, units[frame], turned)
            torch.add(both_in[frame], products[:, : 2 * width], out=both[frame]).sigmoid_()
            past[frame] = products[:, 2 * width :]
            torch.addcmul(fresh_in[frame], both[frame, :, :width], past[frame], out=fresh[frame]).tanh_()
            torch.lerp(fresh[frame], units[frame], both[frame, :, width:], out=units[frame + 1])
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
        factors = torch.stack(
            [to_fresh * past * reset * (1 - reset), (before - fresh) * update * (1 - update), to_fresh * reset], 2
        )
        products = torch.empty_like(factors)
        whole = torch.empty_like(fresh)
        later = torch.zeros_like(fresh[0])
        for frame in reversed(range(frames)):
            torch.add(gradients[0][frame], later, out=whole[frame])
            torch.mul(whole[frame].unsqueeze(1), factors[frame], out=products[frame])
            later = torch.addmm(whole[frame] * update[frame], products[frame].flatten(1), weight)
        of_gates = torch.cat([products[:, :, :2].flatten(2), whole * to_fresh], -1)
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
