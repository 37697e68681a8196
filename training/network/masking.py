"""Pairs times what the head says of them: masks, filters over the newest frames, gains of earlier periods."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("rtsep::masking", mutates_args=(), device_types="cpu")
def masking(masked: Tensor, recent: Tensor, earlier: Tensor, gains: Tensor, filters: Tensor, early: Tensor) -> Tensor:
    """What is kept of the pairs, `[frames, made, 2, pairs]`, on a CPU; all float32, shapes as in `masking_loops`.

    The same sums in torch are a dozen operators over parts of frames, and the gradient that its compiler makes of them
    computes one number after another, for those parts are views of one row.
    """
    from training.network.masking_loops import forwards  # compiled here, for who needs it

    kept = gains.new_empty(*gains.shape[:2], 2, gains.shape[2])
    forwards(*_arrays(masked, recent, earlier, gains, filters, early, kept))
    return kept


@masking.register_fake
def _(masked: Tensor, recent: Tensor, earlier: Tensor, gains: Tensor, filters: Tensor, early: Tensor) -> Tensor:
    return gains.new_empty(*gains.shape[:2], 2, gains.shape[2])


@torch.library.custom_op("rtsep::masking_gain_gradients", mutates_args=(), device_types="cpu")
def _gain_gradients(
    gradient: Tensor, masked: Tensor, recent: Tensor, earlier: Tensor, gains: Tensor, filters: Tensor, early: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    from training.network.masking_loops import gain_gradients

    made = _empty(gains, filters, early)
    gain_gradients(*_arrays(gradient, masked, recent, earlier, *made))
    return made


@_gain_gradients.register_fake
def _(
    gradient: Tensor, masked: Tensor, recent: Tensor, earlier: Tensor, gains: Tensor, filters: Tensor, early: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty(gains, filters, early)


@torch.library.custom_op("rtsep::masking_pair_gradients", mutates_args=(), device_types="cpu")
def _pair_gradients(
    gradient: Tensor, masked: Tensor, recent: Tensor, earlier: Tensor, gains: Tensor, filters: Tensor, early: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    from training.network.masking_loops import pair_gradients

    made = _empty(masked, recent, earlier)
    for each in made:
        each.zero_()
    pair_gradients(*_arrays(gradient, gains, filters, early, *made))
    return made


@_pair_gradients.register_fake
def _(
    gradient: Tensor, masked: Tensor, recent: Tensor, earlier: Tensor, gains: Tensor, filters: Tensor, early: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty(masked, recent, earlier)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    nothing = (None, None, None)
    learn_pairs, learn_gains = any(ctx.needs_input_grad[:3]), any(ctx.needs_input_grad[3:])
    return (
        *(_pair_gradients(gradient, *ctx.saved_tensors) if learn_pairs else nothing),
        *(_gain_gradients(gradient, *ctx.saved_tensors) if learn_gains else nothing),
    )


masking.register_autograd(_backward, setup_context=_keep)


def _arrays(*tensors: Tensor) -> list[Any]:
    return [each.detach().contiguous().numpy() for each in tensors]


def _empty(first: Tensor, second: Tensor, third: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    made = [torch.empty_like(each, memory_format=torch.contiguous_format) for each in (first, second, third)]
    return made[0], made[1], made[2]
