"""How much of the voice an estimated accompaniment still carries: the interference of BSSEval, band by band.

BSSEval (Vincent et al. 2006; version 4, Stöter et al. 2018) explains an estimate by the true sources, each passed
through a filter; what the voice's filter carries is interference. A time-frequency mask is no filter over a whole song,
so here a gain is found for each band of a second: as `training.evaluation.song_metrics.suppression`, but
differentiable, in bands of one width, each channel by itself, over all seconds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.loss import PRESENT, Context, Loss, Setup, Sound
from training.losses.spectrum import spectrum

WINDOW = 2048  # samples; bins 23 Hz wide at 48 kHz, and "a second" is one there
BAND = 4  # bins that share a gain
FRAMES = 24  # windows side by side that share it: a second


class VocalInterference(Loss):
    """`voice_left`, dB: how much of `against` (the other source, if there are two) the estimate of `of` still carries.

    An error is an error to the SNR, be it voice that is left or music that is lost; for whoever sings over it the voice
    that is left is the worse one. `floor` in dB under the mixture. Pieces without a voice have no value.
    """

    def __init__(self, setup: Setup, against: str = "", floor: float = 30.0):
        super().__init__(setup)
        if against not in setup.references and not (against == "" and len(setup.references) == 2):
            known = ", ".join(setup.references)
            raise ValueError(f"vocal_interference is against one of the sources {known}, not {against!r}.")
        if setup.seconds * setup.sample_rate <= WINDOW // 2:
            raise ValueError(f"vocal_interference needs pieces of more than {WINDOW // 2} samples.")
        self.against, self.floor = against, 10 ** (-floor / 10)

    def voice(self, reference: Sound, context: Context) -> Sound:
        """The true source that must not be there."""
        if self.against:
            return context.references[self.against]
        return next(sound for sound in context.references.values() if sound is not reference)

    def counted(self, reference: Sound, context: Context) -> Tensor:
        return self.voice(reference, context).power > PRESENT

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        sources = torch.stack([reference.waves, self.voice(reference, context).waves], 1)
        return voice_left(estimate.waves, sources, self.floor)


def voice_left(accompaniment: Tensor, sources: Tensor, floor: float = 0.0) -> Tensor:
    """Energy of the voice in `accompaniment` `[batch, channels, samples]` beside the true one, dB `[batch]`.

    `sources` `[batch, 2, channels, samples]` are the true accompaniment and vocals, longer than 1,024 samples. `floor`,
    a share of the mixture's power, is added to both: a voice that far below the mixture counts as none, true or left,
    and has no gradient to speak of. So it is the loud voice that must go; to take the faint one out would cost more
    music than voice. 0 dB where nobody sings. What is left over of the last second is not looked at.
    """
    level = sources.sum(1).square().mean((1, 2)).sqrt() + 1e-9
    accompaniment, sources = accompaniment / level[:, None, None], sources / level[:, None, None, None]
    waves = torch.stack([accompaniment, sources[:, 0], sources[:, 1]]).flatten(0, 2)
    pairs = spectrum(waves, WINDOW, WINDOW)[:, :, :, : WINDOW // 2]  # [3 × batch × channels, 2, frames, bins]
    frames = min(pairs.shape[2], FRAMES)
    pairs = pairs[:, :, : pairs.shape[2] // frames * frames].unflatten(3, (-1, BAND)).unflatten(2, (-1, frames))
    heard, music, voice = pairs.movedim(3, -1).flatten(-2).unflatten(0, (3, -1)).unbind(0)

    def product(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Σ conj(a) · b over the bins of a band."""
        real = (a * b).sum((1, -1))
        return real, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(-1)

    (aa, _), (vv, _) = product(music, music), product(voice, voice)
    cross, from_music, from_voice = product(music, voice), product(music, heard), product(voice, heard)
    determinant = aa * vv * (1 + 1e-6) - cross[0].square() - cross[1].square() + 1e-15
    real = aa * from_voice[0] - cross[0] * from_music[0] - cross[1] * from_music[1]
    imaginary = aa * from_voice[1] - cross[0] * from_music[1] + cross[1] * from_music[0]
    power = (real.square() + imaginary.square()) / determinant.square()
    # Where the two cannot be told apart the gain may be anything; a voice that was made louder is not what this is for.
    left = (power.clamp(max=4) * vv).view(len(sources), -1).sum(-1)
    true = vv.view(len(sources), -1).sum(-1)
    least = floor * (true + aa.view(len(sources), -1).sum(-1)) + 1e-9
    return 10 * ((left + least) / (true + least)).log10()
