"""The separator of the Conv-TasNet: causal dilated depthwise convolutions (Luo & Mesgarani 2019), channels last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.depthwise import depthwise
from training.network.norm import NORMS, folded
from training.network.part import Memory, Separator, StateSpec, linear_products

if TYPE_CHECKING:
    from training.network.spec import NetworkSpec

Modulation = Mapping[int, tuple[Tensor, Tensor]]  # gain and offset of the input of a block, by its number


class Block(nn.Module):
    """Norm → wide → PReLU → dilated depthwise convolution → PReLU → narrow, added to its input.

    One normalisation a block, over the channels of one frame (or folded away, see `norm`): nothing looks across time,
    and a frame's cost is two matrix-vector products. Shapes: `[batch, frames, channels]` in and out. What comes out is
    `delay` frames late, by a dilation: so its newest tap is one of its future.
    """

    def __init__(self, channels: int, hidden: int, kernel: int, dilation: int, norm: str = "frame", delay: int = 0):
        super().__init__()
        self.kernel, self.dilation, self.delay = kernel, dilation, delay
        self.norm = NORMS[norm](channels)
        self.widen = nn.Linear(channels, hidden)
        self.depthwise = nn.Parameter(torch.randn(kernel, hidden) * 0.3)  # row 0 meets the oldest tap
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.slope = nn.Parameter(torch.full((2,), 0.25))
        self.narrow = nn.Linear(hidden, channels)
        with torch.no_grad():
            self.narrow.weight *= 0.3  # a stack of near-identities trains from the first step

    def column(self, x: Tensor) -> Tensor:
        """The values that later frames will read as taps, `[..., hidden]`."""
        return F.prelu(self.widen(self.norm(x)), self.slope[:1])

    def merge(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Adds the convolution's sum `mixed` `[..., hidden]`, bias included, back to `x`."""
        return x + self.narrow(F.prelu(mixed, self.slope[1:]))

    def forward(self, x: Tensor) -> Tensor:
        frames = x.shape[1]
        late = F.pad(x, (0, 0, self.delay, 0))[:, :frames] if self.delay else x
        wide = self.widen(self.norm(x))
        if wide.device.type == "cpu" and wide.dtype == torch.bfloat16 and self.kernel == 3:
            return late + self.narrow(depthwise(wide, self.slope, self.depthwise, self.bias, self.dilation))
        padded = F.pad(F.prelu(wide, self.slope[:1]), (0, 0, (self.kernel - 1) * self.dilation, 0))
        mixed = self.bias + sum(
            padded[:, k * self.dilation : k * self.dilation + frames] * self.depthwise[k] for k in range(self.kernel)
        )
        return self.merge(late, mixed)


class TCN(Separator):
    """A linear layer and `len(dilations)` blocks: `[batch, frames, features]` → `[batch, frames, channels]`.

    Blocks whose dilation is at most `max_lookahead_dilation` frames wait for one tap of the future, and what comes out
    is as many frames late as these dilations sum to. What they wait with lies beside their taps.

    Some blocks' inputs may be modulated: a gain and an offset a channel, `[batch, frames, channels]` each.
    """

    @dataclass(frozen=True)
    class Options:
        """Of a recipe's network section; all that a TCN needs is already there."""

    def __init__(self, spec: NetworkSpec, features: int, levels: int = 0):
        super().__init__(spec, features, levels)
        self.channels, self.hidden, self.dilations = spec.channels, spec.hidden, tuple(spec.dilations)
        self.kernel, self.waits = spec.kernel, spec.max_lookahead_dilation > 0
        self.bottleneck = nn.Linear(features, spec.channels)
        self.blocks = nn.ModuleList(
            Block(
                *(spec.channels, spec.hidden, spec.kernel, dilation, spec.norm),
                delay=dilation if dilation <= spec.max_lookahead_dilation else 0,
            )
            for dilation in spec.dilations
        )

    def stack(self) -> list[Block]:
        """The blocks, in order."""
        return cast(list[Block], list(self.blocks))

    @property
    def state_spec(self) -> StateSpec:
        width = self.hidden + (self.channels if self.waits else 0)
        return StateSpec(self.dilations, self.kernel, width)

    @property
    def products(self) -> tuple[int, ...]:
        return (linear_products(self),)

    def deployed(self) -> Self:
        """Batch norms go into the products behind them."""
        for block in self.stack():
            block.norm, block.widen = folded(block.norm, block.widen)
        return self

    def forward(self, features: Tensor, modulation: Modulation | None = None) -> Tensor:
        x = self.bottleneck(features).float()  # the sum of all blocks needs more than the 8 bits of bfloat16
        for index, block in enumerate(self.stack()):
            x = block(_modulated(x, modulation, index))
        return x

    def step(self, features: Tensor, memory: Memory, modulation: Modulation | None = None) -> tuple[Tensor, Memory]:
        """The convolutions' old taps are weighted for all layers in one product before the layers run: node count, not
        arithmetic, decides the time of a step."""
        blocks, taps = self.stack(), memory.taps
        x = self.bottleneck(features)
        waiting: tuple[Tensor, ...] = ()
        if self.waits:  # layers × [1, channels]: the blocks' inputs a dilation ago
            taps, waiting = taps[..., : self.hidden], torch.split(taps[:, -1, self.hidden :], 1)
        old = torch.stack([block.depthwise[:-1] for block in blocks])
        bias = torch.stack([block.bias for block in blocks])
        past = torch.split((taps * old).sum(1) + bias, 1)  # layers × [1, hidden]
        columns = []
        for index, (block, older) in enumerate(zip(blocks, past, strict=True)):
            x = _modulated(x, modulation, index)
            column = block.column(x)
            columns.append(torch.cat([column, x], -1) if self.waits else column)
            x = block.merge(waiting[index] if block.delay else x, column * block.depthwise[-1] + older)
        return x, memory._replace(taps=torch.cat(columns))


def _modulated(x: Tensor, modulation: Modulation | None, index: int) -> Tensor:
    if modulation is None or index not in modulation:
        return x
    gain, offset = modulation[index]
    return x * gain + offset
