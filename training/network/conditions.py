"""Side information that the separator hears beside the sound: by gains and offsets, or by attention over a sequence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.part import Part, linear_products

if TYPE_CHECKING:
    from training.network.spec import NetworkSpec


class Condition(Part):
    """Features `[batch, frames, features]` and a condition `[batch, frames or 1, condition]` → features.

    In a step `[1, features]` and `[1, condition]`. A condition of zeros is none: nothing is known.
    """

    def __init__(self, spec: NetworkSpec, features: int):
        super().__init__()


class FilmCondition(Condition):
    """A vector, such as the probabilities of classes → a gain and an offset a feature (Perez et al. 2018, FiLM).

    Kong et al. 2020 (arXiv 2002.02065) tell a separator so which sound event to take out. Without a bias: a condition
    of zeros changes nothing.
    """

    def __init__(self, spec: NetworkSpec, features: int):
        super().__init__(spec, features)
        self.project = nn.Linear(spec.condition_size, 2 * features, bias=False)

    @property
    def products(self) -> tuple[int, ...]:
        return (linear_products(self),)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        gain, offset = self.project(condition).chunk(2, -1)
        return features * (1 + gain) + offset


class SideAttention(Condition):
    """A sequence of any length up to `side_frames`, of `side_width` numbers a frame, that has another clock than sound.

    Schulze-Forster et al. 2019, "Weakly informed audio source separation", WASPAA: scores g W_s hᵀ between what is
    heard, g, and every side frame, h; the mean of the side frames, weighted by the softmax of the scores, is heard
    beside the sound. A side frame is encoded with its two neighbours and its place. Frames of zeros are none: those
    behind the end, and, of a sequence that is handed over while the sound runs, those that are yet to come. Without
    any, nothing is added.
    """

    def __init__(self, spec: NetworkSpec, features: int):
        super().__init__(spec, features)
        self.frames, self.width, size = spec.side_frames, spec.side_width, spec.channels
        self.encode = nn.Linear(3 * self.width, size)
        self.place = nn.Parameter(torch.randn(self.frames, size) * 0.1)
        self.score = nn.Linear(features, size, bias=False)
        self.join = nn.Linear(size, size)
        self.project = nn.Linear(size, features, bias=False)

    @property
    def products(self) -> tuple[int, ...]:
        again = self.frames - 1
        return (linear_products(self) + again * self.encode.weight.numel(),)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        side = condition.unflatten(-1, (self.frames, self.width))
        there = (side.abs().sum(-1) > 0).to(side.dtype)  # [..., frames]
        padded = F.pad(side, (0, 0, 1, 1))
        around = torch.cat([padded[..., :-2, :], side, padded[..., 2:, :]], -1)
        encoded = torch.tanh(self.encode(around) + self.place)
        # Element by element, as in the separator of attention.
        scores = (self.score(features).unsqueeze(-2) * encoded).sum(-1) / math.sqrt(encoded.shape[-1])
        weights = torch.softmax(scores - 1e4 * (1 - there), -1) * there
        found = (weights.unsqueeze(-1) * encoded).sum(-2)
        heard = torch.tanh(self.join(found)) * weights.sum(-1, keepdim=True)
        return features + self.project(heard)


CONDITIONS: dict[str, type[Condition]] = {"film": FilmCondition, "attention": SideAttention}
