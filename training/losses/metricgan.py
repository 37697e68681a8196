"""A learned proxy for PESQ after MetricGAN (Fu et al. 2019, arXiv 1905.04874; MetricGAN+, arXiv 2104.03538).

A critic learns what the real `pesq` says about the network's own output, and the network learns to please the critic.
As MetricGAN+: every step of the critic also sees the clean and the noisy signal and earlier outputs from a replay
buffer, so that it does not forget what it has seen. The warning in `pesq_proxy` holds here too.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from training.losses.loss import Context, Loss, Setup, Sound, mono_only
from training.losses.narrow import RATE, narrow

WORST, BEST = 1.0, 4.64  # of PESQ-WB; the critic works from 0 to 1
Label = Callable[[np.ndarray, np.ndarray], float]


def pesq_wb(reference: np.ndarray, estimate: np.ndarray) -> float:
    """PESQ-WB at 16 kHz; NaN where `pesq` finds no utterance."""
    from training.evaluation import speech_metrics as scores  # `pesq` is needed by this proxy only

    return scores.pesq_wb(reference, estimate, RATE)


class Critic(nn.Module):
    """Guesses the quality (0 to 1, not clamped) of `estimate` beside `reference`, `[batch, samples]` at 16 kHz each.

    Spectral normalisation keeps its slope, and so the network's gradient, bounded.
    """

    window: Tensor

    def __init__(self, channels: int = 24):
        super().__init__()
        self.register_buffer("window", torch.hann_window(512), persistent=False)
        sizes = [3, channels, 2 * channels, 2 * channels, 2 * channels]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, 5, stride=2, padding=2)) for before, after in pairwise(sizes)
        )
        self.hidden = spectral_norm(nn.Linear(sizes[-1], 2 * channels))
        self.out = spectral_norm(nn.Linear(2 * channels, 1))

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        loud, loud_true = self._loudness(estimate), self._loudness(reference)
        x = torch.stack([loud, loud_true, (loud - loud_true).abs()], 1)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.3)
        return self.out(F.leaky_relu(self.hidden(x.mean((2, 3))), 0.3)).squeeze(-1)

    def _loudness(self, wave: Tensor) -> Tensor:
        """Compressed magnitudes `[batch, frames, 257]` at a common level: PESQ does not hear the level either."""
        wave = wave / (wave.square().mean(-1, keepdim=True) + 1e-9).sqrt()
        spectrum = torch.stft(wave, 512, 256, window=self.window, return_complex=True).transpose(-1, -2)
        return (torch.view_as_real(spectrum).square().sum(-1) + 1e-4) ** 0.15


class LearnedProxy(nn.Module):
    """The critic behind the interface of `PesqProxy`: `forward` gives (1 − guessed quality)² → `[batch]`, best is 0.

    `network` makes the critic, another one where it shall not hear the reference.
    `update` labels the first `fresh` examples of a batch with `label` (PESQ-WB, some 0.1 s each)
    and lets the critic learn from them, from the clean and noisy signals, and from as many of the `memory` last ones.
    Critic, optimizer and memory are in the state dict. Under several ranks each has a critic of its own.
    """

    def __init__(
        self,
        rate: int,
        label: Label = pesq_wb,
        fresh: int = 2,
        memory: int = 64,
        seed: int = 0,
        network: Callable[[], nn.Module] = Critic,
    ):
        super().__init__()
        if rate not in (RATE, 3 * RATE):
            raise ValueError(f"PESQ is learned at 16000 or 48000 Hz, not {rate}.")
        if label is pesq_wb and importlib.util.find_spec("pesq") is None:
            raise ValueError("PESQ is learned from package pesq; install it: pip install 'rtsep[bench]'.")
        self.rate, self.label, self.fresh, self.size = rate, label, fresh, memory
        with torch.random.fork_rng(devices=[]):  # the network's own start must not depend on the proxy's
            torch.manual_seed(seed)
            self.critic = network().eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), 5e-4, betas=(0.5, 0.99))
        self.rng = np.random.default_rng(seed)
        self.memory: list[tuple[Tensor, Tensor, float]] = []  # estimate, reference (int16), quality
        self.updates = 0

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        with torch.autocast(estimate.device.type, enabled=False):
            return (1 - self.critic(narrow(estimate, self.rate), narrow(reference, self.rate))).square()

    def update(self, estimate: Tensor, reference: Tensor, mixture: Tensor) -> float:
        """Trains the critic on `[batch, samples]`; returns its mean squared error, NaN without a label."""
        outputs: list[tuple[Tensor, Tensor, float]] = []
        inputs: list[tuple[Tensor, Tensor, float]] = []
        with torch.no_grad():
            waves = narrow(torch.stack([estimate, mixture, reference])[:, : self.fresh], self.rate)
        for output, noisy, clean in waves.unbind(1):
            for heard, examples in ((output, outputs), (noisy, inputs)):
                score = self.label(clean.cpu().double().numpy(), heard.cpu().double().numpy())
                if math.isfinite(score):
                    examples.append((_packed(heard), _packed(clean), (score - WORST) / (BEST - WORST)))
        batch = outputs + inputs
        if not batch:
            return math.nan
        old = self.rng.choice(len(self.memory), min(len(self.memory), len(batch)), replace=False)
        batch += [self.memory[index] for index in old if self.memory[index][0].shape == batch[0][0].shape]
        self.memory = (self.memory + outputs)[-self.size :]
        heard = torch.stack([example[0] for example in batch]).to(estimate.device) / 32767
        clean = torch.stack([example[1] for example in batch]).to(estimate.device) / 32767
        quality = torch.tensor([example[2] for example in batch], device=estimate.device)
        self.updates += 1
        self.critic.train().requires_grad_(True)
        with torch.enable_grad():
            # A clean signal beside itself is as good as can be.
            guess = self.critic(torch.cat([heard, clean]), torch.cat([clean, clean]))
            error = (guess - torch.cat([quality, torch.ones_like(quality)])).square().mean()
            self.optimizer.zero_grad()
            error.backward()
            self.optimizer.step()
        self.critic.eval().requires_grad_(False)
        return error.item()

    def get_extra_state(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer.state_dict(),
            "memory": [list(example) for example in self.memory],
            "updates": self.updates,
            "rng": _plain(self.rng.bit_generator.state),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.memory = [(heard.cpu(), clean.cpu(), quality) for heard, clean, quality in state["memory"]]
        self.updates = state["updates"] if "updates" in state else state["lessons"]  # its name before 0.2
        found = state["rng"]
        self.rng.bit_generator.state = found | {"state": {key: int(text) for key, text in found["state"].items()}}


class LearnedQuality(Loss):
    """`LearnedProxy` of one source, only where it sounds; it learns some time ahead of when it first counts."""

    present_above = 1e-4
    update_every = 4
    update_lead = 0.1
    alone = True
    network: ClassVar[type[nn.Module]]  # what guesses, see `LearnedProxy`

    def __init__(self, setup: Setup):
        super().__init__(setup)
        mono_only(setup, "a guess of PESQ")
        self.proxy = LearnedProxy(setup.sample_rate, network=self.network)

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        return self.proxy(estimate.waves[:, 0], reference.waves[:, 0])

    def update(self, estimate: Tensor, reference: Tensor, mixture: Tensor) -> float:
        """One step of the network that guesses, from `[batch, 1, samples]`; returns its mean squared error."""
        return self.proxy.update(estimate[:, 0], reference[:, 0], mixture[:, 0])


class MetricGan(LearnedQuality):
    """(1 − quality that the critic guesses)², `[batch]`; the critic hears the reference too."""

    network = Critic


def _packed(wave: Tensor) -> Tensor:
    """int16 on the CPU, so that the memory fills no GPU; scaled down where it would clip: the critic levels it."""
    return (wave / wave.abs().amax().clamp(min=1) * 32767).round().to(torch.int16).cpu()


def _plain(state: Any) -> dict[str, Any]:
    """The generator's state with its 128-bit integers as text, which every checkpoint format can hold."""
    return {**state, "state": {key: str(value) for key, value in state["state"].items()}}
