"""Single words in silence, as people speak to machines."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

RAMP_S = 0.02
SHORTEST_S, LONGEST_S = 0.2, 0.6


def single_words(speech: Tensor, rate: int, rng: np.random.Generator) -> Tensor:
    """Gains `[samples]` that leave one or two words of `speech` `[samples]`, where somebody is loud."""
    samples, step = len(speech), rate // 50
    power = speech[: samples // step * step].reshape(-1, step).square().mean(-1).double().cpu().numpy() + 1e-20
    time = torch.arange(samples, device=speech.device)
    gain = torch.zeros(samples, device=speech.device)
    for _ in range(rng.integers(1, 3)):
        middle = step * rng.choice(len(power), p=power / power.sum())
        half = 0.5 * rate * rng.uniform(SHORTEST_S, LONGEST_S)
        gain = gain.maximum(((half - (time - middle).abs()) / (RAMP_S * rate)).clamp(0, 1))
    return gain
