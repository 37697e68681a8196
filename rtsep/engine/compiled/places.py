"""Where values lie: memory that is only planned while a program is made, and which values may share a place."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
ALIGNMENT = 16  # values: 64 bytes, a line of the cache


class Memory:
    """Memory of which pieces are taken and never given back; an array in it stands for a place.

    The system gives no real memory for what nobody writes to, so the size costs nothing.
    """

    def __init__(self, size: int = 1 << 26) -> None:
        self.values: Floats = np.zeros(size, np.float32)
        self.starts: list[int] = []
        self.used = 0

    def new(self, shape: tuple[int, ...]) -> Floats:
        """A new piece, float32 of `shape`. Raises MemoryError when nothing is left."""
        count = int(np.prod(shape))
        start, self.used = self.used, self.used + max(1, -(-count // ALIGNMENT)) * ALIGNMENT
        if self.used > len(self.values):
            raise MemoryError
        self.starts.append(start)
        return self.values[start : start + count].reshape(shape)

    def holds(self, array: NDArray[np.generic]) -> bool:
        """Whether `array` is a view of this memory."""
        return 0 <= self._bytes(array) < self.values.nbytes

    def offset(self, array: NDArray[np.generic]) -> int:
        """Values from the beginning to the first of `array`."""
        return self._bytes(array) // self.values.itemsize

    def piece(self, offset: int) -> int:
        """The number of the piece that an offset lies in."""
        return bisect_right(self.starts, offset) - 1

    def _bytes(self, array: NDArray[np.generic]) -> int:
        return array.__array_interface__["data"][0] - self.values.__array_interface__["data"][0]


@dataclass
class Life:
    """A piece and the numbers of the records that write or read it first and last."""

    length: int
    first: int
    last: int


def plan(lives: dict[int, Life]) -> tuple[dict[int, int], int]:
    """An offset for each piece, and the length of all: pieces that live at the same time do not overlap."""
    placed: list[tuple[int, Life]] = []
    offsets, total = {}, 0
    for piece, life in sorted(lives.items(), key=lambda item: (-item[1].length, item[1].first)):
        around = sorted(
            (at, at + other.length) for at, other in placed if other.first <= life.last and life.first <= other.last
        )
        at = 0
        for begin, end in around:
            if at + life.length <= begin:
                break
            at = max(at, end)
        offsets[piece] = at
        placed.append((at, life))
        total = max(total, at + life.length)
    return offsets, total
