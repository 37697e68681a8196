"""The additive loss of mixtures whose sources nobody knows (Stoller et al. 2018, arXiv 1711.00048)."""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.loss import Context, Loss, Setup
from training.losses.magnitude import magnitudes


class Additive(Loss):
    """`(|M| − Σ_k |Ŝ_k|)²`, mean over bins, frames and channels, `[batch]`: magnitudes of sources add up, nearly."""

    per_source = False
    reaches_all = True

    def __init__(self, setup: Setup, window: int = 1024):
        super().__init__(setup)
        if window < 32 or window % 4:
            raise ValueError(f"window is a multiple of 4 samples, 32 at least, not {window}.")
        self.window = window

    def forward(self, context: Context) -> Tensor:
        hop = self.window // 4
        found = [magnitudes(sound.spectrum(self.window, hop)) for sound in context.estimates.values()]
        mixture = magnitudes(context.mixture.spectrum(self.window, hop))
        return (mixture - torch.stack(found).sum(0)).square().mean((1, 2, 3))
