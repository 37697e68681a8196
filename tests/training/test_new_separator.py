"""A separator that somebody adds: a class and a line in the list, and it trains, exports and streams."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rtsep
from training.checkpoints import load_weights, named_weights
from training.export import export
from training.network import Network, NetworkSpec
from training.network.part import Memory, Separator, StateSpec, linear_products
from training.network.separators import SEPARATORS
from training.onnx_weights import read_shipped
from training.recipe import parse_recipe

RECIPE = """
name: leaky
target: speech
network: {analysis_window: 512, filterbank: short, channels: 12, separator: leaky, leak: 3}
"""


class Leaky(Separator):
    """A leaky mean over time: the simplest thing that remembers, and has no taps."""

    @dataclass(frozen=True)
    class Options:
        leak: int = 2

    def __init__(self, spec: NetworkSpec, features: int, levels: int):
        super().__init__(spec, features, levels)
        self.keep = 1 - 2.0**-spec.separator_options.leak
        self.listen = nn.Linear(features, spec.channels)

    @property
    def state_spec(self) -> StateSpec:
        return StateSpec(state=self.listen.out_features)

    @property
    def products(self) -> tuple[int, ...]:
        return (linear_products(self),)

    def forward(self, features: Tensor) -> Tensor:
        mean, found = torch.zeros_like(self.listen(features[:, 0])), []
        for x in torch.tanh(self.listen(features)).unbind(1):
            mean = self.keep * mean + (1 - self.keep) * x
            found.append(mean)
        return torch.stack(found, 1)

    def step(self, features: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        mean = self.keep * memory.state + (1 - self.keep) * torch.tanh(self.listen(features))[0]
        return mean.unsqueeze(0), memory._replace(state=mean)


def test_a_class_and_a_line_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SEPARATORS, "leaky", Leaky)
    recipe = parse_recipe(RECIPE)
    torch.manual_seed(0)
    network = Network(recipe.network)
    wave = torch.randn(1, 128 * 40) * 0.1
    network(wave)[:, 0].square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())
    network.requires_grad_(False).head.project.weight.normal_(0, 0.3)
    assert named_weights(network)["separator/listen/weight"].shape[0] == 12
    state = {"average": named_weights(network), "recipe": recipe.text, "hours": 1.0, "step": 1, "trained_on": "x"}
    torch.save(state, tmp_path / "checkpoint.pt")
    for file in export(tmp_path / "checkpoint.pt", tmp_path / "leaky.onnx"):
        stream = rtsep.load(file).stream(block_multiple=128)
        streamed = np.concatenate([stream.process(wave[0].numpy()), stream.flush()])[stream.latency :]
        assert np.abs(streamed - network(wave)[0, 0].numpy()).max() < 1e-5
    begun = Network(recipe.network)
    load_weights(begun, read_shipped(tmp_path / "leaky.onnx")["average"])
    assert torch.equal(begun(wave), network(wave))
    with pytest.raises(ValueError, match=r"network\.slow_rate is no key of a network with the separator leaky"):
        parse_recipe(RECIPE.replace("leak: 3", "leak: 3, slow_rate: 2"))
