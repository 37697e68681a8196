"""What a tab's controller is: it does what pages ask for, and says what is so; the same to every page."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from rtsep.errors import RtsepError

NOTE, PROBLEM = "note", "problem"
_TOLD = 30  # sentences that are remembered


class Tab:
    """Every method may be called from any thread. What pages may call is marked by ``commands.command``."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        """changed: called, from any thread, when ``state`` says something new."""
        self._changed = changed
        self._lock = threading.RLock()
        self._told: deque[dict[str, Any]] = deque(maxlen=_TOLD)
        self._count = 0

    def begin(self) -> None:
        """What takes its time and is done once pages are served; called in a thread of its own."""

    def state(self) -> dict[str, Any]:
        """All that a page shows, as JSON has it; pages are sent the keys whose values are new."""
        return {"told": list(self._told)}

    def frame(self) -> bytes:
        """What is too quick for ``state``, since the last call; nothing when there is nothing."""
        return b""

    def close(self) -> None:
        """End what runs, and remove everything that was made for it."""

    def tell(self, sentence: str, kind: str = NOTE) -> None:
        """A sentence for the pages."""
        with self._lock:
            self._count += 1
            self._told.append({"number": self._count, "kind": kind, "sentence": sentence})
        self._changed()


class SessionTab(Tab):
    """A controller whose one thread owns the session that runs while it is on."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        super().__init__(changed)
        self._on = self._over = False
        self._woken = threading.Event()
        self._quit = threading.Event()  # ends the session that runs
        self._thread = threading.Thread(target=self._work, daemon=True, name=type(self).__name__)
        self._thread.start()

    def close(self) -> None:
        """See Tab."""
        with self._lock:
            self._over, self._on = True, False
            self._quit.set()
            self._woken.set()
        self._thread.join()

    def _turn(self, on: bool) -> None:
        """On or off; the session follows."""
        with self._lock:
            self._on = on
            if on:
                self._woken.set()
            else:
                self._quit.set()

    def _work(self) -> None:
        while not self._over:
            self._woken.wait()
            self._woken.clear()
            while self._on:
                try:
                    self._sessions()
                except RtsepError as error:
                    with self._lock:
                        self._on = False
                    self.tell(str(error), PROBLEM)
                self._changed()

    def _sessions(self) -> None:
        """Run one session or several; called again while it is on. What it raises is told, and turns it off."""
        raise NotImplementedError

    def show(self, status: Mapping[str, Any]) -> None:
        """What the running session says, ten to twenty times a second."""
        raise NotImplementedError


class TabView:
    """A session's view (see ``live.ui.views``): what it shows goes to the pages."""

    def __init__(self, tab: SessionTab) -> None:
        self._tab = tab

    def show(self, status: Mapping[str, Any]) -> None:
        self._tab.show(status)

    def tell(self, sentence: str) -> None:
        self._tab.tell(sentence)

    def close(self) -> None:
        pass
