"""Mixture-invariant training (Wisdom et al. 2020, arXiv 2006.12701): learning from mixtures whose sources nobody knows.

Two mixtures are added up, the network takes the sum apart, and what it puts out counts as the one or the other mixture,
whichever costs least. Leave the sum of the estimates no freedom (network.consistency: true), as the authors do.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from training.losses.loss import Context, Loss, Setup, Sound, WeightedSum

MOST = 8  # estimates, of which there are 2^8 ways to share them out


class Mixit(Loss):
    """What it stands around, summed over the two `mixtures`, each beside the estimates that go to it, `[batch]`.

    Each estimate goes to one mixture; the ways of all examples are tried and the one that costs least counts.
    `mixtures` are the names of two references; all, if none are named. An example that lacks one has no value.
    """

    per_source = False
    wrapper = True
    reaches_all = True

    def __init__(self, setup: Setup, around: WeightedSum, mixtures: tuple[str, ...] = ()):
        super().__init__(setup)
        names = tuple(mixtures) or setup.references
        if len(names) != 2 or set(names) - set(setup.references):
            known = ", ".join(setup.references)
            raise ValueError(f"mixtures are two of the references {known}, not {', '.join(names)}.")
        if not 2 <= len(setup.sources) <= MOST:
            raise ValueError(f"mixit shares out 2 to {MOST} estimates, and the network has {len(setup.sources)}.")
        self.around, self.mixtures = around, names
        self.ways = list(product((0, 1), repeat=len(setup.sources)))

    def forward(self, context: Context) -> Tensor:
        one, two = (context.references[name] for name in self.mixtures)
        waves = torch.stack([sound.waves for sound in context.estimates.values()])
        costs = []
        for way in self.ways:
            second = waves.new_tensor(way).view(-1, 1, 1, 1)
            sums = [Sound((waves * share).sum(0)) for share in (1 - second, second)]
            costs.append(self.around(sums[0], one, context) + self.around(sums[1], two, context))
        both = (one.power > 0) & (two.power > 0)
        return torch.stack(costs, -1).amin(-1) * both
