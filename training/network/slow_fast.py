"""A slow recurrent trunk beside the TCN, which it modulates (compare Cheng et al. 2024, SlowFast, arXiv 2411.02019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.separator import Separator


class SlowTrunk(nn.Module):
    """Every `rate`-th hop: what was heard since the last time → gated recurrent units → a gain and an offset a channel.

    `[batch, hops, features]` → `[batch, hops, blocks, 2, channels]`, what is added to a gain of 1 and to an offset of 0
    (Perez et al. 2018, FiLM, arXiv 1709.07871). Slow frame m reads hops m × rate to m × rate + rate − 1 and holds from
    the last of these on, until the next: no latency is added. Before the first one, and in a trunk that has not learnt
    yet, all is zero. The state is that of the recurrent units, within ±1.
    """

    def __init__(self, features: int, channels: int, blocks: int, rate: int, width: int, layers: int):
        super().__init__()
        self.rate, self.shape = rate, (blocks, 2, channels)
        self.reduce = nn.Linear(rate * features, width)  # oldest hop first
        self.norm_in = nn.LayerNorm(width)
        self.gru = nn.GRU(width, width, layers, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.film = nn.Linear(width, blocks * 2 * channels)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    @torch.compiler.disable  # the compiler would unroll it, frame by frame
    def recur(self, x: Tensor) -> Tensor:
        """The recurrent units over `[batch, slow frames, width]`, in float32: rounding errors would add up."""
        with torch.autocast(x.device.type, enabled=False):
            return self.gru(x.float())[0]

    def forward(self, features: Tensor) -> Tensor:
        hops, rate = features.shape[1], self.rate
        count = hops // rate
        x = features[:, : count * rate].unflatten(1, (count, rate)).flatten(2)
        x = F.silu(self.norm_in(self.reduce(x).float()))
        x = self.film(self.norm(x + self.recur(x))).float()
        # Slow frame m at hops (m + 1) × rate − 1 and later.
        held = F.pad(x, (0, 0, 1, 0)).unsqueeze(2).expand(-1, -1, rate, -1).flatten(1, 2)[:, 1 : hops + 1]
        return held.unflatten(-1, self.shape)


class SlowFast(Separator):
    """The TCN, some of whose blocks hear `x × gain + offset` instead of their input x, as a `SlowTrunk` says.

    `levels` is how many features, the first ones, the slow trunk hears: those that are powers.
    """

    def __init__(
        self,
        features: int,
        outputs: int,
        channels: int,
        hidden: int,
        kernel: int,
        dilations: list[int],
        norm: str = "frame",
        ahead: int = 0,
        *,
        levels: int,
        rate: int,
        width: int,
        layers: int,
        film_blocks: list[int],
    ):
        super().__init__(features, outputs, channels, hidden, kernel, dilations, norm, ahead)
        self.levels, self.film_blocks = levels, film_blocks
        self.slow = SlowTrunk(levels, channels, len(film_blocks), rate, width, layers)

    def forward(self, features: Tensor) -> Tensor:
        x = self.bottleneck(features).float()  # as in the TCN
        film = self.slow(features[..., : self.levels])
        modulation = dict(zip(self.film_blocks, film.unbind(2), strict=True))
        for index, block in enumerate(self.stack()):
            if index in modulation:
                gain, offset = modulation[index].unbind(2)
                x = x * (1 + gain) + offset
            x = block(x)
        return self.head(self.norm(x))
