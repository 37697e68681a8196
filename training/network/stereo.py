"""Two channels as middle and side: a lead voice lies in the middle, and what is played around it mostly does not."""

from __future__ import annotations

import torch
from torch import Tensor


def turned(sound: Tensor) -> Tensor:
    """Sum and difference of two channels, `[..., 2, samples]`: left and right from middle and side, and twice the way
    back."""
    first, second = sound.split(1, -2)
    return torch.cat([first + second, first - second], -2)


def between(pairs: Tensor) -> Tensor:
    """Where each pair's sound comes from, `[..., 2, 2, pairs]` (middle and side; real, imaginary) → `[..., 2 × pairs]`.

    Middle times conjugate of side over their mean power: the real part is the balance of the powers of left and right,
    the imaginary part their phase difference (their cross-spectrum's), both in ±1; 0 where a sound is in the middle.
    """
    middle, side = pairs.split(1, -3)
    scale = 2 / (pairs.square().sum((-3, -2)) + 1e-7)
    balance = (middle * side).sum(-2).squeeze(-2) * scale
    real, imaginary = middle.split(1, -2)
    side_real, side_imaginary = side.split(1, -2)
    phase = (imaginary * side_real - real * side_imaginary).squeeze(-2).squeeze(-2) * scale
    return torch.cat([balance, phase], -1)
