"""What to do when the machine is too slow: more slack, once announced, and then the dry signal, but never crackling.

With slack 0 the network runs inside the callback, where it must leave the sound system its time: it moves to the worker
when its slowest thousandth takes more than half a block for a second, or when it caused xruns.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.live.backends.shared_state import FLAG_XRUN

MAX_SLACK = 4
DRY = 0  # the verdict that no slack helps
WINDOW_S = 0.25  # one judgement, where that is enough blocks
_WINDOW_BLOCKS = 4
# Windows in a row before anything is done: one burst of other work is no verdict.
HOPELESS_WINDOWS, SLOW_WINDOWS = 3, 6
SLOW_WINDOWS_INSIDE = 4
XRUNS, XRUNS_WITHIN_S = 2, 10.0  # one alone may be the machine's: it stalls whoever happens to run
INSIDE_SHARE = 0.5  # of a block that the callback may take
_LATE_ENOUGH = 0.01  # share of late blocks that more slack is worth its delay
_HOPELESS = 0.20  # share of late blocks at which the dry signal is better


def window_s(block_s: float) -> float:
    """Seconds that one judgement looks at, for blocks of ``block_s`` seconds."""
    return max(WINDOW_S, _WINDOW_BLOCKS * block_s)


def caused_xruns(calls: NDArray[Any], period_s: float) -> int:
    """Xruns after a callback that itself took longer than a period. calls: rows of the callbacks' log, oldest first."""
    long = calls["ended"] - calls["began"] > 1e9 * period_s
    return int(np.sum(long[:-1] & ((calls["flags"][1:] & FLAG_XRUN) != 0)))


class Governor:
    """Judges window after window."""

    def __init__(self, may_change_slack: bool) -> None:
        """may_change_slack: False when the user has set the slack, which is then never touched."""
        self._may_change_slack = may_change_slack
        self._slow = self._hopeless = 0  # windows in a row
        self._xruns: list[float] = []  # when

    def endangers(self, xruns: int, now: float) -> bool:
        """Whether the network must leave the callback, which has just caused so many xruns. now: s."""
        self._xruns = [then for then in self._xruns if now - then <= XRUNS_WITHIN_S] + [now] * xruns
        return len(self._xruns) >= XRUNS

    def forget(self) -> None:
        """What went before was not the machine's fault."""
        self._slow = self._hopeless = 0
        self._xruns = []

    def judge(self, compute_ms: NDArray[np.float64], block_ms: float, slack: int, late_share: float) -> int | None:
        """One window: times of the worker's runs (of the callbacks with slack 0), block, slack, share of late blocks.

        Gives the slack that is called for, DRY when none would help, or None when all is well. When the mean of the
        compute is longer than a block no slack can help, so that nobody has to listen to the attempt.
        """
        if not len(compute_ms):
            return None
        overloaded = float(np.mean(compute_ms)) > block_ms
        slowest = float(np.percentile(compute_ms, 99 if slack else 99.9))
        slow = slowest > (slack or INSIDE_SHARE) * block_ms or late_share > _LATE_ENOUGH
        can = self._may_change_slack and slack < MAX_SLACK
        hopeless = overloaded or (late_share > _HOPELESS and not can)
        self._hopeless = self._hopeless + 1 if hopeless else 0
        self._slow = self._slow + 1 if slow else 0
        if self._hopeless >= HOPELESS_WINDOWS:
            self.forget()
            return DRY
        if can and self._slow >= (SLOW_WINDOWS if slack else SLOW_WINDOWS_INSIDE) and not overloaded:
            self.forget()
            if not slack:
                return 1
            return min(MAX_SLACK, max(slack + 1, math.ceil(slowest / block_ms)))
        return None
