"""The filter of `adaptive_resampler`: a windowed sinc at many places between two samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtsep.live.backends.shared_state import HALF, PHASES

BETA = 9.0  # Kaiser window, 90 dB


def table(nominal: float = 1.0) -> NDArray[np.float32]:
    """[PHASES + 1, 2 HALF] float32: tap t of phase p weighs the sample at ``floor(place) - HALF + 1 + t``.

    nominal: samples of the ring for each one put out; beyond 1 the band is cut to what the output can hold.
    """
    offset = np.arange(PHASES + 1)[:, None] / PHASES - (np.arange(2 * HALF) - (HALF - 1))
    window = np.i0(BETA * np.sqrt(np.maximum(0.0, 1 - (offset / HALF) ** 2)))
    cut = 0.93 / max(1.0, nominal)  # below Nyquist, where the window's transition would alias
    taps = np.sinc(cut * offset) * window
    return np.ascontiguousarray(taps / taps.sum(axis=1, keepdims=True), np.float32)
