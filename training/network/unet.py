"""A causal residual U-Net over frequency, with a TCN at its bottom.

Jansson et al. 2017 brought the U-Net (Ronneberger et al. 2015, arXiv 1505.04597) to spectrograms of songs; Hung & Lerch
2020 (arXiv 2008.00616) made its blocks residual. Theirs halve time too and hear the future. Here every frame is folded
up over frequency by itself, what lies at the bottom remembers, and frames are unfolded again (compare Tan & Wang 2018,
"A convolutional recurrent neural network for real-time speech enhancement").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network.part import Memory, Separator, StateSpec
from training.network.tcn import TCN

if TYPE_CHECKING:
    from training.network.spec import NetworkSpec


class Down(nn.Module):
    """A convolution of 3 over every second place, residual: `[..., 2n, channels]` → `[..., n, wider]`.

    The residual is the mean of two neighbours, repeated to the width. Channels last, so that it is one product.
    """

    def __init__(self, channels: int, wider: int):
        super().__init__()
        self.repeats = wider // channels
        self.convolve = nn.Linear(3 * channels, wider)
        self.slope = nn.Parameter(torch.full((1,), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        even, odd = x.unflatten(-2, (-1, 2)).unbind(-2)
        before = F.pad(odd, (0, 0, 1, 0))[..., :-1, :]
        made = F.prelu(self.convolve(torch.cat([before, even, odd], -1)), self.slope)
        mean = (even + odd) / 2
        return made + torch.cat([mean] * self.repeats, -1)


class Up(nn.Module):
    """A transposed convolution of 2, and what came by beside added: `[..., n, wider]` → `[..., 2n, channels]`."""

    def __init__(self, wider: int, channels: int):
        super().__init__()
        self.convolve = nn.Linear(wider, 2 * channels)
        self.slope = nn.Parameter(torch.full((1,), 0.25))

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        made = F.prelu(self.convolve(x), self.slope)
        return made.unflatten(-1, (2, -1)).flatten(-3, -2) + beside


class UNet(Separator):
    """`depth` times down, a TCN, as often up: `[batch, frames, features]` → `[batch, frames, channels]`.

    The TCN has the `channels`, `hidden`, `kernel` and `dilations` of the recipe and is all that remembers. It hears
    the bottom of the U, and the features that are no levels.
    """

    @dataclass(frozen=True)
    class Options:
        """`width` channels a place at the top, twice as many at each floor down, of which there are `depth`."""

        depth: int = 3
        width: int = 4

        def __post_init__(self) -> None:
            if self.depth < 1 or self.width < 1:
                raise ValueError("depth and width are at least 1.")

    def __init__(self, spec: NetworkSpec, features: int, levels: int):
        super().__init__(spec, features, levels)
        options = cast(UNet.Options, spec.separator_options)
        if spec.max_lookahead_dilation:
            raise ValueError("A unet does not look ahead: max_lookahead_dilation is 0.")
        self.levels, self.depth, self.images = levels, options.depth, spec.audio_channels
        places = levels // self.images
        self.places = -(-places // 2**self.depth) * 2**self.depth
        self.padding = self.places - places
        widths = [options.width * 2**floor for floor in range(self.depth + 1)]
        self.widen = nn.Linear(self.images, widths[0])
        self.down = nn.ModuleList(Down(*widths[floor : floor + 2]) for floor in range(self.depth))
        bottom = (self.places >> self.depth) * widths[-1]
        self.tcn = TCN(spec, bottom + features - levels)
        self.back = nn.Linear(spec.channels, bottom)
        self.up = nn.ModuleList(Up(widths[floor + 1], widths[floor]) for floor in reversed(range(self.depth)))
        self.merge = nn.Linear(self.places * widths[0], spec.channels)

    @property
    def state_spec(self) -> StateSpec:
        return self.tcn.state_spec

    @property
    def products(self) -> tuple[int, ...]:
        """Of a convolution as often as it has places."""
        once = self.tcn.products[0] + self.back.weight.numel() + self.merge.weight.numel()
        convolved = self.places * self.widen.weight.numel()
        for floor, (down, up) in enumerate(zip(self.down, reversed(self.up), strict=True)):
            places = self.places >> floor + 1
            convolved += places * sum(each.get_parameter("convolve.weight").numel() for each in (down, up))
        return (once + convolved,)

    def deployed(self) -> Self:
        """The TCN's batch norms are folded away."""
        self.tcn = self.tcn.deployed()
        return self

    def forward(self, features: Tensor) -> Tensor:
        bottom, beside = self.fold(features)
        return self.unfold(self.tcn(bottom), beside)

    def step(self, features: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        bottom, beside = self.fold(features)
        x, memory = self.tcn.step(bottom, memory)
        return self.unfold(x, beside), memory

    def fold(self, features: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What the TCN hears, `[..., bottom]`, and what goes by beside it, from the top down."""
        image = features[..., : self.levels].unflatten(-1, (self.images, -1)).transpose(-1, -2)
        x, beside = self.widen(F.pad(image, (0, 0, 0, self.padding))), []
        for down in self.down:
            beside.append(x)
            x = down(x)
        return torch.cat([x.flatten(-2), features[..., self.levels :]], -1), beside

    def unfold(self, x: Tensor, beside: list[Tensor]) -> Tensor:
        """What the TCN says → `[..., channels]`."""
        x = self.back(x).unflatten(-1, (self.places >> self.depth, -1))
        for up in self.up:
            x = up(x, beside.pop())
        return self.merge(x.flatten(-2))
