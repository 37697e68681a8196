"""A session: a Live, its view, its keys, a recorder, a howl detector, in one loop that lasts until somebody quits."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from rtsep.live.backends import shared_state as b
from rtsep.live.feedback_detector import SIZE, HowlDetector
from rtsep.live.live_engine import Live, LiveSettings
from rtsep.live.recorder import Recorder
from rtsep.live.ui.keys import DOWN, UP, Keys
from rtsep.live.ui.live_view import View

STEP_DB = 3.0
MOST_DB = 30.0  # the step above is no limit
_LOOK_S = 0.1


class Session:
    """``run`` returns when q is pressed, a signal comes or ``seconds`` are over."""

    def __init__(
        self,
        settings: LiveSettings,
        view: View,
        record: str | None = None,
        monitor: bool = False,
        opened: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """record: folder to record to from the start. monitor: fade in from mute, and mute when it howls.

        opened: see Live.
        """
        self.view = view
        self.live = Live(settings, tell=view.tell, opened=opened)
        self._folder = record
        self._howl = HowlDetector() if monitor else None
        self._recorder: Recorder | None = None
        self._quit = threading.Event()
        self._muted = False

    def run(self, seconds: float | None = None) -> None:
        """Raises InputError or RtsepError when the sound cannot be started."""
        with _Signals(self._quit), self.live, Keys() as keys:
            try:
                self._loop(keys, None if seconds is None else time.monotonic() + seconds)
            finally:
                self.record(False)
                self.view.close()

    def _loop(self, keys: Keys, end: float | None) -> None:
        if self._howl is not None:
            self.live.mute(False)
        if self._folder is not None:
            self.record(True)
        while not self._quit.wait(_LOOK_S) and (end is None or time.monotonic() < end):
            for key in keys.pressed():
                self.press(key)
            self.view.show(self.live.status())
            if self._recorder is not None:
                self._recorder.pull()
            if self._howl is not None and not self._muted:
                self._listen()

    def press(self, key: str) -> None:
        """What a key does."""
        live = self.live
        if key == "q":
            self._quit.set()
        elif key == "b":
            live.bypass(not live.bypassed)
        elif key in (UP, DOWN):
            live.set_strength(stepped(live.status()["strength"], 1 if key == UP else -1))
        elif key == "m":
            self._muted = not self._muted
            live.mute(self._muted)
        elif key == "r":
            self.record(self._recorder is None)

    def record(self, on: bool) -> None:
        """Begin or end recording; tells where."""
        if self._recorder is not None and not on:
            self._recorder.close()
            self.view.tell(f"Recorded {self._recorder.paths[0]} and {self._recorder.paths[1].name}.")
            self._recorder = None
        elif on and self._recorder is None:
            self._recorder = Recorder(self.live, self._folder or ".")

    def _listen(self) -> None:
        block = self.live.block
        end = int(block.head[b.WRITTEN])
        assert self._howl is not None
        if end >= SIZE and self._howl.hears(block.last(block.played, end, SIZE)[:, 0]):
            self.live.mute(True, seconds=0.01)
            self._muted = True
            self.view.tell("It howled and was muted; turn the loudspeaker down, then press m to hear it again.")


def stepped(strength: float | None, direction: int) -> float | None:
    """The next strength up or down, in dB; None is no limit."""
    if strength is None:
        return None if direction > 0 else MOST_DB
    following = strength + direction * STEP_DB
    return None if following > MOST_DB else max(0.0, following)


class _Signals:
    """SIGINT and SIGTERM set an event instead of interrupting: everything is closed in order, devices removed."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def __enter__(self) -> None:
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, lambda *_: self._event.set())

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
