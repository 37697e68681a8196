"""A separator of causal attention over a window of the past (Vaswani et al. 2017, arXiv 1706.03762).

Each layer attends to the newest frame and to `kernel` − 1 earlier ones, a dilation apart: the host's rings, which keep
the taps of convolutions, keep keys and values here, so that memory is bounded and a hop moves only what it reads.
Sparse attention of this kind: Child et al. 2019, arXiv 1904.10509.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.part import Memory, Separator, StateSpec, linear_products

if TYPE_CHECKING:
    from training.network.spec import NetworkSpec


class Layer(nn.Module):
    """Norm → attention, added → norm → wide, GELU, narrow, added: `[batch, frames, channels]` in and out.

    Before the first frame keys and values are zero, as the rings begin: such a place has the weight of its bias alone
    and adds nothing. Position is a learned bias a head and place, oldest place first.
    """

    def __init__(self, channels: int, hidden: int, kernel: int, dilation: int, heads: int):
        super().__init__()
        self.kernel, self.dilation, self.heads = kernel, dilation, heads
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.pair = nn.Linear(channels, 2 * channels, bias=False)  # a key and a value
        self.place = nn.Parameter(torch.zeros(kernel, heads))
        self.merge = nn.Linear(channels, channels)
        self.norm_wide = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, hidden)
        self.narrow = nn.Linear(hidden, channels)
        with torch.no_grad():
            self.merge.weight *= 0.3  # a stack of near-identities trains from the first step
            self.narrow.weight *= 0.3

    def attend(self, x: Tensor, normed: Tensor, pairs: Tensor) -> Tensor:
        """`x` and its norm `[..., channels]`, keys and values `[..., kernel, 2 × channels]` → `[..., channels]`."""
        keys, values = pairs.unflatten(-1, (2 * self.heads, -1)).split(self.heads, -2)  # [..., kernel, heads, size]
        query = self.query(normed).unflatten(-1, (self.heads, -1)).unsqueeze(-3)
        # Element by element: of so few places a product of matrices would cost a graph more than it saves.
        scores = (query * keys).sum(-1).float() / math.sqrt(keys.shape[-1]) + self.place
        found = (torch.softmax(scores, -2).unsqueeze(-1) * values).sum(-3).flatten(-2)
        x = x + self.merge(found)
        return x + self.narrow(F.gelu(self.widen(self.norm_wide(x))))

    def forward(self, x: Tensor) -> Tensor:
        normed, frames = self.norm(x), x.shape[1]
        padded = F.pad(self.pair(normed), (0, 0, (self.kernel - 1) * self.dilation, 0))
        places = [padded[:, place * self.dilation :][:, :frames] for place in range(self.kernel)]
        return self.attend(x, normed, torch.stack(places, -2))

    def step(self, x: Tensor, taps: Tensor) -> tuple[Tensor, Tensor]:
        """`x` `[1, channels]` and earlier keys and values `[1, kernel − 1, 2 × channels]` → next `x`, its own pair."""
        normed = self.norm(x)
        pair = self.pair(normed)
        return self.attend(x, normed, torch.cat([taps, pair.unsqueeze(1)], 1)), pair


class Attention(Separator):
    """A linear layer and a `Layer` a dilation: `[batch, frames, features]` → `[batch, frames, channels]`.

    `kernel` is how many frames a layer attends to; it reaches (`kernel` − 1) × dilation hops back.
    """

    @dataclass(frozen=True)
    class Options:
        """`heads` share the channels out."""

        heads: int = 4

        def __post_init__(self) -> None:
            if self.heads < 1:
                raise ValueError("heads is at least 1.")

    def __init__(self, spec: NetworkSpec, features: int, levels: int):
        super().__init__(spec, features, levels)
        heads = cast(Attention.Options, spec.separator_options).heads
        if spec.channels % heads:
            raise ValueError(f"channels are a multiple of the {heads} heads, not {spec.channels}.")
        if spec.max_lookahead_dilation:
            raise ValueError("max_lookahead_dilation is for the separators of convolutions, not for attention.")
        self.spec_of_state = StateSpec(tuple(spec.dilations), spec.kernel, 2 * spec.channels)
        self.input = nn.Linear(features, spec.channels)
        self.layers = nn.ModuleList(
            Layer(spec.channels, spec.hidden, spec.kernel, dilation, heads) for dilation in spec.dilations
        )

    @property
    def state_spec(self) -> StateSpec:
        return self.spec_of_state

    @property
    def products(self) -> tuple[int, ...]:
        return (linear_products(self),)

    def forward(self, features: Tensor) -> Tensor:
        x = self.input(features).float()
        for layer in self.layers:
            x = layer(x)
        return x

    def step(self, features: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        x, pairs = self.input(features), []
        taps = torch.split(memory.taps, 1)
        for layer, earlier in zip(cast(list[Layer], list(self.layers)), taps, strict=True):
            x, pair = layer.step(x, earlier)
            pairs.append(pair)
        return x, memory._replace(taps=torch.cat(pairs))
