"""What lies between the two products of a block: PReLU, dilated depthwise convolution, PReLU; in bfloat16 on a CPU.

What the compiler of torch makes of its gradient reads and writes whole sequences many times over: half of the time of
a block. Here each is read once (`depthwise_loops`), sums are in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("rtsep::depthwise", mutates_args=(), device_types="cpu")
def depthwise(wide: Tensor, slope: Tensor, weights: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """`wide` bfloat16 `[batch, frames, hidden]` → the same shape; `slope` `[2]`, `weights` `[3, hidden]` (oldest
    first) and `bias` `[hidden]` are float32. Frames before the first are silent."""
    from training.network.depthwise_loops import forwards  # compiled here, for who needs it

    wide, out = wide.contiguous(), torch.empty_like(wide, memory_format=torch.contiguous_format)
    given = [each.detach().contiguous().numpy() for each in (slope, weights, bias)]
    arrays = [_bits(wide), *given, dilation, _bits(out)]
    forwards(*arrays)
    return out


@depthwise.register_fake
def _(wide: Tensor, slope: Tensor, weights: Tensor, bias: Tensor, dilation: int) -> Tensor:
    return torch.empty_like(wide, memory_format=torch.contiguous_format)


@torch.library.custom_op("rtsep::depthwise_backward", mutates_args=(), device_types="cpu")
def _depthwise_backward(
    gradient: Tensor, wide: Tensor, slope: Tensor, weights: Tensor, bias: Tensor, dilation: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    from training.network.depthwise_loops import backwards

    frames, width = wide.shape[1:]
    wide, of_wide = wide.contiguous(), torch.empty_like(wide, memory_format=torch.contiguous_format)
    given = [each.detach().contiguous().numpy() for each in (slope, weights, bias)]
    before = slope.new_empty(frames, width)
    of_weights, of_bias, of_slope = torch.zeros_like(weights), torch.zeros_like(bias), slope.new_zeros(2, width)
    made = _bits(of_wide), of_weights.numpy(), of_bias.numpy(), of_slope.numpy()
    arrays = [_bits(wide), *given, dilation, _bits(gradient.contiguous()), before.numpy(), *made]
    backwards(*arrays)
    return of_wide, of_slope.sum(1), of_weights, of_bias


@_depthwise_backward.register_fake
def _(
    gradient: Tensor, wide: Tensor, slope: Tensor, weights: Tensor, bias: Tensor, dilation: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    of_wide = torch.empty_like(wide, memory_format=torch.contiguous_format)
    return of_wide, torch.empty_like(slope), torch.empty_like(weights), torch.empty_like(bias)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.dilation = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return *_depthwise_backward(gradient, *ctx.saved_tensors, ctx.dilation), None


depthwise.register_autograd(_backward, setup_context=_keep)


def _bits(numbers: Tensor) -> Any:
    """bfloat16 as an array of their bits, uint16."""
    return numbers.detach().view(torch.int16).numpy().view("uint16")
