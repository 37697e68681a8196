"""A smooth equaliser over eight knots, for random colours of voices, noises and songs."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Equaliser:
    """Gains between its knots, for spectra at the frequencies `hertz` `[bins]`; linear over log frequency, in dB."""

    def __init__(self, hertz: Tensor):
        knots = torch.log2(torch.tensor([40.0, 150.0, 400.0, 1000.0, 2500.0, 6000.0, 12000.0, 24100.0]))
        place = torch.log2(hertz.cpu() + 41)
        right = torch.bucketize(place, knots).clamp(1, len(knots) - 1)
        share = ((place - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0, 1)
        self.knots = len(knots)
        # Interpolation as a product with one matrix, which also turns dB into the exponent of e.
        basis = torch.zeros(len(knots), len(hertz))
        basis.scatter_(0, (right - 1)[None], (1 - share)[None]).scatter_(0, right[None], share[None])
        self.basis = (basis * (math.log(10) / 20)).to(hertz.device)

    def gain(self, points: Tensor) -> Tensor:
        """dB at the knots `[..., knots]` → linear gain `[..., bins]`."""
        return (points @ self.basis).exp_()
