"""A larger network that begins as the smaller one whose weights it took."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.training.tiny import SMALL
from training.network import Network
from training.optimizers import build_optimizers, freeze_weights
from training.recipe import TrainingSpec
from training.weight_transfer import warm_moments, warm_start

SHORT = replace(SMALL, filterbank="short")


@pytest.mark.parametrize(
    "change",
    [{}, {"hidden": SHORT.hidden + 7}, {"filter_bins": 6, "filter_frames": 3}, {"activity": True}, {"pitch_frames": 2}],
    ids=["same", "wider", "filters", "activity", "pitch frames"],
)
def test_first_output_is_that_of_the_smaller_network(change: dict) -> None:
    torch.manual_seed(0)
    small, large = Network(SHORT), Network(replace(SHORT, **change))
    wave = torch.randn(2, 3200) * 0.1
    assert not torch.allclose(large(wave), small(wave), atol=1e-4)
    warm_start(large, small.state_dict())
    assert torch.allclose(large(wave), small(wave), atol=1e-6)
    # And what is new can learn: after a step it has a share in the output.
    optimizer = torch.optim.SGD(large.parameters(), 1.0)
    large(wave).square().sum().backward()
    optimizer.step()
    for name, weight in large.named_parameters():
        assert (weight.grad is not None and weight.grad.abs().sum() > 0) or "head" in name, name


def test_a_network_that_looks_ahead_begins_as_one_that_does_not() -> None:
    """Once the silence before the beginning, which it hears otherwise, is out of its reach."""
    torch.manual_seed(0)
    small, large = Network(SHORT), Network(replace(SHORT, kernel=SHORT.kernel + 1, max_lookahead_dilation=2))
    reach = SHORT.analysis_window + 128 * (SHORT.kernel * sum(SHORT.dilations) + 3)
    wave = torch.randn(2, 128 * (-(-2 * reach // 128) + 10)) * 0.1
    warm_start(large, small.state_dict())
    assert torch.allclose(large(wave)[..., reach:], small(wave)[..., reach:], atol=1e-6)
    assert not torch.allclose(large(wave), small(wave), atol=1e-6)
    further = Network(replace(large.spec, kernel=SHORT.kernel + 2, max_lookahead_dilation=4))
    warm_start(further, large.state_dict(), ahead=2)
    assert torch.allclose(further(wave)[..., 2 * reach :], large(wave)[..., 2 * reach :], atol=1e-6)
    for spec, ahead in (
        (large.spec, 0),
        (replace(large.spec, max_lookahead_dilation=4), 2),
        (replace(large.spec, max_lookahead_dilation=0), 2),
    ):
        with pytest.raises(ValueError, match="longer kernel"):
            warm_start(Network(spec), large.state_dict(), ahead)
    large(wave).square().sum().backward()
    assert all(block.depthwise.grad.abs().amax(1).min() > 0 for block in large.separator.stack())


def test_smaller_or_other_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        warm_start(Network(SHORT), Network(replace(SHORT, hidden=SHORT.hidden + 1)).state_dict())
    with pytest.raises(ValueError, match="another architecture"):
        warm_start(Network(SHORT), Network(replace(SHORT, dilations=[1])).state_dict())


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_optimizers_take_every_weight_once_and_learn(name: str) -> None:
    torch.manual_seed(0)
    network = Network(SHORT)
    optimizers = build_optimizers(network, TrainingSpec(optimizer=name, learning_rate=2e-3))
    taken = [id(w) for optimizer in optimizers for group in optimizer.param_groups for w in group["params"]]
    assert sorted(taken) == sorted(id(weight) for weight in network.parameters())
    wave = torch.randn(2, 3200) * 0.1
    target = torch.stack([wave * 0.2, wave * 0.8], 1)
    losses = []
    for _ in range(15):
        loss = (network(wave) - target).square().mean()
        loss.backward()
        losses.append(float(loss.detach()))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_only_what_shall_learn_is_taken(name: str) -> None:
    network, spec = (
        Network(SHORT),
        TrainingSpec(optimizer=name, filterbank_learning_rate_share=0.05, train_only="head/"),
    )
    freeze_weights(network, spec)
    optimizers = build_optimizers(network, spec)
    taken = {id(w) for optimizer in optimizers for group in optimizer.param_groups for w in group["params"]}
    assert taken == {id(weight) for weight in network.head.parameters()}


def test_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match="adamw"):
        TrainingSpec(optimizer="sgd")


@pytest.mark.parametrize(
    "change", [{"filter_bins": 6, "filter_frames": 3, "activity": True}, {"kernel": 4, "max_lookahead_dilation": 2}]
)
def test_moments_go_over_with_the_weights(change: dict) -> None:
    """One step after the warm start, what was trained hardly moved: its moments know how large its gradients are."""
    torch.manual_seed(0)
    small, large = (
        Network(SHORT),
        Network(replace(SHORT, filter_bins=6, filter_frames=3, activity=True, kernel=4, max_lookahead_dilation=2)),
    )
    spec = TrainingSpec(learning_rate=1e-3)
    (before,), (after,) = build_optimizers(small, spec), build_optimizers(large, spec)
    wave = torch.randn(2, 3200) * 0.1
    for _ in range(3):
        (small(wave) - wave[:, None]).square().mean().backward()
        before.step()
        before.zero_grad()
    warm_start(large, small.state_dict())
    warm_moments(after, before.state_dict(), large)
    old, new = small.head.project.weight, large.head.project.weight
    kept, grown = before.state[old]["exp_avg_sq"], after.state[new]["exp_avg_sq"]
    assert torch.equal(grown[: len(kept)], kept)
    assert grown.shape == new.shape and grown[len(kept) :].abs().max() == 0
    for one, other, begin in zip(small.separator.stack(), large.separator.stack(), (0, 0, 1), strict=True):
        kept = before.state[one.depthwise]["exp_avg_sq"]  # the last block, of dilation 4, waits for nothing
        assert torch.equal(after.state[other.depthwise]["exp_avg_sq"][begin : begin + 3], kept)
    assert float(after.state[new]["step"]) == 3
    (large(wave) - wave[:, None]).square().mean().backward()
    after.step()  # and AdamW takes them


def test_half_precision_leaves_the_way_of_the_sound_alone() -> None:
    """bfloat16 in the separator changes the masks a little and nothing else: open masks still give the input back."""
    torch.manual_seed(0)
    network = Network(SHORT).requires_grad_(False)
    wave = torch.randn(1, 6400) * 0.1
    exact = network(wave)
    network.mixed = True
    assert not torch.equal(network(wave), exact)
    assert torch.allclose(network(wave), exact, atol=2e-2)
    network.head.project.weight.zero_()
    network.head.project.bias.fill_(30.0)
    assert torch.allclose(network(wave)[:, 0], wave, atol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("share", [0.0, 0.05])
def test_a_filterbank_learns_slower_or_not_at_all(name: str, share: float) -> None:
    torch.manual_seed(0)
    network = Network(SMALL)
    bank = {"encoder.long", "encoder.short", "decoder.basis"}
    before = {part: weight.detach().clone() for part, weight in network.named_parameters()}
    spec = TrainingSpec(learning_rate=1e-2, weight_decay=0.0, optimizer=name, filterbank_learning_rate_share=share)
    freeze_weights(network, spec)
    optimizers = build_optimizers(network, spec)
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] *= group.get("share", 1.0)
    network(torch.randn(1, 1280)).square().mean().backward()
    for optimizer in optimizers:
        optimizer.step()
    for part, weight in network.named_parameters():
        moved = float((weight - before[part]).abs().max().detach())
        assert moved > 0 or (part in bank and not share)
        if part in bank:
            assert moved == pytest.approx(share * 1e-2, rel=0.01)  # Adam's first step is the learning rate
