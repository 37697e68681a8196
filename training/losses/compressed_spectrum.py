"""Compressed-spectrum error (Ephrat et al. 2018, arXiv 1804.03619; Braun & Tashev 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.loss import Context, Loss, Setup, Sound

FLOOR = 1e-5  # power; below it a bin counts as silent and has no gradient to speak of


class CompressedSpectrum(Loss):
    """`compressed_error`, mean over `windows` (samples) and channels (middle and side of stereo).

    `overlap` is the share that neighbouring windows have in common; at 0 they lie side by side, which is half the work:
    where a piece is cut is drawn anew each time. `erb` weighs bins as the ear divides frequency, by `erb_density`: as
    they are, two thirds of them lie above 8 kHz at a rate of 48 kHz, less than a quarter of what the ear tells apart.
    """

    def __init__(
        self,
        setup: Setup,
        windows: tuple[int, ...] = (1024,),
        overlap: float = 0.5,
        complex_share: float = 0.3,
        erb: bool = False,
    ):
        super().__init__(setup)
        if not windows or any(window < 32 or window % 2 for window in windows):
            raise ValueError("windows of the spectra are even numbers of samples, 32 at least.")
        self.frames = [(window, round(window * (1 - overlap))) for window in windows]
        if not 0 <= overlap < 1 or any(hop < 1 or window % hop for window, hop in self.frames):
            raise ValueError(f"overlap leaves a whole number of hops in a window: 0, 0.5 or 0.75, not {overlap}.")
        self.complex_share, self.erb = complex_share, erb
        if erb:
            for window, _ in self.frames:
                density = erb_density(torch.arange(window // 2 + 1) * (setup.sample_rate / window))
                self.register_buffer(f"bins_{window}", density / density.mean(), persistent=False)

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        total = estimate.waves.new_zeros(len(estimate.waves))
        for window, hop in self.frames:
            pairs, pairs_true = (sound.spectrum(window, hop) for sound in (estimate, reference))
            bins = getattr(self, f"bins_{window}") if self.erb else None
            error = compressed_error(pairs.flatten(0, 1), pairs_true.flatten(0, 1), self.complex_share, bins)
            total = total + error.view(pairs.shape[:2]).mean(1)
        return total / len(self.frames)


def compressed(pairs: Tensor, power: float = 0.3) -> tuple[Tensor, Tensor]:
    """Magnitude to the `power`, and the complex spectrum with that magnitude; no angle.

    By logarithm and exponential, whose gradients are cheap: that of a power takes five times as long on a CPU.
    """
    energy = pairs.square().sum(1) + FLOOR**2
    magnitude = (energy.log() * (power / 2)).exp()
    return magnitude, pairs * (magnitude * energy.rsqrt()).unsqueeze(1)


def compressed_error(
    estimate: Tensor, reference: Tensor, complex_share: float = 0.3, bins: Tensor | None = None
) -> Tensor:
    """Mean squared error of compressed spectra `[batch, 2, frames, bins]` → `[batch]`: magnitude + share × complex.

    `bins`: what each of them counts, mean 1. Levels matter: bring both to a common level first, as `Objective` does.
    """
    magnitude, phased = compressed(estimate)
    magnitude_true, phased_true = compressed(reference)
    error = (magnitude - magnitude_true).square() + complex_share * (phased - phased_true).square().sum(1)
    return (error if bins is None else error * bins).mean((1, 2))


def erb_density(hertz: Tensor) -> Tensor:
    """How many equivalent rectangular bandwidths lie in one Hz (Glasberg & Moore 1990), of frequencies in Hz."""
    return 1 / (24.7 * (4.37e-3 * hertz + 1))
