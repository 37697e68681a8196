"""Two teachers at once, the plain mean of what they say: DTLN has more SI-SDR, DeepFilterNet3 sounds better."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import soxr

from training.teachers.deepfilternet3 import DeepFilterNet3
from training.teachers.dtln import DTLN

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Committee:
    """DeepFilterNet3 and DTLN, which hears no more than 8 kHz; above, DeepFilterNet3 alone."""

    sample_rate: ClassVar[int] = DeepFilterNet3.sample_rate
    licence: ClassVar[str] = f"{DeepFilterNet3.licence}; {DTLN.licence}"

    def __init__(self) -> None:
        self._full, self._low = DeepFilterNet3(), DTLN()

    def __call__(self, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
        full, rate = self._full(mixture), self._low.sample_rate
        both = np.stack([mixture, full], 1)
        heard, said = soxr.resample(both, self.sample_rate, rate).T
        change = soxr.resample(self._low(heard) - said, rate, self.sample_rate)
        change = np.pad(change, (0, max(0, len(full) - len(change))))[: len(full)]
        return np.asarray(full + change / 2, np.float32)
