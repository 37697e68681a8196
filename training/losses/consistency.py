"""Mixture consistency as a loss (Wisdom et al. 2019, arXiv 1811.08521): the estimates should sum to the mixture."""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.loss import Context, Loss, Setup
from training.losses.snr import thresholded_snr


class Consistency(Loss):
    """`thresholded_snr` of the sum of all estimates beside the mixture, dB. It does not tell which source is which."""

    per_source = False

    def __init__(self, setup: Setup):
        super().__init__(setup)
        if len(setup.sources) < 2 or setup.exact_sum:
            raise ValueError("consistency is for networks of two sources at least whose sum is free.")

    def forward(self, context: Context) -> Tensor:
        total = torch.stack([sound.waves for sound in context.estimates.values()]).sum(0)
        mixture = context.mixture.waves.flatten(1)
        return thresholded_snr(total.flatten(1), mixture, mixture)
