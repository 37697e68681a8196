"""A slow-fast network through rtsep's own Stream: both forms, any blocks, several channels, faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml

import rtsep
from tests.training.tiny import SMALL
from training.checkpoints import named_weights
from training.export import export
from training.network import Network
from training.network.slow_fast import SlowFast
from training.onnx_graph import all_nodes
from training.recipe import parse_recipe
from training.weight_transfer import warm_start

SPEC = replace(
    SMALL,
    **{"filterbank": "folded", "filter_bins": 6, "filter_frames": 3, "activity": True},
    **{"separator": "slow_fast", "options": {"slow_channels": 16, "film_blocks": [0, 2]}},
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Path, Path]:
    """A network whose slow trunk says something, and its two graphs."""
    folder = tmp_path_factory.mktemp("slow")
    torch.manual_seed(0)
    network = Network(SPEC).eval().requires_grad_(False)
    for weight in network.parameters():
        weight.add_(torch.randn_like(weight) * 0.05)
    text = yaml.safe_dump({"name": "slow", "target": "speech", "network": SPEC.to_dict()})
    state = {"average": named_weights(network), "recipe": text, "hours": 1.0, "step": 1, "trained_on": "nothing"}
    torch.save(state, folder / "checkpoint.pt")
    return network, *export(folder / "checkpoint.pt", folder / "slow.onnx")


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(int(48000 * seconds)) * 0.1).astype(np.float32)


def test_the_file_says_what_the_host_needs(made: tuple[Network, Path, Path]) -> None:
    network, step, flat = made
    spec = rtsep.load(step).spec
    assert spec.slow_rate == 4 and spec.state == network.state_spec.state
    assert rtsep.load(flat).spec.slow_rate == 4
    branching = [node for node in all_nodes(onnx.load(step).graph) if node.op_type == "If"]
    assert len(branching) == 3


def test_the_slow_trunk_matters(made: tuple[Network, Path, Path]) -> None:
    wave = torch.from_numpy(noise(0.2)[: 128 * 75])[None]
    mute = Network(SPEC).eval().requires_grad_(False)
    mute.load_state_dict(made[0].state_dict())
    assert isinstance(mute.separator, SlowFast)
    for weight in mute.separator.slow.film.parameters():
        weight.zero_()
    assert (made[0](wave) - mute(wave)).abs().max() > 1e-3


@pytest.mark.parametrize("form", [1, 2], ids=["step", "flat"])
def test_any_blocks_give_the_same_bits_which_are_the_network(made: tuple[Network, Path, Path], form: int) -> None:
    wave = noise(4)[: 128 * 1500]
    with torch.no_grad():
        expected = made[0](torch.from_numpy(wave)[None])[0].numpy()
    stream = rtsep.load(made[form]).stream()
    whole = np.concatenate([stream.process(wave, sources=True), stream.flush(sources=True)], 1)
    assert np.abs(whole[:, stream.latency :] - expected).max() < 1e-4
    rng = np.random.default_rng(1)
    for most in (1000, 90):  # flush was a reset: the phase begins anew each time
        cuts = np.cumsum(rng.integers(1, most, 4000))
        pieces = [stream.process(block, sources=True) for block in np.split(wave, cuts[cuts < len(wave)])]
        assert np.array_equal(np.concatenate([*pieces, stream.flush(sources=True)], 1), whole)
    stream.process(wave[: 128 * 6 + 50])
    stream.reset()
    assert np.array_equal(stream.process(wave[:9000], sources=True), whole[:, :9000])


def test_each_channel_has_a_state_of_its_own(made: tuple[Network, Path, Path]) -> None:
    model = rtsep.load(made[1])
    sounds = np.stack([noise(1, seed) for seed in (1, 2)], 1)
    both = model.stream(channels=2).process(sounds)
    for channel in (0, 1):
        assert np.array_equal(model.stream().process(sounds[:, channel]), both[:, channel])


def test_it_recovers_from_faults(made: tuple[Network, Path, Path]) -> None:
    """What is not finite never reaches the state; loud faults fade out of it."""
    wave, fault = noise(6), np.concatenate([np.full(500, np.nan), np.full(500, np.inf)]).astype(np.float32)
    faulty, spared = (rtsep.load(made[1]).stream() for _ in range(2))
    spared.process(np.concatenate([wave[:4800], np.zeros_like(fault)]))
    assert np.isfinite(faulty.process(np.concatenate([wave[:4800], fault]))).all()
    assert np.array_equal(faulty.process(wave), spared.process(wave))
    squares = (8 * np.sign(np.sin(np.arange(1000) / 20))).astype(np.float32)
    assert np.isfinite(faulty.process(squares)).all()
    spared.process(np.zeros_like(squares))
    assert np.abs(faulty.process(wave) - spared.process(wave))[-4800:].max() < 1e-3


def test_it_begins_as_the_network_without_a_slow_trunk() -> None:
    torch.manual_seed(0)
    plain, slow = Network(replace(SPEC, separator="tcn", options={})), Network(SPEC)
    warm_start(slow, named_weights(plain))
    wave = torch.randn(1, 128 * 20) * 0.1
    assert torch.equal(slow(wave), plain(wave))
    slow(wave).square().sum().backward()
    assert isinstance(slow.separator, SlowFast)
    film = slow.separator.slow.film.project.weight
    assert film.grad is not None and film.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="does not fit into slow/"):
        warm_start(Network(replace(SPEC, options=SPEC.options | {"slow_channels": 20})), named_weights(slow))
    with pytest.raises(ValueError, match="another architecture"):
        warm_start(plain, named_weights(slow))


def test_the_compiled_network_has_the_same_gradients() -> None:
    """In bfloat16, as train.py runs it; the recurrent units stay in float32 and are not unrolled."""
    torch.manual_seed(0)
    network = Network(replace(SPEC, filterbank="short", filter_bins=0, dilations=[1], options={"slow_channels": 8}))
    network.mixed = True
    network.get_submodule("separator.slow.film.project").weight.data.normal_(0, 0.1)
    wave, found = torch.randn(2, 128 * 20) * 0.1, []
    for form in (network, torch.compile(network)):
        network.zero_grad()
        form(wave).square().mean().backward()
        found.append([weight.grad.clone() for weight in network.parameters() if weight.grad is not None])
    assert len(found[0]) == len(found[1]) == len(list(network.parameters()))
    for eager, compiled in zip(*found, strict=True):
        assert eager.abs().sum() > 0 and torch.allclose(compiled, eager, atol=0.05 * float(eager.abs().max()))
    assert all(weight.dtype == torch.float32 for weight in network.get_submodule("separator.slow.gru").parameters())


def test_while_training_some_pieces_follow_another() -> None:
    """With a share of 1 two pieces in two steps are what one long piece is, given to the other row of the batch."""
    torch.manual_seed(0)
    trunk = Network(SPEC).separator.slow.train()
    x = torch.randn(2, 4, trunk.width)
    whole = trunk.recur(torch.cat([x, x.roll(-1, 0)], 1))
    trunk.carried_share = 1.0
    torch.testing.assert_close(trunk.recur(x), whole[:, :4])
    torch.testing.assert_close(trunk.recur(x), whole.roll(1, 0)[:, 4:])
    assert not torch.allclose(trunk.recur(x), whole.roll(1, 0)[:, 4:])  # a third piece follows the second
    assert torch.equal(trunk.eval().recur(x), whole[:, :4])  # a stream begins with nothing
    trunk.train().carried_share = 0.5
    cold = sum(torch.allclose(trunk.recur(x)[row], whole[row, :4]) for row in (0, 1) for _ in range(50))
    assert 30 <= cold <= 70


def test_only_a_trunk_that_remembers_can_be_carried() -> None:
    recipe = (Path(__file__).parents[2] / "training/recipes/ablation.yaml").read_text("utf-8")
    with pytest.raises(ValueError, match="slow_fast"):
        parse_recipe(recipe + "  carried_share: 0.5\n")
