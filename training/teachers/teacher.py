"""What a teacher is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Teacher(Protocol):
    """Made without arguments; raises RtsepError with one sentence if its package is missing."""

    sample_rate: ClassVar[int]  # Hz
    licence: ClassVar[str]  # of its weights

    def __call__(self, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
        """The speech in `mixture` `[samples]` at `sample_rate`, as long and no sample late."""
