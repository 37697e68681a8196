"""The compiled middle of a block is what torch makes of the same numbers: values and all gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tests.training.test_network_parts import AHEAD, FILTERS, SLOW
from training.network import Network
from training.network.depthwise import depthwise
from training.network.spec import NetworkSpec

ROUNDING = 2**-8  # of a bfloat16


def in_torch(wide: Tensor, slope: Tensor, weights: Tensor, bias: Tensor, dilation: int) -> Tensor:
    """The same in float32."""
    kernel, frames = len(weights), wide.shape[1]
    padded = F.pad(F.prelu(wide.float(), slope[:1]), (0, 0, (kernel - 1) * dilation, 0))
    taps = [padded[:, k * dilation : k * dilation + frames] * weights[k] for k in range(kernel)]
    return F.prelu(bias + torch.stack(taps).sum(0), slope[1:])


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    frames=st.integers(1, 40),
    hidden=st.integers(1, 35),
    dilation=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_are_those_of_torch(
    batch: int, frames: int, hidden: int, dilation: int, seed: int
) -> None:
    torch.manual_seed(seed)
    wide = torch.randn(batch, frames, hidden).bfloat16()
    weights, bias = torch.randn(3, hidden), torch.randn(hidden)
    slope, wanted = torch.tensor([0.25, -0.4]), torch.randn(batch, frames, hidden).bfloat16()
    found = []
    for way in (in_torch, depthwise):
        leaves = [each.clone().requires_grad_() for each in (wide, slope, weights, bias)]
        out = way(*leaves, dilation)
        out.backward(wanted.to(out.dtype))
        found.append([out.detach().float(), *(leaf.grad.float() for leaf in leaves)])
    theirs, ours = found
    for name, a, b in zip(("out", "wide", "slope", "weights", "bias"), ours, theirs, strict=True):
        rounded = name in ("out", "wide")
        torch.testing.assert_close(
            a, b, rtol=ROUNDING if rounded else 1e-4, atol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_what_is_not_a_number_stays_in_sight() -> None:
    wide = torch.zeros(1, 4, 3).bfloat16()
    wide[0, 1, 1] = torch.nan
    out = depthwise(wide, torch.tensor([0.25, 0.25]), torch.ones(3, 3), torch.zeros(3), 1)
    assert not out[0, 1:, 1].isfinite().any() and out[0, :, 0].isfinite().all() and out[0, 0].isfinite().all()


@pytest.mark.parametrize("spec", [SLOW, FILTERS, AHEAD], ids=["slow-fast", "filters", "look-ahead"])
def test_a_network_in_bfloat16_learns_what_it_learns_in_float32(spec: NetworkSpec) -> None:
    torch.manual_seed(3)
    network = Network(spec)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    wave = 0.1 * torch.randn(2, 40 * spec.hop)
    gradients = []
    for mixed in (False, True):
        network.mixed = mixed
        network.zero_grad()
        network(wave).square().sum().backward()
        gradients.append(
            torch.cat([weight.grad.flatten() for weight in network.parameters() if weight.grad is not None])
        )
    assert F.cosine_similarity(*gradients, dim=0) > 0.995
