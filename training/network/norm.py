"""Normalisation inside the separator: nothing may look across time at run time."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn


class ChannelNorm(nn.BatchNorm1d):
    """Batch normalisation of the last axis (Ioffe & Szegedy 2015), over all frames of a batch while training.

    At run time it is one gain and one offset a channel, which `folded` moves into the product behind it: it costs
    nothing then.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, -2)).view_as(x)


NORMS: dict[str, Callable[[int], nn.Module]] = {"frame": nn.LayerNorm, "batch": ChannelNorm}


def folded(norm: nn.Module, linear: nn.Linear) -> tuple[nn.Module, nn.Linear]:
    """The pair as it runs: a ChannelNorm becomes an identity and a linear layer that does both; others stay."""
    if not isinstance(norm, ChannelNorm):
        return norm, linear
    assert norm.running_mean is not None and norm.running_var is not None
    both = copy.deepcopy(linear)
    with torch.no_grad():
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        both.bias.add_(linear.weight @ (norm.bias - norm.running_mean * gain))
        both.weight.mul_(gain)
    return nn.Identity(), both
