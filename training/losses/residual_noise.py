"""What is left to hear in pauses: how loud an estimate is, in dB, while its source is silent."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from training.losses.loss import Context, Loss, Setup, Sound
from training.losses.one_minus_estoi import third_octaves

WINDOW, HOP = 1024, 512  # samples, as the other losses of spectra, which share them
HANGOVER = 4  # frames before and after: the closure of a plosive is no pause
LOWEST, BANDS = 100.0, 22  # Hz, third octaves: up to 14 kHz


class ResidualNoise(Loss):
    """Excess of an estimate over its reference in pauses, dB, mean over third octaves and silent frames.

    Decibels and not power, because a background that is 40 dB under the speech is heard as well as one at 30: squared
    errors, and compressed ones too, stop there. One-sided, and in pauses only, so that no word is any softer by it.
    A frame is silent where the reference lies `below` dB under its loudest frame, and so do its neighbours. What lies
    `floor` dB under that loudest frame counts as nothing, nor does what the reference itself has in its pauses.
    An example without pauses has the value 0.
    """

    present_above = 1e-5

    def __init__(self, setup: Setup, below: float = 35.0, floor: float = 60.0):
        super().__init__(setup)
        if not 0 < below < floor:
            raise ValueError(f"below and floor are dB with 0 < below < floor, not {below} and {floor}.")
        self.below, self.floor = 10 ** (-below / 10), 10 ** (-floor / 10)
        bands = third_octaves(WINDOW // 2 + 1, setup.sample_rate, BANDS, LOWEST)
        self.register_buffer("bands", bands[:, bands.sum(0) > 0], persistent=False)  # a low rate has fewer
        self.bands: Tensor

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        sound, silence = (self._levels(each) for each in (estimate, reference))  # [batch, frames, bands]
        power = silence.sum(-1)
        loudest = power.amax(-1, keepdim=True).clamp(min=1e-5)
        around = F.max_pool1d(power.unsqueeze(1), 2 * HANGOVER + 1, stride=1, padding=HANGOVER).squeeze(1)
        pause = (around < loudest * self.below).to(power.dtype)
        nothing = (loudest * self.floor).unsqueeze(-1) / self.bands.shape[1]
        excess = 10 * (sound.maximum(nothing).log10() - silence.maximum(nothing).log10())
        return (excess.clamp(min=0).mean(-1) * pause).sum(-1) / pause.sum(-1).clamp(min=1)

    def _levels(self, sound: Sound) -> Tensor:
        """Power in bands, `[batch, frames, bands]`, summed over channels."""
        return sound.spectrum(WINDOW, HOP).square().sum((1, 2)) @ self.bands
