"""What to do when the machine is too slow: more slack, once announced, and then the dry signal, but never crackling."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MAX_SLACK = 4
DRY = 0  # the verdict that no slack helps
WINDOW_S = 0.25  # one judgement, where that is enough blocks
_WINDOW_BLOCKS = 4
# Windows in a row before anything is done: one burst of other work is no verdict.
HOPELESS_WINDOWS, SLOW_WINDOWS = 3, 6
_LATE_ENOUGH = 0.01  # share of late blocks that more slack is worth its delay
_HOPELESS = 0.20  # share of late blocks at which the dry signal is better


def window_s(block_s: float) -> float:
    """Seconds that one judgement looks at, for blocks of ``block_s`` seconds."""
    return max(WINDOW_S, _WINDOW_BLOCKS * block_s)


class Governor:
    """Judges window after window."""

    def __init__(self, may_change_slack: bool) -> None:
        """may_change_slack: False when the user has set the slack, which is then never touched."""
        self._may_change_slack = may_change_slack
        self._slow = self._hopeless = 0  # windows in a row

    def forget(self) -> None:
        """What went before was not the machine's fault."""
        self._slow = self._hopeless = 0

    def judge(self, compute_ms: NDArray[np.float64], block_ms: float, slack: int, late_share: float) -> int | None:
        """One window: times of the worker's runs, length of a block, slack, share of late blocks.

        Gives the slack that is called for, DRY when none would help, or None when all is well. When the mean of the
        compute is longer than a block no slack can help, so that nobody has to listen to the attempt.
        """
        if not len(compute_ms):
            return None
        overloaded = float(np.mean(compute_ms)) > block_ms
        slowest = float(np.percentile(compute_ms, 99))
        slow = slowest > slack * block_ms or late_share > _LATE_ENOUGH
        can = self._may_change_slack and slack < MAX_SLACK
        hopeless = overloaded or (late_share > _HOPELESS and not can)
        self._hopeless = self._hopeless + 1 if hopeless else 0
        self._slow = self._slow + 1 if slow else 0
        if self._hopeless >= HOPELESS_WINDOWS:
            self.forget()
            return DRY
        if can and self._slow >= SLOW_WINDOWS and not overloaded:
            self.forget()
            return min(MAX_SLACK, max(slack + 1, math.ceil(slowest / block_ms)))
        return None
