"""A smooth equaliser over eight knots, for random colours of voices, noises and songs."""

from __future__ import annotations

import torch
from torch import Tensor


class Equaliser:
    """Gains between its knots, for spectra at the frequencies `hertz` `[bins]`; linear over log frequency, in dB."""

    def __init__(self, hertz: Tensor):
        knots = torch.log2(torch.tensor([40.0, 150.0, 400.0, 1000.0, 2500.0, 6000.0, 12000.0, 24100.0]))
        place = torch.log2(hertz.cpu() + 41)
        right = torch.bucketize(place, knots).clamp(1, len(knots) - 1)
        share = ((place - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0, 1)
        self.knots, self.right, self.share = len(knots), right.to(hertz.device), share.to(hertz.device)

    def gain(self, points: Tensor) -> Tensor:
        """dB at the knots `[..., knots]` → linear gain `[..., bins]`."""
        decibels = points[..., self.right - 1] * (1 - self.share) + points[..., self.right] * self.share
        return 10 ** (decibels / 20)
