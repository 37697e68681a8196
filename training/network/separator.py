"""The separator: causal dilated depthwise convolutions, channels last (Luo & Mesgarani 2019, Conv-TasNet)."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.norm import NORMS, folded


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
        column = self.column(x)
        frames = column.shape[1]
        past = (self.kernel - 1) * self.dilation
        padded = F.pad(column, (0, 0, past, 0))
        mixed = self.bias + sum(
            padded[:, k * self.dilation : k * self.dilation + frames] * self.depthwise[k] for k in range(self.kernel)
        )
        return self.merge(F.pad(x, (0, 0, self.delay, 0))[:, :frames] if self.delay else x, mixed)


class Separator(nn.Module):
    """`len(dilations)` blocks between an input and an output projection.

    `[batch, frames, features]` → `[batch, frames, outputs]`. Blocks whose dilation is at most `ahead` frames wait for
    one tap of the future, and the outputs come as many frames late as these dilations sum to.
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
    ):
        super().__init__()
        self.bottleneck = nn.Linear(features, channels)
        self.blocks = nn.ModuleList(
            Block(channels, hidden, kernel, dilation, norm, dilation if dilation <= ahead else 0)
            for dilation in dilations
        )
        self.norm = NORMS[norm](channels)
        self.head = nn.Linear(channels, outputs)

    def stack(self) -> list[Block]:
        """The blocks, in order."""
        return cast(list[Block], list(self.blocks))

    def folded(self) -> Separator:
        """As it runs: a copy whose batch norms have gone into the products behind them."""
        folds = copy.deepcopy(self)
        for block in folds.stack():
            block.norm, block.widen = folded(block.norm, block.widen)
        folds.norm, folds.head = folded(folds.norm, folds.head)
        return folds

    def forward(self, features: Tensor) -> Tensor:
        x = self.bottleneck(features).float()  # the sum of all blocks needs more than the 8 bits of bfloat16
        for block in self.stack():
            x = block(x)
        return self.head(self.norm(x))
