"""Labels of voice activity and the loss of the head that learns them."""

from __future__ import annotations

from dataclasses import replace

import torch

from tests.training.objectives import objective
from tests.training.tiny import SMALL
from training.losses.activity import HANGOVER, active_hops, activity_error
from training.network import Network

HOP = 128


def bursts() -> torch.Tensor:
    """One second: a source that sounds in hops 100 to 200, and one that never does. Their sum has RMS 1."""
    sources = torch.zeros(1, 2, 375 * HOP)
    sources[0, 0, 100 * HOP : 200 * HOP] = torch.randn(100 * HOP)
    return sources / sources.sum(1).square().mean().sqrt()


def test_labels_are_where_the_source_is() -> None:
    labels = active_hops(bursts(), 375)
    expected = torch.zeros(375)
    expected[100 - HANGOVER : 200 + HANGOVER] = 1
    assert labels.shape == (1, 375, 2)
    assert torch.equal(labels[0, :, 0], expected)
    assert labels[0, :, 1].sum() == 0


def test_closures_are_bridged_and_tails_are_not_speech() -> None:
    sources = bursts()
    sources[0, 0, 150 * HOP : 155 * HOP] = 0  # 13 ms
    sources[0, 0, 200 * HOP : 300 * HOP] = torch.randn(100 * HOP) * 0.01  # 40 dB down
    labels = active_hops(sources, 375)[0, :, 0]
    assert labels[100:200].all()
    assert labels[200 + HANGOVER :].sum() == 0


def test_error_is_zero_for_the_truth_and_large_for_its_contrary() -> None:
    sources = bursts()
    truth = (active_hops(sources, 375) * 2 - 1) * 20
    assert activity_error(truth, sources) < 1e-6
    assert activity_error(-truth, sources) > 10
    assert torch.allclose(activity_error(torch.zeros(1, 375, 2), sources), torch.tensor(2.0).log())


def test_the_head_learns_to_tell_speech_from_silence() -> None:
    torch.manual_seed(0)
    network = Network(replace(SMALL, activity=True))
    both = objective([{"loss": "snr", "of": ["speech", "noise"], "weight": 0.1}, {"loss": "activity"}], activity=True)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    first = last = 0.0
    for _ in range(80):
        sources = torch.zeros(4, 2, 60 * HOP)
        sources[:, 0, 20 * HOP : 40 * HOP] = torch.randn(4, 20 * HOP) * 0.3
        sources[:, 1] = torch.randn(4, 60 * HOP) * 0.003
        estimate, logits, _ = network.estimate(sources.sum(1))
        assert logits.shape == (4, 60, 2)
        loss, parts = both(estimate, sources, activity=logits)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        first, last = first or float(parts["activity"]), float(parts["activity"])
    assert first > 0.6 and last < 0.2
