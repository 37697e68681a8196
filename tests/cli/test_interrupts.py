"""Signals while files are worked on."""

from __future__ import annotations

import os
import signal

import pytest

from rtsep.cli.interrupts import interrupted_by_signals
from tests.program import posix

pytestmark = posix


@pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_each_is_an_interrupt_and_only_the_first_counts(kind: str) -> None:
    number = getattr(signal, kind)
    before = signal.getsignal(number)
    cleared = False
    with pytest.raises(KeyboardInterrupt), interrupted_by_signals():
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), signal.SIGTERM)
            cleared = True
    assert cleared and signal.getsignal(number) is before


def test_what_is_ignored_stays_so_but_for_kill() -> None:
    numbers = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        with interrupted_by_signals():
            os.kill(os.getpid(), signal.SIGINT)  # the background of a script
            os.kill(os.getpid(), signal.SIGHUP)  # nohup
        with pytest.raises(KeyboardInterrupt), interrupted_by_signals():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
