"""Waves at the 16 kHz that networks which judge speech hear."""

from __future__ import annotations

import math

import torch
from torch import Tensor

RATE = 16000


def narrow(wave: Tensor, rate: int) -> Tensor:
    """`[…, samples]` at `rate` Hz, 16000 or 48000, at 16 kHz, by the FFT; gradients go through."""
    factor = rate // RATE
    if factor == 1:
        return wave.float()
    size = wave.shape[-1] // factor
    spectrum = torch.fft.rfft(wave[..., : size * factor].float())[..., : size // 2 + 1]
    hertz = torch.arange(spectrum.shape[-1], device=wave.device) * (RATE / size)
    taper = 0.5 + 0.5 * torch.cos(math.pi * ((hertz - 7400) / 600).clamp(0, 1))
    return torch.fft.irfft(spectrum * taper / factor, size)
