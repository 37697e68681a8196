"""Permutation-invariant training (Yu et al. 2017, arXiv 1607.00325; Kolbæk et al. 2017, arXiv 1703.06284).

For sources of one kind, such as two speakers, no order is the right one: the order counts that costs least.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from training.losses.loss import Context, Loss, Setup, Sound, WeightedSum

SEARCHED = 3  # sources of which every order is tried; of more the Hungarian algorithm finds the best one


class Pit(Loss):
    """The sum of what it stands around over the sources that `of` names, in the order of references that costs least.

    One order an example, chosen over the whole piece and for all the losses together.
    """

    wrapper = True

    def __init__(self, setup: Setup, around: WeightedSum):
        super().__init__(setup)
        self.around = around

    def forward(self, estimates: Sequence[Sound], references: Sequence[Sound], context: Context) -> Tensor:
        rows = [torch.stack([self.around(one, true, context) for true in references], -1) for one in estimates]
        costs = torch.stack(rows, -2)
        return costs.gather(-1, best_order(costs.detach()).unsqueeze(-1)).sum((-2, -1))


def best_order(costs: Tensor) -> Tensor:
    """`costs` `[batch, estimates, references]`, as many of both → each estimate's reference, int64 `[batch, n]`."""
    count = costs.shape[-1]
    if count > SEARCHED:
        return _assigned(costs)
    orders = torch.tensor(list(permutations(range(count))), device=costs.device)  # [orders, n]
    totals = costs[:, torch.arange(count, device=costs.device), orders].sum(-1)  # [batch, orders]
    return orders[totals.argmin(-1)]


@torch.compiler.disable
def _assigned(costs: Tensor) -> Tensor:
    """The Hungarian algorithm (Kuhn 1955), on the CPU."""
    found = [linear_sum_assignment(each)[1] for each in costs.nan_to_num(1e9).cpu().double().numpy()]
    return torch.from_numpy(np.stack(found)).to(costs.device)
