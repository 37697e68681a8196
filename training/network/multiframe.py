"""Complex filters over the newest frames of a few low bins, beside the masks (Mack & Habets 2019, arXiv 1904.08369).

A bin of the short window is wider than the distance of two harmonics, so that a mask cannot take out what lies between
them. A filter over five overlapping frames can: together they see 16 ms, and still nothing of the future (compare
Schröter et al. 2022, arXiv 2205.05474 and their hearing-aid filter bank).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

GENTLE = 0.3  # of a filter for an output of one: the optimiser's first steps must not drown what the masks let through


@torch.compiler.disable  # its gradient, a sum of shifted copies, takes the compiler many minutes
def recent(pairs: Tensor, frames: int) -> Tensor:
    """Each frame with those before it: `[batch, T, 2, bins]` → `[batch, T, frames, 2, bins]`, newest first.

    Before the first frame there is silence.
    """
    count = pairs.shape[1]
    padded = F.pad(pairs, (0, 0, 0, 0, frames - 1, 0))
    return torch.stack([padded[:, frames - 1 - age : frames - 1 - age + count] for age in range(frames)], 2)


def newest(window: Tensor, length: int, frames: int, hop: int) -> Tensor:
    """The newest short windows in one analysis window, for the step form: `[..., A]` → `[..., frames, length]`."""
    end = window.shape[-1]
    return torch.stack([window[..., end - length - age * hop : end - age * hop] for age in range(frames)], -2)


def features(recent: Tensor) -> Tensor:
    """How the phase moved: newest times conjugate of older over their mean power, `[..., 2 × (frames − 1) × bins]`."""
    real, imaginary = recent[..., :1, 0, :], recent[..., :1, 1, :]
    past_real, past_imaginary = recent[..., 1:, 0, :], recent[..., 1:, 1, :]
    power = recent.square().sum(-2)
    scale = 2 / (power[..., :1, :] + power[..., 1:, :] + 1e-7)
    turned = torch.stack(
        [
            (real * past_real + imaginary * past_imaginary) * scale,
            (imaginary * past_real - real * past_imaginary) * scale,
        ],
        -3,
    )
    return turned.flatten(-3)


def bounded(filters: Tensor) -> Tensor:
    """What a head says of filters, within −1 to 1: it keeps a live stream finite whatever comes in."""
    return torch.tanh(filters * GENTLE)


def filtered(recent: Tensor, filters: Tensor) -> Tensor:
    """Sum over the frames of `recent` `[..., frames, 2, bins]` times the bounded `filters`.

    `filters` `[..., sources, frames, 2, bins]`; returns `[..., sources, 2, bins]`.
    """
    weights = bounded(filters)
    real, imaginary = recent.unsqueeze(-4).unbind(-2)
    weight_real, weight_imaginary = weights.unbind(-2)
    return torch.stack(
        [
            (real * weight_real - imaginary * weight_imaginary).sum(-2),
            (real * weight_imaginary + imaginary * weight_real).sum(-2),
        ],
        -2,
    )
