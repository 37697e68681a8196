"""What a graph costs, counted from the file, is what its sizes say."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphs import Network

from benchmarks.cost import multiply_adds, parameters
from rtsep.model import shipped
from training.onnx_weights import read_shipped


def test_products_are_counted_with_the_rows_they_serve(tmp_path: Path) -> None:
    network = Network(hop=16, analysis_window=64, synthesis_window=32, basis=24, bottleneck=8, hidden=6)
    file = network.save(tmp_path / "model.onnx")
    weights = {name: value.size for name, value in network.weights.items()}
    layers = sum(size for name, size in weights.items() if name.startswith(("in", "out")))
    masks = sum(size for name, size in weights.items() if name.startswith("mask"))
    once = weights["encoder"] + weights["narrow"] + layers + masks
    assert multiply_adds(file) == once + 2 * weights["decoder"]  # two sources, one decoder
    assert parameters(file) >= sum(weights.values())


@pytest.mark.parametrize("name", shipped())
def test_weights_of_16_bits_are_counted_too(name: str) -> None:
    weights = read_shipped(shipped()[name])["average"]
    assert parameters(shipped()[name]) >= sum(weight.numel() for weight in weights.values())
