"""Loads under which live sound is measured: what else a program and its machine may be doing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

from rtsep.live.engine.processes import set_parent_death_signal

LOADS = ("idle", "busy Python thread", "garbage collector storm", "all cores busy")
_BURN = "x = 0\nwhile True:\n    x = (x * 31 + 1) & 0xFFFF"


@contextlib.contextmanager
def load(name: str) -> Iterator[None]:
    """One of LOADS, in this process (which is the parent of the live sound) or beside it, while ``with`` lasts."""
    if name == "idle":
        yield
    elif name == "all cores busy":
        command = [sys.executable, "-c", _BURN]
        burning = [
            subprocess.Popen(command, preexec_fn=set_parent_death_signal if os.name == "posix" else None)
            for _ in range(os.cpu_count() or 1)
        ]
        try:
            yield
        finally:
            for process in burning:
                process.kill()
                process.wait()
    else:
        over = threading.Event()
        work: Callable[[threading.Event], None] = {LOADS[1]: _count, LOADS[2]: _allocate}[name]
        thread = threading.Thread(target=work, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _count(over: threading.Event) -> None:
    x = 0
    while not over.is_set():
        for q in range(10_000):
            x = (x * 31 + q) & 0xFFFF


def _allocate(over: threading.Event) -> None:
    """Hundreds of thousands of objects in cycles: a full collection takes a tenth of a second and stops all Python."""
    kept: list[object] = []
    while not over.is_set():
        for _ in range(2000):
            cycle: list[object] = []
            cycle.append({"self": cycle})
            kept.append(cycle)
        if len(kept) > 400_000:
            kept.clear()
