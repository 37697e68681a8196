"""What to do when the machine is too slow: more slack, once announced, and then the dry signal, but never crackling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_SLACK = 4
WINDOW_S = 1.0  # one judgement
_PATIENCE = 2  # windows in a row before anything is done: one burst of other work is no verdict
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

    def judge(self, compute_ms: NDArray[np.float64], block_ms: float, slack: int, late_share: float) -> str | None:
        """One window: times of the worker's runs, length of a block, slack, share of late blocks.

        Gives "slack" (one more is called for), "bypass" (no slack would help) or None.
        """
        if not len(compute_ms):
            return None
        overloaded = float(np.mean(compute_ms)) > block_ms or late_share > _HOPELESS
        slow = float(np.percentile(compute_ms, 99)) > slack * block_ms or late_share > _LATE_ENOUGH
        self._worse = self._worse + 1 if overloaded else 0
        self._slow = self._slow + 1 if slow else 0
        can = self._may_slack and slack < MAX_SLACK
        if can and self._slow >= _PATIENCE:
            self.forget()
            return "slack"
        if not can and self._worse >= _PATIENCE:
            self.forget()
            return "bypass"
        return None
