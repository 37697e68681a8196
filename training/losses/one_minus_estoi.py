"""A differentiable ESTOI (Jensen & Taal 2016) on the spectra that `compressed_spectrum` shares."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.losses.loss import Context, Loss, Setup, Sound, mono_only

SEGMENT = 36  # frames
HOP = 512  # samples from frame to frame


class OneMinusEstoi(Loss):
    """`Intelligibility` of one source; only where it sounds: an absent voice has no intelligibility to lose."""

    present_above = 1e-4

    def __init__(self, setup: Setup):
        super().__init__(setup)
        mono_only(setup, "one_minus_estoi")
        if setup.seconds * setup.sample_rate < SEGMENT * HOP:
            least = SEGMENT * HOP / setup.sample_rate
            raise ValueError(
                f"one_minus_estoi needs pieces of {least:.2f} s at least that count, not {setup.seconds:.2f} s."
            )
        self.measure = Intelligibility(setup.sample_rate)

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        return self.measure(estimate.spectrum(hop=HOP)[:, 0], reference.spectrum(hop=HOP)[:, 0])


def third_octaves(bins: int, rate: int, bands: int = 15, lowest: float = 150.0) -> Tensor:
    """Band matrix float32 `[bins, bands]`, one-third octaves from `lowest` Hz; a bin is shared by share of overlap."""
    width = rate / 2 / (bins - 1)
    low = (np.arange(bins) - 0.5) * width
    centre = lowest * 2 ** (np.arange(bands) / 3)
    begin, end = centre * 2 ** (-1 / 6), centre * 2 ** (1 / 6)
    overlap = np.minimum(low[:, None] + width, end) - np.maximum(low[:, None], begin)
    return torch.from_numpy((np.clip(overlap, 0, None) / width).astype(np.float32))


class Intelligibility(torch.nn.Module):
    """1 − ESTOI of spectra `[batch, 2, frames, bins]` → `[batch]`, 0 to 2; lower is better.

    As the paper: third-octave envelopes, segments of `segment` frames, rows then columns normalised, correlated.
    Differences: frames of 21 ms every 10.7 ms at 48 kHz instead of 25.6 ms every 12.8 ms at 10 kHz, and instead of
    cutting silent frames out, segments count by how many of their frames lie within 40 dB of the loudest.
    """

    bands: Tensor

    def __init__(self, rate: int, bins: int = 513, segment: int = SEGMENT):
        super().__init__()
        self.segment = segment
        self.register_buffer("bands", third_octaves(bins, rate), persistent=False)

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        energy = reference.square().sum((1, 3))
        active = (energy > energy.amax(-1, keepdim=True) * 1e-4) & (energy > 1e-9)
        weight = active.float().unfold(-1, self.segment, self.segment // 4).mean(-1)
        similarity = (self._normalised(estimate) * self._normalised(reference)).sum((-1, -2)) / self.segment
        return ((1 - similarity) * weight).sum(-1) / weight.sum(-1).clamp(min=1e-3)

    def _normalised(self, pairs: Tensor) -> Tensor:
        envelope = (pairs.square().sum(1) @ self.bands + 1e-8).sqrt()  # [batch, frames, bands]
        parts = envelope.unfold(1, self.segment, self.segment // 4)  # [batch, segments, bands, segment]
        for axis in (-1, -2):
            parts = parts - parts.mean(axis, keepdim=True)
            parts = parts / (parts.square().sum(axis, keepdim=True) + 1e-10).sqrt()
        return parts
