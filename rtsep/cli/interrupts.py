"""Signals that end the work on files: each is one KeyboardInterrupt, so that what is half-written is cleared away."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from rtsep.live.ui.stop_signals import SIGNALS


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Within, kill and a terminal that is closed stop the work like Ctrl-C, and only the first of them counts.

    What is ignored stays so: Ctrl-C in the background of a script, the closing of the terminal under nohup. Kill never.
    An event, as live sound has it, would not end the wait for a standard input from which nothing comes.
    """
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}

    def interrupt(*_: object) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # nothing comes between what is cleared away now
        raise KeyboardInterrupt

    try:
        for number, handler in before.items():
            if number == signal.SIGTERM or handler is not signal.SIG_IGN:
                signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
