"""A stereo network begun from a mono one: at first it hears the middle alone, and does there what the other did.

Most lead voices lie in the middle, and a network that tells speech from noise tells many of them from music already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from training.checkpoints import load_weights, named_weights, renamed
from training.network import Network, NetworkSpec
from training.network.harmonic_front import HARMONICS
from training.network.pitch import BANDS
from training.network.slow_fast import SlowFast
from training.recipe import parse_recipe

VOICES = ("speech", "vocals")
OPEN = 4.0  # logit of a mask of the side of what is no voice: it passes, and that of a voice does not


def in_stereo(begin: dict[str, Any], spec: NetworkSpec) -> dict[str, Any]:
    """The checkpoint `begin` as one of a stereo network, if it is of a mono one and `spec` is stereo; else as it is.

    Its moments are left out. Raises ValueError if the two networks differ in more than channels and sources.
    """
    old = parse_recipe(begin["recipe"]).network
    if spec.audio_channels != 2 or old.audio_channels != 1:
        return begin
    return begin | {"average": stereo_weights(begin["average"], old, spec), "optimizers": []}


@torch.no_grad()
def stereo_weights(weights: Mapping[str, Tensor], old: NetworkSpec, new: NetworkSpec) -> dict[str, Tensor]:
    """`weights` of `old`, by their names, as those of the same network with the channels, sources and gate of `new`.

    Of two sources the one that is a voice stays the voice; a residual has no masks. What reads the side, or how the
    channels differ, begins at zero; so do filters of the side, whose masks let it through.
    """
    two = len(old.sources) == len(new.sources) == 2 and not old.residual_source
    if not two or (old.masks, new.masks) != ("free", "free"):
        raise ValueError("Stereo begins from a mono network with two sources that both have free masks.")
    if old.options.get("fine_window") and not old.options.get("fine_channels"):
        raise ValueError("Stereo begins from a fine spectrum that goes through a front (fine_channels).")
    longer = {key: value for key, value in new.options.items() if key == "fine_window" and key in old.options}
    options = old.options | longer
    spec = replace(
        old, audio_channels=2, sources=new.sources, residual_source=new.residual_source,
        gate_residual=new.gate_residual, activity=new.activity, offset_hops=new.offset_hops, options=options,
    )  # fmt: skip
    theirs = renamed(weights)
    load_weights(Network(old), theirs)  # refuses what is not of that network
    made = Network(spec)
    mine = named_weights(made)
    pairs = made.encoder.levels // 2
    voices = [[source in VOICES for source in each.sources] for each in (old, new)]
    order = [0, 1] if voices[0] == voices[1] else [1, 0]  # of the old sources
    for name, weight in theirs.items():
        if name == "tcn/input/weight":
            mine[name][:] = 0
            mine[name][:, _heard(spec, pairs)] = weight
        elif name == "slow/input/weight":
            rate = made.separator.slow.rate if isinstance(made.separator, SlowFast) else 0
            levels = _middle((rate, 2, pairs), 1)
            rest = torch.arange(weight.shape[1] - len(levels)) + 2 * len(levels)
            mine[name][:] = 0
            mine[name][:, torch.cat([levels, rest])] = weight
        elif name == "slow/front/0/weight":
            mine[name][:] = 0
            mine[name][:, _middle((len(HARMONICS), 2), 1)] = weight
        elif name in ("head/output/weight", "head/output/bias"):
            here, there = _outputs(spec, old, made, [0, 1]), _outputs(old, spec, made, order)
            mine[name][:] = 0
            mine[name][here] = weight[there]
        else:
            mine[name][...] = weight
    sides = mine["head/output/bias"][: made.head.sizes[0]].view(spec.masked_sources, 2, -1)[:, 1]
    sides[:] = torch.tensor([-OPEN if voice else OPEN for voice in voices[1][: len(sides)]]).unsqueeze(1)
    return mine


def _middle(shape: Sequence[int], axis: int) -> Tensor:
    """Where in a block of this shape the first of the two channels lies, `[n]`; the channels are along `axis`."""
    count = int(torch.tensor(shape).prod())
    return torch.arange(count).view(*shape).select(axis, 0).flatten()


def _heard(spec: NetworkSpec, pairs: int) -> Tensor:
    """The features of the stereo network that the mono one has: levels, moving phases and pitch of the middle."""
    blocks = [_middle((2, pairs), 0), torch.empty(0, dtype=torch.int64)]
    sizes = [2 * pairs, 2 * pairs]
    if spec.filter_bins:
        shape = (2, 2 * (spec.filter_frames - 1) * spec.filter_bins)
        blocks.append(_middle(shape, 0))
        sizes.append(2 * shape[1])
    if spec.pitch_frames:
        shape = (2, spec.pitch_frames * BANDS)
        blocks += [_middle(shape, 0), torch.arange(2)]
        sizes += [2 * shape[1], 2]
    begins = torch.tensor([0, *sizes]).cumsum(0)
    return torch.cat([block + begin for block, begin in zip(blocks, begins, strict=False)])


def _outputs(spec: NetworkSpec, other: NetworkSpec, made: Network, order: Sequence[int]) -> Tensor:
    """Where in the head of `spec` lies what `other` has too: the middle's outputs, of sources in this order.

    `made` is the stereo network: sources that have no masks there are left out.
    """
    channels, count = spec.audio_channels, spec.masked_sources
    masked, both = list(order[: made.spec.masked_sources]), list(order)
    begin, found = 0, []
    for size, sources, shape in (
        (made.decoder.masked_pairs, masked, (count, channels)),
        (spec.filter_frames * 2 * spec.filter_bins, masked, (count, channels, channels)),  # put out, heard
        (int(spec.activity), both if other.activity else [], (2, 1)),
        (spec.pitch_frames * made.head.bins, masked, (count, channels)),
    ):
        grid = torch.arange(size * int(torch.tensor(shape).prod())).view(*shape, size)
        found.append(begin + grid[sources].flatten(1, -2)[:, 0].flatten())
        begin += grid.numel()
    return torch.cat(found)
