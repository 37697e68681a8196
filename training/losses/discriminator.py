"""Discriminators of short-time spectra: does it look like a recording of that source, given the mixture?

What a network is not sure of it leaves half there, for that is the least mean error; listeners call it noise that is
left, or a voice that is thin. A discriminator (Goodfellow et al. 2014) learns how such estimates differ from true
sources, patch by patch of a spectrogram and at several resolutions (Isola et al. 2017, arXiv 1611.07004; Jang et al.
2021, UnivNet, arXiv 2106.07889), by least squares (Mao et al. 2017, arXiv 1611.04076); the network learns to leave no
difference, and to make the discriminator's own features those of the true source (Kumar et al. 2019, MelGAN, arXiv
1910.06711). Unlike `critic` it is for pairs: it needs the reference.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from training.losses.compressed_spectrum import compressed
from training.losses.loss import Context, Loss, Setup, Sound


class PatchDiscriminator(nn.Module):
    """Spectrograms `[batch, planes, frames, bins]` → how true each patch looks, `[batch, 1, …]`, and what it saw.

    Convolutions of 4 × 4 by twos with leaky rectifiers; what each of them gives is what it saw.
    """

    def __init__(self, planes: int, width: int):
        super().__init__()
        sizes = [planes, width, 2 * width, 4 * width, 4 * width]
        self.layers = nn.ModuleList(weight_norm(nn.Conv2d(*each, 4, 2, 1)) for each in pairwise(sizes))
        self.out = weight_norm(nn.Conv2d(sizes[-1], 1, 3, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        seen = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            seen.append(x)
        return self.out(x), seen


class Discriminator(Loss):
    """(D(Ŝ, X) − 1)² + `features` × how far what D saw is from what it sees in S, relative; means, `[batch]`.

    There is a D for each of `windows` (samples); it sees compressed magnitudes up to `top` Hz, and learns
    (D(S, X) − 1)² + D(Ŝ, X)² every second step, from before this loss counts. All are in the objective's state with
    their optimiser; under several ranks each has its own. One entry a source: voices and drums look true in different
    ways.
    """

    present_above = 1e-4
    update_every = 2
    update_lead = 0.1
    alone = True

    def __init__(
        self,
        setup: Setup,
        windows: tuple[int, ...] = (512, 2048),
        top: float = 12000.0,
        features: float = 2.0,
        width: int = 16,
        learning_rate: float = 2e-4,
    ):
        super().__init__(setup)
        if not windows or any(window < 128 or window % 4 for window in windows):
            raise ValueError("windows of the discriminators are multiples of 4 samples, 128 at least.")
        if not 1000.0 <= top <= setup.sample_rate / 2 or width < 1 or features < 0:
            raise ValueError("top is 1000 Hz to half the rate, width 1 at least, and features 0 at least.")
        self.features = features
        self.bins = {window: int(top * window / setup.sample_rate) + 1 for window in windows}
        with torch.random.fork_rng(devices=[]):  # the network's own start must not depend on them
            torch.manual_seed(0)
            made = {str(window): PatchDiscriminator(2 * setup.audio_channels, width) for window in windows}
        self.discriminators = nn.ModuleDict(made).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.discriminators.parameters(), learning_rate, betas=(0.5, 0.9))

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        total = estimate.waves.new_zeros(len(estimate.waves))
        for window in self.bins:
            score, seen = self.judged(window, estimate, context.mixture)
            with torch.no_grad():
                _, seen_true = self.judged(window, reference, context.mixture)
            total = total + (score - 1).square().mean((1, 2, 3))
            for one, other in zip(seen, seen_true, strict=True):
                apart = (one - other).abs().mean((1, 2, 3)) / (other.abs().mean((1, 2, 3)) + 1e-3)
                total = total + self.features / len(seen) * apart
        return total / len(self.bins)

    def judged(self, window: int, sound: Sound, mixture: Sound) -> tuple[Tensor, list[Tensor]]:
        """What the discriminator of a window says of a sound in a mixture."""
        spectra = [each.spectrum(window, window // 2)[..., : self.bins[window]] for each in (sound, mixture)]
        planes = [compressed(pairs.flatten(0, 1))[0].view(*pairs.shape[:2], *pairs.shape[3:]) for pairs in spectra]
        return self.discriminators[str(window)](torch.cat(planes, 1))

    @torch.compiler.disable
    def update(self, estimate: Tensor, reference: Tensor, mixture: Tensor) -> float:
        """One step of the discriminators; returns their loss, NaN where no reference sounds."""
        gain = 1 / (mixture.square().mean((1, 2)).sqrt() + 1e-6)[:, None, None]
        estimate, reference, mixture = (waves.detach().float() * gain for waves in (estimate, reference, mixture))
        sounding = reference.square().mean((1, 2)) > self.present_above
        if not sounding.any():
            return float("nan")
        fake, real, given = (Sound(waves[sounding]) for waves in (estimate, reference, mixture))
        self.discriminators.requires_grad_(True)
        with torch.enable_grad():
            loss = torch.zeros((), device=gain.device)
            for window in self.bins:
                loss = loss + self.judged(window, fake, given)[0].square().mean()
                loss = loss + (self.judged(window, real, given)[0] - 1).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.discriminators.requires_grad_(False)
        return loss.item() / len(self.bins)

    def get_extra_state(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
