"""The recurrence of the slow trunk is torch's GRU: values and all gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from training.network.recurrence import gated_recurrence


def torchs_own(gru: nn.GRU, x: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
    return gru(x, before)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("layers", "batch", "frames", "width"), [(1, 1, 1, 1), (2, 3, 17, 6), (3, 2, 5, 21), (1, 5, 40, 64)]
)
def test_values_and_gradients_are_those_of_torch(layers: int, batch: int, frames: int, width: int, begun: bool) -> None:
    torch.manual_seed(layers)
    gru = nn.GRU(width, width, layers, batch_first=True)
    x = torch.randn(batch, frames, width)
    wanted = torch.randn(batch, frames, width)
    before = torch.randn(layers, batch, width) if begun else None
    found = []
    for recurrence in (torchs_own, gated_recurrence):
        gru.zero_grad()
        own = x.clone().requires_grad_()
        units, ends = recurrence(gru, own, before)
        (units * wanted).sum().backward()
        found.append(
            [units.detach(), ends.detach(), own.grad, *(parameter.grad.clone() for parameter in gru.parameters())]
        )
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=2e-5)
