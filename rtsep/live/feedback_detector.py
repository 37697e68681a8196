"""Acoustic feedback: the pure tone that grows when a loudspeaker reaches its own microphone.

Two of the tests in van Waterschoot and Moonen (2011), "Fifty years of acoustic feedback control: state of the art and
future challenges": the peak-to-harmonic power ratio (a voice has harmonics, feedback has none until it clips) and the
peak's persistence at one frequency, with the peak-to-average power ratio so that noise never counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIZE = 4096  # samples looked at: 12 Hz a bin at 48 kHz
_LEAST_AMPLITUDE = 1e-3  # of a tone that matters: -60 dB re full scale
_OVER_AVERAGE_DB = 25.0
_OVER_HARMONICS_DB = 25.0
LOOKS = 4  # looks in a row with the peak in the same place, not getting weaker


class FeedbackDetector:
    """Give ``detects`` the newest sound about ten times a second."""

    def __init__(self) -> None:
        self._bin = self._count = 0
        self._power = 0.0

    def detects(self, sound: NDArray[np.float32]) -> bool:
        """Whether what ends with ``sound`` ([samples] mono, at least SIZE of them) is feedback."""
        frame = sound[-SIZE:] * np.hanning(SIZE)
        power = np.abs(np.fft.rfft(frame)) ** 2 / (SIZE / 4) ** 2
        peak = int(np.argmax(power))
        top = float(power[peak])
        tonal = (
            top > _LEAST_AMPLITUDE**2
            and top > 10 ** (_OVER_AVERAGE_DB / 10) * float(np.mean(power))
            and top > 10 ** (_OVER_HARMONICS_DB / 10) * self._harmonics(power, peak)
        )
        if not tonal:
            self._count = 0
        elif abs(peak - self._bin) <= 1 and top > 0.7 * self._power:
            self._count += 1
        else:
            self._count = 1
        self._bin, self._power = peak, top
        return self._count >= LOOKS

    def _harmonics(self, power: NDArray[np.float64], peak: int) -> float:
        """The strongest of what lies at half, two thirds, one and a half, two and three times the peak.

        Near bin 0 that is the peak itself: a constant, as bad sound cards add, is no tone.
        """
        places = [round(peak * ratio) for ratio in (0.5, 2 / 3, 1.5, 2, 3)]
        return max(float(power[max(0, place - 2) : place + 3].max()) for place in places if place < len(power))
