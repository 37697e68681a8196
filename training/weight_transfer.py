"""A larger network begun from the weights of a smaller one, so that its first output is the smaller one's."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from training.network import Network
from training.network.separator import Block


@torch.no_grad()
def warm_start(network: Network, weights: dict[str, Tensor], ahead: int = 0) -> None:
    """Lays `weights` (a `state_dict`) into `network`, which may have more features, hidden channels, taps and outputs.

    Function-preserving (Chen et al. 2016, Net2Net, arXiv 1511.05641): what a matrix reads that the old network did not
    have begins at zero, what it puts out beyond the old keeps its own beginning. `ahead` is that of the old network:
    where a block waits for a tap of the future that it did not know, its taps come behind that one. A slow trunk that is
    new begins as it is, without a say. Raises ValueError if `weights` are larger somewhere or of another architecture.
    """
    mine = network.state_dict()
    added = mine.keys() - weights.keys()
    if weights.keys() - mine.keys() or not all(name.startswith("separator.slow.") for name in added):
        raise ValueError("The checkpoint to begin from is of another architecture.")
    linear = {f"{name}.weight" for name, part in network.named_modules() if isinstance(part, torch.nn.Linear)}
    for name, old in weights.items():
        new = mine[name]
        if new.ndim != old.ndim or any(less < more for less, more in zip(new.shape, old.shape, strict=True)):
            raise ValueError(f"The checkpoint to begin from does not fit into {name}: {[*old.shape]}, {[*new.shape]}.")
        place = _place(network, name, new, old, ahead)
        if name in linear:
            new[:, old.shape[1] :] = 0
        if name.endswith("depthwise"):
            new[:, : old.shape[1]] = 0
        new[place] = old
    network.load_state_dict(mine)


def _place(network: Network, name: str, new: Tensor, old: Tensor, ahead: int) -> tuple[slice, ...]:
    """Where in `new` the weights `old` of the parameter `name` belong: at the beginning, but taps by their age."""
    place = [slice(size) for size in old.shape]
    if name.endswith("depthwise"):
        block = cast(Block, network.get_submodule(name.rpartition(".")[0]))
        future = (block.delay > 0) - (block.dilation <= ahead)  # taps that the old block did not wait for
        end = len(new) - future
        if future < 0 or end < len(old):
            raise ValueError(f"The checkpoint to begin from does not fit into {name}: it needs a longer kernel.")
        place[0] = slice(end - len(old), end)
    return tuple(place)


def parted(kept: dict[str, Any]) -> list[int]:
    """How many weights each group of an optimiser's `state_dict` has: moments fit only where they are parted alike."""
    return [len(group["params"]) for group in kept["param_groups"]]


def warm_moments(optimizer: Optimizer, kept: dict[str, Any], network: Network, ahead: int = 0) -> None:
    """Gives the moments in `kept` (a `state_dict`) to the weights that `warm_start` took over; new ones begin at zero.

    Without them every old weight would be moved by a whole learning rate at once, and what it knew be lost.
    """
    names = {parameter: name for name, parameter in network.named_parameters()}
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for index, moments in kept["state"].items():
        state = optimizer.state[weights[index]]
        for name, old in moments.items():
            state[name] = old.clone()
            if old.ndim:
                state[name] = torch.zeros_like(weights[index])
                state[name][_place(network, names[weights[index]], weights[index], old, ahead)] = old
