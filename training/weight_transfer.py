"""A larger network begun from the weights of a smaller one, so that its first output is the smaller one's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from training.checkpoints import load_weights, named_weights, renamed
from training.network import Network
from training.network.tcn import Block
from training.network.weight_names import stable_name

ADDED = ("slow/", "condition/")  # parts that a trained network may get


@torch.no_grad()
def warm_start(network: Network, weights: Mapping[str, Tensor], ahead: int = 0) -> None:
    """Lays `weights` into `network`, which may have more features, hidden channels, taps and outputs, or parts `ADDED`.

    Function-preserving (Chen et al. 2016, Net2Net, arXiv 1511.05641): what a matrix reads that the old network did not
    have begins at zero, what it puts out beyond the old keeps its own beginning, and so do a slow trunk that is new,
    which says nothing yet, and a condition, which says nothing while it is zero. `ahead` is the
    `max_lookahead_dilation` of the old network: where a block waits for a tap of the future that it did not know, its
    taps come behind that one. Raises ValueError if `weights` are larger somewhere or of another architecture.
    """
    mine, theirs = named_weights(network), renamed(weights)
    added = mine.keys() - theirs.keys()
    if theirs.keys() - mine.keys() or any(not name.startswith(ADDED) for name in added):
        raise ValueError("The checkpoint to begin from is of another architecture.")
    linear = {stable_name(f"{path}.weight") for path, part in network.named_modules() if isinstance(part, nn.Linear)}
    for name, old in theirs.items():
        place = _place(network, name, mine[name], old, ahead)
        if name in linear:
            mine[name][:, old.shape[1] :] = 0
        if name.endswith("depthwise/weight"):
            mine[name][:, : old.shape[1]] = 0
        mine[name][place] = old
    load_weights(network, mine)


def _place(network: Network, name: str, new: Tensor, old: Tensor, ahead: int) -> tuple[slice, ...]:
    """Where in `new` the weights `old` of this name belong: at the beginning, but taps by their age."""
    same = name.startswith(ADDED)  # more units would not be the same function, and more features lie in between
    if new.ndim != old.ndim or any(
        less < more or (same and less != more) for less, more in zip(new.shape, old.shape, strict=True)
    ):
        raise ValueError(f"The checkpoint to begin from does not fit into {name}: {[*old.shape]}, {[*new.shape]}.")
    place = [slice(size) for size in old.shape]
    if name.endswith("depthwise/weight"):
        block = _blocks(network)[name]
        future = (block.delay > 0) - (block.dilation <= ahead)  # taps that the old block did not wait for
        end = len(new) - future
        if future < 0 or end < len(old):
            raise ValueError(f"The checkpoint to begin from does not fit into {name}: it needs a longer kernel.")
        place[0] = slice(end - len(old), end)
    return tuple(place)


def _blocks(network: Network) -> dict[str, Block]:
    """The blocks of TCNs by the name of their depthwise weights."""
    named = network.named_modules()
    return {stable_name(f"{path}.depthwise"): part for path, part in named if isinstance(part, Block)}


def group_sizes(kept: dict[str, Any]) -> list[int]:
    """How many weights each group of an optimiser's `state_dict` has: moments fit only where they are grouped alike."""
    return [len(group["params"]) for group in kept["param_groups"]]


def warm_moments(optimizer: Optimizer, kept: dict[str, Any], network: Network, ahead: int = 0) -> None:
    """Gives the moments in `kept` (a `state_dict`) to the weights that `warm_start` took over; new ones begin at zero.

    Without them every old weight would be moved by a whole learning rate at once, and what it knew be lost.
    """
    names = {parameter: stable_name(attribute) for attribute, parameter in network.named_parameters()}
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for index, moments in kept["state"].items():
        state = optimizer.state[weights[index]]
        for name, old in moments.items():
            state[name] = old.clone()
            if old.ndim:
                state[name] = torch.zeros_like(weights[index])
                state[name][_place(network, names[weights[index]], weights[index], old, ahead)] = old
