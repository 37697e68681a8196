"""Ramp: what a stream is set to changes without a click."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RAMP_S = 0.020  # a change of strength or condition takes this long


class Ramp:
    """Numbers on a straight way from what they are to an ``aim``, a step a hop: [size] float32."""

    def __init__(self, aim: NDArray[np.float32]) -> None:
        self.aim, self._now, self._left = aim, aim.copy(), 0

    def set(self, aim: NDArray[np.float32], steps: int) -> None:
        """Go to ``aim`` in so many steps, from wherever it is."""
        self.aim, self._left = aim, steps

    def finish(self) -> None:
        """Be there at once."""
        self._now[:], self._left = self.aim, 0

    def next(self) -> NDArray[np.float32]:
        """The numbers of the next hop."""
        if self._left > 1:
            self._now += (self.aim - self._now) / np.float32(self._left)
            self._left -= 1
        elif self._left:
            self.finish()
        return self._now
