"""A server on a free port, in a thread of the test's process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")  # the tests' client
pytest.importorskip("picows")

import rtsep
from rtsep.service.limits import Limits
from rtsep.service.server import STREAM, Server, run
from tests.streams import NETWORKS

FAST = Limits(speed=1000.0)  # tests do not wait for real time


@dataclass
class Served:
    """A server, its model, and where it is."""

    server: Server
    model: rtsep.Model
    address: str
    thread: threading.Thread
    quit: threading.Event

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1].split("/")[0])

    def url(self, query: str = "") -> str:
        return f"{self.address}?{query}"

    def http(self, path: str) -> str:
        return self.address.replace("ws://", "http://").replace(STREAM, path)

    def end(self) -> None:
        self.quit.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def serve(models: Callable) -> Iterator[Callable[..., Served]]:
    """``serve(name, limits, token)``: a server of a shipped model or of a network of tests.streams."""
    started: list[Served] = []

    def start(name: str = "plain", limits: Limits = FAST, token: str | None = None) -> Served:
        path: str | Path = models(NETWORKS[name]).path if name in NETWORKS else name
        model = rtsep.load(path, backend="compiled")
        server, quit, is_there, said = Server(model, limits, token), threading.Event(), threading.Event(), []

        def ready(address: str) -> None:
            said.append(address)
            is_there.set()

        thread = threading.Thread(target=lambda: asyncio.run(run(server, "127.0.0.1", 0, quit, ready)), daemon=True)
        thread.start()
        assert is_there.wait(60)
        started.append(Served(server, model, said[0], thread, quit))
        return started[-1]

    yield start
    for served in started:
        served.end()
