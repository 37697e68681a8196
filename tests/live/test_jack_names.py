"""JACK clients whose names PortAudio takes for patterns, on a private server."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from servers import delay_of, jack_server
from test_device_names import listed
from test_jack import wait

from rtsep.live.backends.jack_client import JackClient
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.routing.devices import JACK

pytestmark = pytest.mark.usefixtures("patient")

NAMES = ("in[12]", "mic+1 (a.b)", "caf\udce9 [b]")  # the last one holds a byte that is not UTF-8


@pytest.fixture(scope="module")
def clients() -> Iterator[dict[str, JackClient]]:
    """Those, and one whose ports PortAudio would find by the first one's name."""
    with jack_server(128):
        made = {name: JackClient(name, 24000) for name in (*NAMES, "in1")}
        yield made
        for client in made.values():
            client.close()


def test_they_are_listed_with_their_ports(clients: dict[str, JackClient]) -> None:
    found = {device["name"]: (device["inputs"], device["outputs"]) for device in listed() if device["host"] == JACK}
    assert found == dict.fromkeys(clients, (1, 1)) | {"system": (2, 2)}


@pytest.mark.parametrize("name", NAMES)
def test_they_are_heard_and_played_to(identity_model: str, clients: dict[str, JackClient], name: str) -> None:
    sound = (0.1 * np.random.default_rng(0).standard_normal(24000)).astype(np.float32)
    with LiveEngine(LiveSettings(model=identity_model, input=name, output=name)) as engine:
        assert engine.device["input"] == engine.device["output"] == name
        assert wait(lambda: engine.status()["callbacks"] > 20)
        assert not [port for port in clients[name].ports() if "stand_in" in port]
        heard = clients[name].probe(sound)
        delay = delay_of(sound, heard)
        assert delay > 0 and np.abs(heard[delay:] - sound[:-delay]).max() < 1e-5
        assert not np.any(clients["in1"].probe(sound))
