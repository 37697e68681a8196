"""A panel that serves, for tests."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtsep.live.engine.live_engine import LiveEngine
from rtsep.panel.server import Panel, run

PATIENCE_S = 120.0


class Site:
    """address: of its page. folder: that it records to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.panel = Panel(str(folder))
        self.microphone = self.panel.tabs.microphone
        self._quit, there, found = threading.Event(), threading.Event(), []

        def ready(address: str) -> None:
            found.append(address)
            there.set()

        work = run(self.panel, "127.0.0.1", 0, self._quit, ready)
        self._thread = threading.Thread(target=lambda: asyncio.run(work), daemon=True)
        self._thread.start()
        assert there.wait(PATIENCE_S)
        self.address: str = found[0]

    def end(self) -> None:
        self._quit.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def until(self, condition: Callable[[LiveEngine], Any]) -> LiveEngine:
        """The microphone's engine whose sound runs, once ``condition`` holds for it."""

        def found() -> LiveEngine | None:
            engine = self.microphone.engine
            return engine if engine is not None and engine.state == "running" and condition(engine) else None

        engine = wait(found)
        assert isinstance(engine, LiveEngine)
        return engine


def wait(condition: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """What ``condition`` returns, once that is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            pytest.fail("it never came to that")
        time.sleep(0.02)
    return found
