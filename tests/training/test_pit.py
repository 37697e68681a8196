"""Permutation-invariant training: hand-worked cases, and the Hungarian algorithm against trying every order."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from tests.training.objectives import objective
from training.losses.pit import best_order

TALKERS = ("one", "two")
PIT = [{"loss": "pit", "of": list(TALKERS), "around": [{"loss": "snr", "weight": 0.1, "ceiling": 60.0}]}]


def test_best_order_by_hand() -> None:
    costs = torch.tensor([[[1.0, 2.0], [3.0, 5.0]], [[1.0, 2.0], [3.0, 3.5]]])
    # 1 + 5 > 2 + 3, though the first estimate likes the first reference best; 1 + 3.5 < 2 + 3.
    assert best_order(costs).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_best_order_is_the_cheapest_of_all(count: int) -> None:
    costs = torch.randn(6, count, count, generator=torch.Generator().manual_seed(count))
    found = costs.gather(-1, best_order(costs).unsqueeze(-1)).sum((-2, -1))
    every = torch.stack([costs[:, range(count), order].sum(-1) for order in map(list, permutations(range(count)))])
    assert torch.allclose(found, every.amin(0), atol=1e-6)
    assert all(sorted(order) == list(range(count)) for order in best_order(costs).tolist())


def test_the_order_of_the_estimates_does_not_matter() -> None:
    """Each example finds its own; swapped estimates cost what estimates in order cost, to the hand-worked figure."""
    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(3, 2, 24000, generator=generator)
    sources /= sources.square().mean(-1, keepdim=True).sqrt()  # of one power each, and their sum of two
    estimates = 0.9 * sources  # errors 20 dB below each, 23 below the mixture
    pit, plain = objective(PIT, TALKERS), objective([{"loss": "snr", "of": list(TALKERS), "ceiling": 60.0}], TALKERS)
    in_order = pit(estimates, sources)[0].item()
    assert in_order == pytest.approx(0.1 * plain(estimates, sources)[0].item(), rel=1e-5)
    assert in_order == pytest.approx(0.1 * 2 * -23.01, abs=0.01)
    mixed = estimates.clone()
    mixed[1] = estimates[1].flip(0)
    mixed.requires_grad_()
    loss = pit(mixed, sources)[0]
    assert loss.item() == pytest.approx(in_order, rel=1e-5)
    assert plain(mixed, sources)[0] > plain(estimates, sources)[0] + 10
    loss.backward()
    assert mixed.grad is not None and (mixed.grad.square().sum(-1) > 0).all()


def test_one_order_for_all_losses_inside() -> None:
    """The dearer loss decides for both."""
    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(1, 2, 24000, generator=generator) * 0.1
    inside = [{"loss": "snr", "weight": 1.0}, {"loss": "compressed_spectrum", "weight": 1e-3}]
    both = objective([{"loss": "pit", "of": list(TALKERS), "around": inside}], TALKERS)
    parts = objective([{"loss": name, "of": list(TALKERS)} for name in ("snr", "compressed_spectrum")], TALKERS)
    _, values = parts(0.9 * sources, sources)
    expected = values["snr one two"] + 1e-3 * values["compressed_spectrum one two"]
    assert both(0.9 * sources.flip(1), sources)[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_four_sources_learn_through_the_hungarian_algorithm() -> None:
    names = ("a", "b", "c", "d")
    sources = torch.randn(2, 4, 9600, generator=torch.Generator().manual_seed(0))
    estimates = (0.8 * sources[:, [2, 0, 3, 1]]).requires_grad_()
    pit = objective([{"loss": "pit", "of": list(names), "around": [{"loss": "si_sdr"}]}], names)
    loss, _ = pit(estimates, sources)
    assert loss.item() < -4 * 60  # every one found its own
    loss.backward()
    assert estimates.grad is not None and estimates.grad.isfinite().all()


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"loss": "pit", "of": ["one", "two"]}, "pit stands around others"),
        ({"loss": "snr", "of": "one", "around": [{"loss": "snr"}]}, "snr stands around nothing"),
        ({"loss": "pit", "of": "one", "around": [{"loss": "snr"}]}, "two sources at least"),
        ({"loss": "pit", "of": ["one", "two"], "around": [{"loss": "activity"}]}, "losses of one source"),
        ({"loss": "pit", "of": ["one", "two"], "around": [{"loss": "snr", "from": 0.5}]}, "from belongs to pit itself"),
        ({"loss": "pit", "of": ["one", "two"], "around": [{"loss": "snr", "colour": 1}]}, "has no key colour"),
    ],
)
def test_what_cannot_be_is_one_sentence(entry: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        objective([entry], TALKERS)
