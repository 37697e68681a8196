"""A recurrent separator of the kind of Open-Unmix (Stöter et al. 2019, JOSS 4(41), 1667), in one direction."""

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


class StandardScaler(nn.Module):
    """`(x + shift) × scale`, feature by feature: zero mean and unit variance over what `observe` was given.

    Both go on learning from there, as in Open-Unmix. `[..., features]` in and out.
    """

    def __init__(self, features: int):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(features))
        self.scale = nn.Parameter(torch.ones(features))

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Takes mean and standard deviation of `[..., features]`; a feature that hardly moves is not blown up."""
        x = x.flatten(0, -2)
        self.shift.copy_(-x.mean(0))
        deviation = x.std(0, correction=0)
        self.scale.copy_(1 / deviation.clamp(min=max(1e-4 * float(deviation.max()), 1e-6)))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.shift) * self.scale


class Layer(nn.Module):
    """Long short-term memory whose input gate is what its forget gate leaves: c = f·c + (1 − f)·g, h = o·tanh(c).

    So the cell, a mean over time, stays within ±1, and three products do for four (Greff et al. 2017, arXiv 1503.04069,
    found no loss by it). Rows of the weights: forget, cell, output.
    """

    def __init__(self, width: int):
        super().__init__()
        bound = 1 / math.sqrt(width)
        self.input = nn.Parameter(torch.empty(3 * width, width).uniform_(-bound, bound))
        self.recurrent = nn.Parameter(torch.empty(3 * width, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(3 * width))
        with torch.no_grad():
            self.bias[:width] = 1.0  # it begins by remembering

    @torch.compiler.disable  # the compiler would unroll it, frame by frame
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, frames, width]` → the same, in float32: rounding errors would add up."""
        with torch.autocast(x.device.type, enabled=False):
            weights = [self._four(each) for each in (self.input, self.recurrent, self.bias)]
            zero = x.new_zeros(1, len(x), x.shape[-1], dtype=torch.float32)
            arguments = (True, 1, 0.0, self.training, False, True)  # biases, layers, dropout, …, batch first
            return torch.lstm(x.float(), [zero, zero], [*weights, torch.zeros_like(weights[2])], *arguments)[0]

    def step(self, x: Tensor, output: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Input, last output and last cell `[1, width]` each → output and cell."""
        gates = F.linear(x, self.input, self.bias) + F.linear(output, self.recurrent)
        forget, new, out = gates.chunk(3, -1)
        new = torch.tanh(new)
        cell = new + torch.sigmoid(forget) * (cell - new)
        return torch.sigmoid(out) * torch.tanh(cell), cell

    @staticmethod
    def _four(rows: Tensor) -> Tensor:
        """As torch's LSTM has them: input, forget, cell, output; σ(−a) = 1 − σ(a)."""
        forget, new, out = rows.chunk(3)
        return torch.cat([-forget, forget, new, out])


class LSTM(Separator):
    """Scaler → linear, norm, tanh → layers of long short-term memory → beside their input, linear, norm, ReLU.

    `[batch, frames, features]` → `[batch, frames, channels]`. Open-Unmix hears whole songs in both directions, and
    scales in batch norms; here time has one direction and norms are of the frame. The state is every layer's output and
    cell, within ±1 by construction.
    """

    observes = True
    unread = ("hidden", "kernel", "dilations")

    @dataclass(frozen=True)
    class Options:
        """`layers` of as many units as there are `channels`."""

        layers: int = 3

        def __post_init__(self) -> None:
            if self.layers < 1:
                raise ValueError("layers is at least 1.")

    def __init__(self, spec: NetworkSpec, features: int, levels: int):
        super().__init__(spec, features, levels)
        self.width, options = spec.channels, cast(LSTM.Options, spec.separator_options)
        self.scaler = StandardScaler(features)
        self.reduce = nn.Linear(features, self.width, bias=False)  # the norm has one
        self.norm_in = nn.LayerNorm(self.width)
        self.layers = nn.ModuleList(Layer(self.width) for _ in range(options.layers))
        self.join = nn.Linear(2 * self.width, self.width, bias=False)
        self.norm_out = nn.LayerNorm(self.width)

    @property
    def state_spec(self) -> StateSpec:
        return StateSpec(state=2 * self.width * len(self.layers))

    @property
    def products(self) -> tuple[int, ...]:
        return (linear_products(self) + 6 * self.width**2 * len(self.layers),)

    def observe(self, features: Tensor) -> None:
        """See `Separator.observe`."""
        self.scaler.observe(features)

    def forward(self, features: Tensor) -> Tensor:
        x = y = torch.tanh(self.norm_in(self.reduce(self.scaler(features))))
        for layer in self.layers:
            y = layer(y)
        return F.relu(self.norm_out(self.join(torch.cat([x, y], -1))))

    def step(self, features: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        x = y = torch.tanh(self.norm_in(self.reduce(self.scaler(features))))
        past, state = memory.state.unsqueeze(0).split(self.width, 1), []
        for index, layer in enumerate(cast(list[Layer], list(self.layers))):
            y, cell = layer.step(y, past[2 * index], past[2 * index + 1])
            state += [y, cell]
        x = F.relu(self.norm_out(self.join(torch.cat([x, y], -1))))
        return x, memory._replace(state=torch.cat(state, 1).squeeze(0))
