"""What is kept of the pairs is the same by the compiled loops and by torch's operators, and so are all gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.training.test_network_parts import FILTERS, SLOW
from training.network import Network
from training.network.decoder import Decoder
from training.network.spec import NetworkSpec

MONO = replace(FILTERS, pitch_frames=2)
KINDS = {
    "mono": MONO,
    "folded": replace(MONO, filterbank="folded"),
    "stereo": replace(MONO, audio_channels=2, filterbank="folded", pitch_frames=1),
    "slow-fast, look-ahead": replace(
        SLOW, filterbank="folded", pitch_frames=1, lookahead_hops=2, filter_frames=3, filter_bins=5
    ),
    "remainder": replace(MONO, residual_source=True),
}


def learned(spec: NetworkSpec, frozen: bool) -> list[Tensor]:
    """What a network puts out, and its gradients."""
    torch.manual_seed(5)
    network = Network(spec)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight.add_(0.1 * torch.randn_like(weight))
            weight.requires_grad_(not (frozen and name.startswith(("encoder", "decoder"))))
    wave = 0.1 * torch.randn(*((3, 2) if spec.audio_channels == 2 else (3,)), 30 * spec.hop)
    out = network(wave)
    (out * torch.randn_like(out)).sum().backward()
    return [out.detach(), *(weight.grad for weight in network.parameters() if weight.grad is not None)]


@pytest.mark.parametrize("frozen", [False, True], ids=["all learn", "filterbank fixed"])
@pytest.mark.parametrize("spec", KINDS.values(), ids=KINDS)
def test_values_and_gradients_are_those_of_torch(
    spec: NetworkSpec, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[bool] = []
    whether = Decoder.all_at_once

    def watched(*given) -> bool:
        called.append(whether(*given))
        return called[-1]

    monkeypatch.setattr(Decoder, "all_at_once", staticmethod(watched))
    ours = learned(spec, frozen)
    assert called == [True]
    monkeypatch.setattr(Decoder, "all_at_once", staticmethod(lambda *given: False))
    theirs = learned(spec, frozen)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
