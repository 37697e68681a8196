"""What every part of the network is: one module with two modes, the whole sequence at once and hop after hop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from training.network.spec import NetworkSpec


class Memory(NamedTuple):
    """What a part carries from hop to hop, float32; all zero before the first.

    `taps` `[layers, kernel − 1, width]` is what each layer tapped dilation × (kernel − 1), …, dilation hops ago, out of
    rings that the host keeps. A step gives back `[layers, width]` in its place, what the host shall put into them.
    `state` `[n]` comes back as the next hop's. `phase` is the hop's number modulo the rate, int64 and no axis.
    """

    taps: Tensor
    state: Tensor
    phase: Tensor


@dataclass(frozen=True)
class StateSpec:
    """The sizes of a `Memory`: a dilation a layer, and a `state` whose bounds the part itself sees to.

    A part of which some runs only every `rate`-th hop needs to know the phase; `rate` is 1 for all others.
    """

    dilations: tuple[int, ...] = ()
    kernel: int = 2
    width: int = 0
    state: int = 0
    rate: int = 1

    def start(self) -> Memory:
        """The memory before the first hop."""
        taps = torch.zeros(len(self.dilations), self.kernel - 1, self.width)
        return Memory(taps, torch.zeros(self.state), torch.zeros((), dtype=torch.int64))


class Part(nn.Module):
    """A part of the network. Both modes use the same weights and agree to 1e-5.

    `forward` takes sequences, `[batch, frames, …]`; `step` takes one frame, which is a sequence's without the axis of
    the batch, `[1, …]`, and gives back what `forward` gives for it and the memory for the next hop. A part without
    memory need not write it.
    """

    @property
    def state_spec(self) -> StateSpec:
        """What is carried from hop to hop; nothing, unless a part says so."""
        return StateSpec()

    @property
    def products(self) -> tuple[int, ...]:
        """Multiply-adds of the products with weights, at each phase; a tuple of one if all hops cost the same."""
        raise NotImplementedError

    def step(self, *inputs: Any) -> tuple[Any, Memory]:
        """One hop: `(*inputs, memory)` → what `forward` gives for the inputs, and the next memory."""
        *values, memory = inputs
        return self(*values), memory

    def deployed(self) -> Self:
        """The part as a step graph holds it, for its step alone; may change the part, which is a copy of its own."""
        return self


class Separator(Part):
    """A part `[batch, frames, features]` → `[batch, frames, channels]`, chosen in a recipe by its name.

    `Options` is a dataclass of the keys that it takes from a recipe's network section beside those of every network,
    each with a default; `spec.separator_options` has their values.
    Behind the features one with a `window` is given windows `[batch, frames, channels, window]`, `[1, channels,
    window]` in a step. Of the `features` the first `levels` are log powers. `unread` are the keys of every network
    that it does not read.
    """

    Options: ClassVar[type[Any]]
    unread: ClassVar[tuple[str, ...]] = ()
    observes: ClassVar[bool] = False  # it wants to `observe`
    window: int = 0  # newest samples that it wants to look at itself, beside the features; none

    def __init__(self, spec: NetworkSpec, features: int, levels: int):
        super().__init__()

    def observe(self, features: Tensor) -> None:
        """Begins with statistics of `features` `[batch, frames, features]` of the first mixtures, before training."""


def linear_products(*modules: nn.Module) -> int:
    """Multiply-adds of all linear layers in `modules`, each used once."""
    linear = [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]
    return sum(layer.weight.numel() for layer in linear)
