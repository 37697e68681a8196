"""One-and-rest permutation-invariant training (Takahashi et al. 2019, arXiv 1904.03065): any number of sources.

The network takes one source out, whichever is easiest, and leaves the rest; run on the rest it takes out the next.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.activity import activity_error
from training.losses.loss import PRESENT, Context, Loss, Setup, Sound, WeightedSum


class OneAndRest(Loss):
    """`min_i l(ŝ, s_i) + l(r̂, Σ_{n≠i} s_n) / (N − 1)` over the N references that sound, `[batch]`.

    The network's two sources are the one and the rest. Of a single source the rest is silence, which l must bear. With
    `activity` above zero the network's activity head learns by that weight when each of the two sounds: that the rest
    does not is where to stop.
    """

    per_source = False
    wrapper = True
    reaches_all = True

    def __init__(self, setup: Setup, around: WeightedSum, activity: float = 0.0):
        super().__init__(setup)
        if len(setup.sources) != 2 or len(setup.references) < 2:
            raise ValueError("it is for a network of two sources, the one and the rest, and several references.")
        if (activity > 0) != setup.activity:
            raise ValueError("its activity is above 0 where there is an activity head, which learns when to stop.")
        self.around, self.activity = around, activity

    def forward(self, context: Context) -> Tensor:
        one, rest = context.estimates.values()
        references = list(context.references.values())
        sounding = torch.stack([each.power > PRESENT for each in references])
        others = (sounding.sum(0) - 1).clamp(min=1)
        total = torch.stack([each.waves for each in references]).sum(0)
        costs = []
        for reference, there in zip(references, sounding, strict=True):
            left = Sound(total - reference.waves)
            cost = self.around(one, reference, context) + self.around(rest, left, context) / others
            if self.activity:
                assert context.activity is not None
                waves = torch.stack([reference.waves.mean(1), left.waves.mean(1)], 1)
                cost = cost + self.activity * activity_error(context.activity, waves)
            costs.append(torch.where(there, cost, torch.inf))
        found = torch.stack(costs).amin(0)
        return torch.where(sounding.any(0), found, 0.0)
