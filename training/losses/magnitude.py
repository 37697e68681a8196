"""Mean squared error of magnitudes, as Open-Unmix trains (Stöter et al. 2019), or of their logarithms."""

from __future__ import annotations

from torch import Tensor

from training.losses.loss import Context, Loss, Setup, Sound


class Magnitude(Loss):
    """`(|Ŝ| − |S|)²`, mean over bins, frames and channels (middle and side of stereo), `[batch]`.

    With `logarithm` it is of log(1 + |S|), as Stoller et al. 2018 (arXiv 1711.00048) train. Of the phase it knows
    nothing: a real mask does not change it.
    """

    def __init__(self, setup: Setup, window: int = 2048, logarithm: bool = False):
        super().__init__(setup)
        if window < 32 or window % 4:
            raise ValueError(f"window is a multiple of 4 samples, 32 at least, not {window}.")
        self.window, self.logarithm = window, logarithm

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        hop = self.window // 4
        one, other = (magnitudes(each.spectrum(self.window, hop)) for each in (estimate, reference))
        if self.logarithm:
            one, other = one.log1p(), other.log1p()
        return (one - other).square().mean((1, 2, 3))


def magnitudes(pairs: Tensor) -> Tensor:
    """`[batch, channels, 2, frames, bins]` → `[batch, channels, frames, bins]`, with a gradient at zero."""
    return (pairs.square().sum(2) + 1e-12).sqrt()
