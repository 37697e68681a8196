"""Pace: holds a client that sends faster than real time back to that, so that it takes no more than its share."""

from __future__ import annotations


class Pace:
    """``speed`` times real time, and ``burst`` seconds of sound more than that at any one time."""

    def __init__(self, speed: float, burst: float) -> None:
        self._speed, self._burst = speed, burst
        self._credit, self._last = burst, 0.0

    def wait(self, seconds: float, now: float) -> float:
        """How long to wait after ``seconds`` of sound that came at ``now`` (s, of any clock) before more is taken."""
        if self._last:
            self._credit = min(self._burst, self._credit + self._speed * (now - self._last))
        self._last = now
        self._credit -= seconds
        return max(0.0, -self._credit / self._speed)
