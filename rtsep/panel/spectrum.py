"""Levels and spectra of what is heard and what is played, read from the rings of a running session.

Nothing is asked of the engine: the rings lie in shared memory, and what was written last is copied, as the recorder
does. One frame is made for all pages, about 30 times a second.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from rtsep.live.backends.shared_state import SharedBlock

WINDOW = 2048  # samples
COLUMNS_A_SECOND = 60
BANDS = 128
LOWEST_HZ, HIGHEST_HZ = 60.0, 16000.0
FLOOR_DB, RANGE_DB = -110.0, 90.0  # what a byte holds: 0 is the floor, 255 the floor plus the range
LEVEL_S = 0.05  # that levels look back
_MOST = 16  # columns at a time; what is older is left out
_HEADER = struct.Struct("<4fII")


class Spectrum:
    """Frames for one session; ``frame`` is called again and again."""

    def __init__(self, block: SharedBlock) -> None:
        self._block = block
        self._rate = 0
        self._at = 0  # position up to which columns were made
        self._number = 0
        self._window = np.hanning(WINDOW)
        self._edges: NDArray[np.int64] = np.zeros(BANDS + 1, np.int64)

    def frame(self, added: int) -> bytes:
        """What is new, little-endian: RMS and peak heard, RMS and peak played (float32, dB re full scale), the number
        of the first column and how many there are (uint32), then a column of BANDS bytes heard and one played each.

        added: samples that what is played is later than what was heard; both columns show the same sound.
        """
        block, state = self._block, self._block.state
        rate, end = state.rate, state.position
        if rate <= 0:
            return b""
        if rate != self._rate:
            self._rate, self._at = rate, end
            self._edges = _edges(rate)
        hop = rate // COLUMNS_A_SECOND
        behind = (end - self._at) // hop
        self._at += behind * hop
        count = min(behind, _MOST)
        span = WINDOW + added + count * hop  # samples that the columns reach back
        if span > end or span > block.length // 2:
            count = 0  # too early, or what is played lies too far back
        newest = min(end, round(LEVEL_S * rate))
        levels = [
            value for ring in (block.heard, block.played) for value in _levels(block.samples_before(ring, end, newest))
        ]
        columns = np.empty((count, 2, BANDS), np.uint8)
        for k in range(count):
            at = self._at - (count - 1 - k) * hop
            columns[k, 0] = self._column(block.samples_before(block.heard, at - added, WINDOW))
            columns[k, 1] = self._column(block.samples_before(block.played, at, WINDOW))
        first, self._number = self._number, self._number + count
        return _HEADER.pack(*levels, first, count) + columns.tobytes()

    def _column(self, sound: NDArray[np.float32]) -> NDArray[np.uint8]:
        spectrum = np.fft.rfft(sound.mean(axis=1) * self._window)[: self._edges[-1] + 1]
        power = np.abs(spectrum) ** 2 / (WINDOW / 4) ** 2
        bands = np.maximum.reduceat(power, self._edges[:-1])
        decibels = 10 * np.log10(np.maximum(bands, 1e-13))
        return np.clip((decibels - FLOOR_DB) * 255 / RANGE_DB, 0, 255).astype(np.uint8)


def _edges(rate: int) -> NDArray[np.int64]:
    """First bin of each band, spaced as the ear hears (mel of O'Shaughnessy, 1987), at least a bin a band."""
    top = min(HIGHEST_HZ, rate / 2)
    lowest, highest = 2595 * np.log10(1 + np.array([LOWEST_HZ, top]) / 700)
    mel = np.linspace(lowest, highest, BANDS + 1)
    bins = (700 * (10 ** (mel / 2595) - 1) * WINDOW / rate).astype(np.int64)
    return np.minimum(bins, WINDOW // 2)


def _levels(sound: NDArray[np.float32]) -> tuple[float, float]:
    """RMS and peak, dB re full scale."""
    if not sound.size:
        return -120.0, -120.0
    rms, peak = float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))), float(np.max(np.abs(sound)))
    return 20 * float(np.log10(max(rms, 1e-6))), 20 * float(np.log10(max(peak, 1e-6)))
