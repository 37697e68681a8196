"""Models for live tests: 48 kHz, hop 128, as the shipped ones, but tiny."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from graphs import Network


@pytest.fixture(scope="session", autouse=True)
def importable() -> None:
    """Children import the rtsep that is tested, wherever the tests run from."""
    root = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights: its output is not its input, so that a block of the one is never taken for the other."""
    network = Network(hop=128, analysis_window=512, synthesis_window=256)
    return str(network.save(tmp_path_factory.mktemp("live") / "random.onnx"))


@pytest.fixture(scope="session")
def identity_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its speech is its input: a probe finds it again."""
    network = Network(hop=128, analysis_window=512, synthesis_window=256, identity=True)
    return str(network.save(tmp_path_factory.mktemp("live") / "identity.onnx"))


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """So many weights, each used once a hop, that a hop takes several."""
    network = Network(hop=128, analysis_window=512, synthesis_window=256, basis=24_000)
    return str(network.save(tmp_path_factory.mktemp("live") / "slow.onnx"))
