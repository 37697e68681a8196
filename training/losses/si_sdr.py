"""Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019, arXiv 1811.02508)."""

from __future__ import annotations

from torch import Tensor

from training.losses.loss import Context, Loss, Sound


class SiSdr(Loss):
    """Minus `si_sdr`, dB, mean over channels. Nothing holds the estimate's level; a silent reference has no value."""

    present_above = 1e-4

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        return -si_sdr(estimate.waves, reference.waves).mean(1)


def si_sdr(estimate: Tensor, reference: Tensor, floor: float = 1e-8) -> Tensor:
    """SI-SDR in dB, both `[..., samples]`, means removed → `[...]`; higher is better."""
    estimate = estimate - estimate.mean(-1, keepdim=True)
    reference = reference - reference.mean(-1, keepdim=True)
    scale = (estimate * reference).sum(-1, keepdim=True) / (reference.square().sum(-1, keepdim=True) + floor)
    target = scale * reference
    return 10 * ((target.square().sum(-1) + floor) / ((target - estimate).square().sum(-1) + floor)).log10()
