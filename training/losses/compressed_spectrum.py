"""Compressed-spectrum error (Ephrat et al. 2018, arXiv 1804.03619; Braun & Tashev 2021)."""

from __future__ import annotations

from torch import Tensor

from training.losses.loss import Context, Loss, Setup, Sound

FLOOR = 1e-5  # power; below it a bin counts as silent and has no gradient to speak of


class CompressedSpectrum(Loss):
    """`compressed_error`, mean over `windows` (samples) and channels (middle and side of stereo).

    `overlap` is the share that neighbouring windows have in common; at 0 they lie side by side, which is half the work:
    where a piece is cut is drawn anew each time.
    """

    def __init__(
        self, setup: Setup, windows: tuple[int, ...] = (1024,), overlap: float = 0.5, complex_share: float = 0.3
    ):
        super().__init__(setup)
        if not windows or any(window < 32 or window % 2 for window in windows):
            raise ValueError("windows of the spectra are even numbers of samples, 32 at least.")
        self.frames = [(window, round(window * (1 - overlap))) for window in windows]
        if not 0 <= overlap < 1 or any(hop < 1 or window % hop for window, hop in self.frames):
            raise ValueError(f"overlap leaves a whole number of hops in a window: 0, 0.5 or 0.75, not {overlap}.")
        self.complex_share = complex_share

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        total = estimate.waves.new_zeros(len(estimate.waves))
        for window, hop in self.frames:
            pairs, pairs_true = (sound.spectrum(window, hop) for sound in (estimate, reference))
            error = compressed_error(pairs.flatten(0, 1), pairs_true.flatten(0, 1), self.complex_share)
            total = total + error.view(pairs.shape[:2]).mean(1)
        return total / len(self.frames)


def compressed(pairs: Tensor, power: float = 0.3) -> tuple[Tensor, Tensor]:
    """Magnitude to the `power`, and the complex spectrum with that magnitude; no angle.

    By logarithm and exponential, whose gradients are cheap: that of a power takes five times as long on a CPU.
    """
    energy = pairs.square().sum(1) + FLOOR**2
    magnitude = (energy.log() * (power / 2)).exp()
    return magnitude, pairs * (magnitude * energy.rsqrt()).unsqueeze(1)


def compressed_error(estimate: Tensor, reference: Tensor, complex_share: float = 0.3) -> Tensor:
    """Mean squared error of compressed spectra `[batch, 2, frames, bins]` → `[batch]`: magnitude + share × complex.

    Levels matter: bring both to a common level first, as `Objective` does.
    """
    magnitude, phased = compressed(estimate)
    magnitude_true, phased_true = compressed(reference)
    error = (magnitude - magnitude_true).square().mean((1, 2))
    return error + complex_share * (phased - phased_true).square().sum(1).mean((1, 2))
