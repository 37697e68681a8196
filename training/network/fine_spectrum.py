"""A spectrum fine enough to tell harmonics apart, far longer than a hop, that a separator looks at now and then."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.filterbank import LOG_OFFSET, LOG_SCALE

LOWEST_HZ = 60.0
PER_OCTAVE = 36  # bins: a third of a semitone
# Bins up to so many Hz look at this share of the window, summed by so many samples: lower ones need longer windows, and
# fewer samples a second. What a sum of samples folds over lies an octave and more above, 22 dB down and weak in music.
GROUPS = ((750.0, 1.0, 4), (1500.0, 0.5, 2), (3000.0, 0.25, 1), (8000.0, 0.25, 1))
SCALE = 64.0  # to the levels of the encoder's pairs


class FineSpectrum(nn.Module):
    """Log powers of bins from 60 Hz to 8 kHz, a third of a semitone apart, in as many groups as `GROUPS` has.

    A group is taken from windows `[..., channels, window]`, newest samples last, as `[..., channels × bins]`. Low bins
    see the whole window, 85 ms of 4096 samples at 48 kHz: partials 50 Hz apart. Its weights are fixed.
    """

    def __init__(self, sample_rate: int, window: int, channels: int):
        super().__init__()
        self.window, self.channels = window, channels
        edges = [LOWEST_HZ, *(min(top, 0.45 * sample_rate) for top, *_ in GROUPS)]
        count = round(PER_OCTAVE * np.log2(edges[-1] / LOWEST_HZ))
        centres = LOWEST_HZ * 2 ** (np.arange(count) / PER_OCTAVE)
        for number, ((low, high), (_, share, sums)) in enumerate(zip(pairwise(edges), GROUPS, strict=True)):
            here = centres[(centres >= low) & (centres < high)]
            self.register_buffer(f"rows{number}", _rows(here, sample_rate, round(share * window), sums), False)

    def rows(self, group: int) -> Tensor:
        """`[2 × bins, samples]` of a group, real rows first."""
        return getattr(self, f"rows{group}")

    @property
    def sizes(self) -> list[int]:
        """Features of each group."""
        return [self.channels * self.rows(group).shape[0] // 2 for group in range(len(GROUPS))]

    @property
    def products(self) -> list[int]:
        """Multiply-adds of each group."""
        return [self.channels * self.rows(group).numel() for group in range(len(GROUPS))]

    def forward(self, windows: Tensor, group: int) -> Tensor:
        return spectrum(windows, self.rows(group), GROUPS[group][2])


def spectrum(windows: Tensor, rows: Tensor, sums: int) -> Tensor:
    """The features of one group; a product a channel, for a graph of one hop multiplies single rows."""
    newest = windows[..., -rows.shape[1] * sums :]
    if sums > 1:
        newest = newest.unflatten(-1, (-1, sums)).sum(-1)
    found = []
    for channel in range(windows.shape[-2]):
        real, imaginary = F.linear(newest[..., channel, :], rows).chunk(2, -1)
        found.append(torch.log(real * real + imaginary * imaginary + 1e-7) * LOG_SCALE + LOG_OFFSET)
    return torch.cat(found, -1)


def _rows(centres: np.ndarray, sample_rate: int, window: int, sums: int) -> Tensor:
    """Hann windows that end at the newest sample, as long as a bin is narrow but no longer than `window` samples."""
    time = (np.arange(window // sums) + 0.5) * sums - window
    rows = []
    for centre in centres:
        length = min(window, round(sample_rate / (centre * (2 ** (1 / PER_OCTAVE) - 1)) * 1.5))
        shape = np.where(time >= -length, np.sin(np.pi * np.clip((time + length) / length, 0, 1)) ** 2, 0)
        rows.append(shape / shape.sum() / sums * np.exp(2j * np.pi * centre * time / sample_rate) * SCALE)
    made = np.array(rows).reshape(len(centres), -1)
    # Numbers that float16 has: 66 dB of precision do for levels, and a model file keeps them in half the room.
    return torch.from_numpy(np.concatenate([made.real, made.imag]).astype(np.float16).astype(np.float32))
