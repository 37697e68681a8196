"""The end as a request: signals set an event, so that everything is closed in order, whatever was going on."""

from __future__ import annotations

import signal
import threading
from typing import Any

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]


class StopSignals:
    """``with StopSignals() as quit:`` Ctrl-C, kill and a terminal that is closed set the event ``quit``.

    Nothing is interrupted: whoever makes something that must not be left behind (a device, a module of the sound
    server) is never stopped between making it and knowing it. A signal that is ignored, as nohup has it, stays so.
    """

    def __init__(self, quit: threading.Event | None = None) -> None:
        self.quit = quit or threading.Event()

    def __enter__(self) -> threading.Event:
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if number == signal.SIGINT or before is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, lambda *_: self.quit.set())
        return self.quit

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
