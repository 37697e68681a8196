"""Weights keep their names, and are found under those that they had."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.training.tiny import SMALL
from training.checkpoints import load_weights, named_weights
from training.network import Network
from training.network.weight_names import NAMES, begins_with, stable_name
from training.optimizers import ordered

TINY = replace(SMALL, dilations=[1])
SLOW = replace(TINY, separator="slow_fast", options={"slow_channels": 8, "slow_layers": 1})
TCN = [  # in the order of the first checkpoints, which is that of their moments
    ("long", "encoder/long"),
    ("short", "encoder/short"),
    ("decoder", "decoder/basis"),
    ("separator.bottleneck.weight", "tcn/input/weight"),
    ("separator.bottleneck.bias", "tcn/input/bias"),
    ("separator.blocks.0.depthwise", "tcn/block/0/depthwise/weight"),
    ("separator.blocks.0.bias", "tcn/block/0/depthwise/bias"),
    ("separator.blocks.0.slope", "tcn/block/0/slopes"),
    ("separator.blocks.0.norm.weight", "tcn/block/0/norm/weight"),
    ("separator.blocks.0.norm.bias", "tcn/block/0/norm/bias"),
    ("separator.blocks.0.widen.weight", "tcn/block/0/widen/weight"),
    ("separator.blocks.0.widen.bias", "tcn/block/0/widen/bias"),
    ("separator.blocks.0.narrow.weight", "tcn/block/0/narrow/weight"),
    ("separator.blocks.0.narrow.bias", "tcn/block/0/narrow/bias"),
    ("separator.norm.weight", "head/norm/weight"),
    ("separator.norm.bias", "head/norm/bias"),
    ("separator.head.weight", "head/output/weight"),
    ("separator.head.bias", "head/output/bias"),
]
TRUNK = [
    ("separator.slow.reduce.weight", "slow/input/weight"),
    ("separator.slow.reduce.bias", "slow/input/bias"),
    ("separator.slow.norm_in.weight", "slow/input_norm/weight"),
    ("separator.slow.norm_in.bias", "slow/input_norm/bias"),
    ("separator.slow.gru.weight_ih_l0", "slow/gru/weight_ih_l0"),
    ("separator.slow.gru.weight_hh_l0", "slow/gru/weight_hh_l0"),
    ("separator.slow.gru.bias_ih_l0", "slow/gru/bias_ih_l0"),
    ("separator.slow.gru.bias_hh_l0", "slow/gru/bias_hh_l0"),
    ("separator.slow.norm.weight", "slow/norm/weight"),
    ("separator.slow.norm.bias", "slow/norm/bias"),
    ("separator.slow.film.weight", "slow/film/weight"),
    ("separator.slow.film.bias", "slow/film/bias"),
]


@pytest.mark.parametrize("spec, names", [(TINY, TCN), (SLOW, [*TCN, *TRUNK])], ids=["tcn", "slow_fast"])
def test_the_names_are_these(spec, names: list[tuple[str, str]]) -> None:
    """A change here is a change of every checkpoint: older names must go on to be read."""
    network = Network(spec)
    assert list(ordered(network)) == [name for _, name in names]
    assert set(named_weights(network)) == {name for _, name in names}
    assert [stable_name(old) for old, _ in names] == [name for _, name in names]
    older = {old: torch.randn_like(named_weights(network)[name]) for old, name in names}
    load_weights(network, older)
    assert all(torch.equal(named_weights(network)[name], older[old]) for old, name in names)


def test_batch_norms_have_names_too() -> None:
    network = Network(replace(TINY, norm="batch"))
    names = set(named_weights(network))
    assert {"tcn/block/0/norm/running_mean", "head/norm/running_var", "head/norm/num_batches_tracked"} <= names
    load_weights(Network(network.spec), named_weights(network))


def test_no_two_weights_share_a_name() -> None:
    assert len({name for name, *_ in NAMES}) == len(NAMES)
    paths = [path for _, *paths in NAMES for path in paths]
    assert len(set(paths)) == len(paths)
    assert stable_name("separator.blocks.12.widen.weight") == "tcn/block/12/widen/weight"
    assert stable_name("separator.toy.weight") == "separator/toy/weight"  # of a part that somebody is trying out
    assert stable_name("separator/toy/weight") == "separator/toy/weight"


def test_what_shall_learn_may_be_named_as_ever() -> None:
    for beginning in ("head/output", "separator.head", "head.project", "head", ""):
        assert begins_with("head/output/bias", beginning)
    assert not begins_with("head/output/bias", "separator.blocks")
    assert begins_with("tcn/block/3/widen/weight", "separator.blocks.3.") and begins_with("toy/bias", "toy.b")


def test_weights_of_another_architecture_are_refused() -> None:
    with pytest.raises(ValueError, match="another architecture"):
        load_weights(Network(TINY), named_weights(Network(SMALL)))
    with pytest.raises(ValueError, match="another architecture"):
        load_weights(Network(TINY), named_weights(Network(replace(TINY, hidden=17))))
