"""Thresholded signal-to-noise ratio: scale-dependent, finite for silent references (Wisdom et al. 2020, MixIT)."""

from __future__ import annotations

from torch import Tensor

from training.losses.loss import Context, Loss, Setup, Sound


class Snr(Loss):
    """`thresholded_snr`, dB, of all channels together: the louder one counts for more and an empty one does no harm.

    `ceiling` in dB: errors that far below the mixture count as none. With `stretch` the SNR is the mean over that of
    so many seconds each (BSSEval scores seconds), so that what is done to a soft passage counts as much as what is done
    to the loud one beside it; 0 is a whole piece. What is left of the last stretch is not looked at.
    """

    def __init__(self, setup: Setup, ceiling: float = 30.0, stretch: float = 0.0):
        super().__init__(setup)
        if not 0 <= stretch < float("inf"):
            raise ValueError(f"stretch is a number of seconds, or 0, not {stretch}.")
        self.ceiling, self.samples = ceiling, round(stretch * setup.sample_rate)

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        total = estimate.waves.shape[-1]
        length = min(self.samples or total, total)

        def stretches(sound: Sound) -> Tensor:
            """`[batch × stretches, channels × length]`"""
            whole = sound.waves[..., : total // length * length].unflatten(-1, (-1, length))
            return whole.transpose(1, 2).flatten(2).flatten(0, 1)

        cut = [stretches(sound) for sound in (estimate, reference, context.mixture)]
        errors = thresholded_snr(cut[0], cut[1], cut[2], self.ceiling)
        return errors.view(len(estimate.waves), -1).mean(1)


def thresholded_snr(estimate: Tensor, reference: Tensor, mixture: Tensor, ceiling: float = 30.0) -> Tensor:
    """Negative SNR in dB, `[batch, samples]` each → `[batch]`; lower is better.

    `10·log10(|s − ŝ|² + τ|x|²) − 10·log10(|x|²)` with τ = 10^(−`ceiling`/10): an error `ceiling` dB under the mixture
    counts as none, so that a silent reference (speech or noise absent) has a finite loss and gradient.
    The constant second term makes it a figure relative to the mixture and changes no gradient.
    """
    error = (estimate - reference).square().sum(-1)
    power = mixture.square().sum(-1) + 1e-8
    return 10 * ((error + 10 ** (-ceiling / 10) * power).log10() - power.log10())
