"""Models for live tests: 48 kHz, hop 128, as the shipped ones, but tiny."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import Network

from rtsep.engine.enhance import BACKEND
from rtsep.live.backends.callbacks import LIVE_CALLBACKS, capturing, playing
from rtsep.live.engine import live_supervisor
from rtsep.live.engine.governor import Governor
from rtsep.live.engine.supervisor import Supervisor
from rtsep.model import load


@pytest.fixture(scope="session", autouse=True)
def importable() -> None:
    """Children import the rtsep that is tested, wherever the tests run from."""
    root = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    """The caches of compiled code are full before a child has to fill them while somebody waits for its sound."""
    for callback in (LIVE_CALLBACKS[""], capturing, playing):
        assert callback.address


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch, unjudged: None) -> None:
    """For tests of bits: a machine with a lot of other work loses no device, and is not too slow for the model.

    Tests that do not ask for this run with what users get.
    """
    monkeypatch.setattr(Supervisor, "patience_s", lambda self: 30.0)
    monkeypatch.setattr(live_supervisor, "_STUCK_S", 30.0)


@pytest.fixture
def unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is not too slow for the model, however late its results are."""
    monkeypatch.setattr(Governor, "judge", lambda *_: None)
    monkeypatch.setattr(Governor, "endangers", lambda *_: False)


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights: its output is not its input, so that a block of the one is never taken for the other.

    Some of it runs only at every fourth hop, so that a worker that loses count is found out.
    """
    network = Network(hop=128, analysis_window=512, synthesis_window=256, state=4, slow_rate=4)
    return str(network.save(tmp_path_factory.mktemp("live") / "random.onnx"))


@pytest.fixture(scope="session")
def identity_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its speech is its input: a probe finds it again."""
    network = Network(hop=128, analysis_window=512, synthesis_window=256, identity=True)
    return str(network.save(tmp_path_factory.mktemp("live") / "identity.onnx"))


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """So many products that a hop takes the time of several: as many as this machine needs for that.

    In onnxruntime, and so in a worker: of its last operator there is no compiled form. Hops of 16 samples, because the
    same work in hops of 128 takes eight times the weights, and seconds to write and to read them.
    """
    file, basis = tmp_path_factory.mktemp("live") / "slow.onnx", 8_000
    while True:
        model = onnx.load(Network(hop=16, analysis_window=512, synthesis_window=32, basis=basis).save(file))
        last = next(node for node in model.graph.node if "frames" in node.output)
        last.output[0] = "before"
        model.graph.node.append(onnx.helper.make_node("HardSwish", ["before"], ["frames"]))
        onnx.save(model, file)
        stream, hops = load(file, BACKEND).stream(), np.zeros((128, 1), np.float32)
        stream.process(hops)
        began = time.process_time()
        for _ in range(10):
            stream.process(hops)
        if time.process_time() - began > 10 * 2.5 * 128 / 48000:
            return str(file)
        basis *= 2
