"""What to do when the machine is too slow: more slack, once announced, and then the dry signal, but never crackling."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MAX_SLACK = 4
DRY = 0  # the verdict that no slack helps
WINDOW_S = 0.25  # one judgement
# Windows in a row before anything is done: one burst of other work is no verdict.
_WORSE_PATIENCE, _SLOW_PATIENCE = 3, 6
_LATE_ENOUGH = 0.01  # share of late blocks that more slack is worth its delay
_HOPELESS = 0.20  # share of late blocks at which the dry signal is better


class Governor:
    """Judges window after window. ``may_slack`` is False when the user has set the slack: then it is never touched."""

    def __init__(self, may_slack: bool) -> None:
        self._may_slack = may_slack
        self._slow = self._worse = 0

    def forget(self) -> None:
        """What went before was not the machine's fault."""
        self._slow = self._worse = 0

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
        can = self._may_slack and slack < MAX_SLACK
        self._worse = self._worse + 1 if overloaded or (late_share > _HOPELESS and not can) else 0
        self._slow = self._slow + 1 if slow else 0
        if self._worse >= _WORSE_PATIENCE:
            self.forget()
            return DRY
        if can and self._slow >= _SLOW_PATIENCE and not overloaded:
            self.forget()
            return min(MAX_SLACK, max(slack + 1, math.ceil(slowest / block_ms)))
        return None
