"""Thresholded signal-to-noise ratio: scale-dependent, finite for silent references (Wisdom et al. 2020, MixIT)."""

from __future__ import annotations

from torch import Tensor


def thresholded_snr(estimate: Tensor, reference: Tensor, mixture: Tensor, ceiling: float = 30.0) -> Tensor:
    """Negative SNR in dB, `[batch, samples]` each → `[batch]`; lower is better.

    `10·log10(|s − ŝ|² + τ|x|²) − 10·log10(|x|²)` with τ = 10^(−`ceiling`/10): an error `ceiling` dB under the mixture
    counts as none, so that a silent reference (speech or noise absent) has a finite loss and gradient.
    The constant second term makes it a figure relative to the mixture and changes no gradient.
    """
    error = (estimate - reference).square().sum(-1)
    power = mixture.square().sum(-1) + 1e-8
    return 10 * ((error + 10 ** (-ceiling / 10) * power).log10() - power.log10())
