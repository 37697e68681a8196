"""Three ways to show a running session: drawn over itself, one line a while, JSON objects."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from rtsep.printable import printable

Status = Mapping[str, Any]


class View(Protocol):
    """``show`` gets a status ten to twenty times a second, ``tell`` every event's sentence, at once."""

    def show(self, status: Status) -> None: ...

    def tell(self, sentence: str) -> None: ...

    def close(self) -> None: ...


class JsonView:
    """One object a second on standard output; events are objects with ``event``."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, status: Status) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1.0
            print(json.dumps(status), flush=True)

    def tell(self, sentence: str) -> None:
        print(json.dumps({"event": sentence}), flush=True)

    def close(self) -> None:
        pass


class PlainView:
    """For pipes and logs: a line at the beginning, every ten seconds and when something changes; on stderr."""

    def __init__(
        self, line: Callable[[Status], str], watched: tuple[str, ...], quiet: bool = False, every: float = 10.0
    ) -> None:
        """line: a status as one line. watched: keys whose change is shown at once. quiet: only what is told."""
        self._line, self._watched, self._quiet, self._every = line, watched, quiet, every
        self._next, self._seen = 0.0, ()

    def show(self, status: Status) -> None:
        seen: Any = tuple(status.get(key) for key in self._watched)
        if not self._quiet and (time.monotonic() >= self._next or seen != self._seen):
            self._next, self._seen = time.monotonic() + self._every, seen
            print(printable(self._line(status)), file=sys.stderr, flush=True)

    def tell(self, sentence: str) -> None:
        print(printable(f"rtsep: {sentence}"), file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class ScreenView:
    """Drawn over itself on a terminal, as wide as that is."""

    def __init__(self, draw: Callable[[Status, int, list[str]], Any]) -> None:
        """draw: a status, the terminal's columns and the newest sentences, as something that rich can print."""
        from rich.console import Console
        from rich.live import Live

        self._draw, self._console = draw, Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=20, transient=True)
        self._live.start()
        self._told: list[str] = []

    def show(self, status: Status) -> None:
        self._live.update(self._draw(status, self._console.width, self._told[-3:]))

    def tell(self, sentence: str) -> None:
        self._told.append(printable(sentence))

    def close(self) -> None:
        self._live.stop()
        for sentence in self._told:
            print(f"rtsep: {sentence}", file=sys.stderr)


class ShownUntilBroken:
    """Another view, until what it writes to is gone: then the session ends as if asked to, and is tidied up."""

    def __init__(self, view: View, quit: threading.Event) -> None:
        self.view, self._quit = view, quit

    def show(self, status: Status) -> None:
        try:
            self.view.show(status)
        except OSError:  # a closed terminal, a closed pipe
            self._quit.set()

    def tell(self, sentence: str) -> None:
        with contextlib.suppress(OSError):
            self.view.tell(sentence)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.view.close()
