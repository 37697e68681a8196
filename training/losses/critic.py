"""A Wasserstein critic a source (Stoller et al. 2018, arXiv 1711.00048; Gulrajani et al. 2017, arXiv 1704.00028).

The critic learns how recordings of a source differ from what the network puts out for it; the network learns to leave
no difference. So it learns from mixtures without references, and from recordings of a source alone.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.losses.loss import PRESENT, Context, Loss, Setup, Sound
from training.losses.magnitude import magnitudes


class SpectrumCritic(nn.Module):
    """Log magnitudes `[batch, channels, frames, bins]` → how real they look, without bounds, `[batch]`.

    Convolutions of 4 × 4 by twos with leaky rectifiers and no normalisation, as the authors have it; the mean over time
    and frequency at their end, for pieces of any length.
    """

    def __init__(self, channels: int, width: int = 32):
        super().__init__()
        sizes = [channels, width, 2 * width, 4 * width]
        self.layers = nn.ModuleList(nn.Conv2d(before, after, 4, 2, 1) for before, after in pairwise(sizes))
        self.out = nn.Linear(sizes[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return self.out(x.mean((2, 3))).squeeze(-1)


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Mean of max(‖∇D(x)‖ − 1, 0)² at x = share × real + (1 − share) × fake; a scalar.

    One-sided: only slopes above one are too steep. `real` and `fake` `[batch, …]`, `share` `[batch]` in 0 to 1.
    """
    share = share.view(-1, *[1] * (real.ndim - 1))
    between = (share * real + (1 - share) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).clamp(min=0).square().mean()


class Critic(Loss):
    """−D(Ŝ), `[batch]`; D learns E D(Ŝ) − E D(S) + `penalty` × `gradient_penalty`, `steps` times a step.

    Real are the references that sound, fakes all estimates. D is in the objective's state with its optimiser. One entry
    a source: voices and drums look real in different ways.
    """

    update_every = 1
    alone = True

    def __init__(
        self,
        setup: Setup,
        window: int = 512,
        steps: int = 5,
        penalty: float = 10.0,
        learning_rate: float = 5e-5,
        width: int = 32,
    ):
        super().__init__(setup)
        if window < 64 or window % 4 or steps < 1 or width < 1:
            raise ValueError("critic needs a window of 64 samples at least, a multiple of 4, and a step at least.")
        self.window, self.steps, self.penalty = window, steps, penalty
        with torch.random.fork_rng(devices=[]):  # the network's own start must not depend on the critic's
            torch.manual_seed(0)
            self.critic = SpectrumCritic(setup.audio_channels, width).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), learning_rate, betas=(0.5, 0.9))
        self.updates = 0

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        return -self.critic(self.heard(estimate))

    def heard(self, sound: Sound) -> Tensor:
        """log(1 + |S|), `[batch, channels, frames, bins]`."""
        return magnitudes(sound.spectrum(self.window, self.window // 2)).log1p()

    @torch.compiler.disable
    def update(self, estimate: Tensor, reference: Tensor, mixture: Tensor) -> float:
        """`steps` of the critic; returns how far apart it held the two in the last, NaN where no reference sounds."""
        gain = 1 / (mixture.square().mean((1, 2)).sqrt() + 1e-6)[:, None, None]
        estimate, reference = (waves.detach().float() * gain for waves in (estimate, reference))
        sounding = reference.square().mean((1, 2)) > PRESENT
        if not sounding.any():
            return float("nan")
        draw = torch.Generator().manual_seed(self.updates)  # a run goes on to the bit
        self.updates += 1
        reals, fakes = self.heard(Sound(reference[sounding])), self.heard(Sound(estimate))
        apart = 0.0
        self.critic.requires_grad_(True)
        with torch.enable_grad():
            for _ in range(self.steps):
                picked = torch.randint(len(reals), (len(fakes),), generator=draw)
                real = reals[picked.to(reals.device)]
                share = torch.rand(len(fakes), generator=draw).to(reals.device)
                distance = self.critic(real).mean() - self.critic(fakes).mean()
                loss = self.penalty * gradient_penalty(self.critic, real, fakes, share) - distance
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                apart = float(distance.detach())
        self.critic.requires_grad_(False)
        return apart

    def get_extra_state(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict(), "updates": self.updates}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state["updates"]
