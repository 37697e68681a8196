"""Convolutions along the frequencies of a fine spectrum: what is learnt of one pitch holds for every other.

On a logarithmic axis the harmonics of a voice, a siren or a bird lie at the same distances wherever their pitch is
(Bittner et al. 2017, "Deep salience representations for F0 estimation", stack them in the same way).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.fine_spectrum import PER_OCTAVE, FineSpectrum

HARMONICS = (0.5, 1, 2, 3, 4)  # that a bin is seen with, as multiples of its frequency
KERNELS = (7, 5)  # of the first convolution and of all others
STRIDE = 2


class HarmonicFront(nn.Module):
    """A fine spectrum `[..., features of its groups]` → `[..., features]`.

    Each bin is seen together with its harmonics; then come convolutions with a stride along the bins, one a number of
    `channels`, each followed by SiLU.
    """

    def __init__(self, fine: FineSpectrum, channels: list[int]):
        super().__init__()
        self.sizes, self.sounds = fine.sizes, fine.channels
        self.bins = sum(fine.sizes) // fine.channels
        self.shifts = [round(PER_OCTAVE * np.log2(harmonic)) for harmonic in HARMONICS]
        layers: list[nn.Module] = []
        self.counts = [self.bins]  # positions before and after each convolution
        for number, width in enumerate(channels):
            kernel = KERNELS[min(number, 1)]
            before = channels[number - 1] if number else self.sounds * len(HARMONICS)
            layers += [nn.Conv1d(before, width, kernel, STRIDE, kernel // 2), nn.SiLU()]
            self.counts.append((self.counts[-1] - 1) // STRIDE + 1)
        self.layers = nn.Sequential(*layers)
        self.features = channels[-1] * self.counts[-1]

    @property
    def convolutions(self) -> list[nn.Conv1d]:
        return [layer for layer in self.layers if isinstance(layer, nn.Conv1d)]

    @property
    def products(self) -> int:
        """Multiply-adds of a spectrum."""
        return sum(count * each.weight.numel() for count, each in zip(self.counts[1:], self.convolutions, strict=True))

    def forward(self, spectrum: Tensor) -> Tensor:
        stacked = self._harmonics(spectrum.flatten(0, -2)).transpose(1, 2)
        return self.layers(stacked).flatten(1).unflatten(0, spectrum.shape[:-1])

    def step(self, spectrum: Tensor) -> Tensor:
        """The same of one spectrum `[1, …]`; convolutions as plain products, for the step graph."""
        x = self._harmonics(spectrum)[0]  # [bins, channels]
        for count, convolution in zip(self.counts[1:], self.convolutions, strict=True):
            kernel = convolution.kernel_size[0]
            padded = _padded(x, kernel // 2, kernel // 2 + STRIDE)
            taps = [padded[tap : tap + STRIDE * count : STRIDE] for tap in range(kernel)]
            weight = convolution.weight.transpose(1, 2).flatten(1)  # tap by tap
            x = F.silu(F.linear(torch.cat(taps, -1), weight, convolution.bias))
        return x.t().reshape(1, -1)

    def _harmonics(self, spectrum: Tensor) -> Tensor:
        """`[batch, features of all groups]` → `[batch, bins, channels × harmonics]`, zero beyond the ends."""
        groups = [group.unflatten(-1, (self.sounds, -1)) for group in spectrum.split(self.sizes, -1)]
        low, high = max(0, -min(self.shifts)), max(0, *self.shifts)
        padded = _padded(torch.cat(groups, -1).transpose(-2, -1), low, high)
        return torch.cat([padded[..., low + shift : low + shift + self.bins, :] for shift in self.shifts], -1)


def _padded(x: Tensor, before: int, after: int) -> Tensor:
    """Zeros around the last axis but one, joined to it: a step graph has no other way that is compiled."""
    zeros = x.new_zeros(*x.shape[:-2], before, x.shape[-1]), x.new_zeros(*x.shape[:-2], after, x.shape[-1])
    return torch.cat([zeros[0], x, zeros[1]], -2)
