"""Sample rate conversion: our polyphase FIR for live sound, soxr for whole signals.

Streaming soxr at high quality holds back 40 to 67 ms, so live sound goes through a linear-phase windowed sinc of at
most 2 ms delay: Kaiser (1974), "Nonrecursive digital filter design using the I0-sinh window function"; polyphase form
after Crochiere and Rabiner (1981), "Interpolation and decimation of digital signals". `polyphase` computes it.

Output ``j`` lies at input position ``j * down / up``, kept as integers: no ratio drifts, however long the stream.
"""

from __future__ import annotations

from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DELAY_S = 0.002
STOPBAND_DB = 85.0  # designed; at least 80 measured
AUDIBLE_HZ = 20_000.0
# Share of the lower rate's Nyquist given to each side of the transition: 44.1 kHz stays clean up to 20 kHz.
TRANSITION = 0.093
# A rate pair with more phases than this interpolates linearly between them: -106 dB at Nyquist, (pi / phases)^2 / 8.
MAX_PHASES = 1024


class Converter:
    """One direction of a live rate conversion; holds no state, the caller keeps the input in a ring.

    up, down: the reduced ratio of the rates. before, after: input samples needed beside ``floor(position)``.
    table: [phases + 1, taps] float32. Equal rates make a single tap of 1: the signal itself.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        common = gcd(source_rate, target_rate)
        self.up, self.down = target_rate // common, source_rate // common
        if self.up == self.down:
            self.before = self.after = 0
            self.table = np.ones((2, 1), np.float32)
            return
        nyquist = min(source_rate, target_rate) / 2
        longest = int(MAX_DELAY_S * source_rate)
        reach = (STOPBAND_DB - 7.95) / (2 * 14.36)  # Kaiser: half length in seconds times transition in Hz
        transition = max(2 * TRANSITION * nyquist, 2 * (nyquist - AUDIBLE_HZ), reach * source_rate / longest)
        half = min(longest, int(np.ceil(reach * source_rate / transition)))
        self.before, self.after = half - 1, half
        phases = min(self.up, MAX_PHASES)
        offset = np.arange(phases + 1)[:, None] / phases - (np.arange(2 * half) - self.before)
        inside = np.sqrt(np.maximum(0.0, 1.0 - (offset / half) ** 2))
        beta = 0.1102 * (STOPBAND_DB - 8.7)
        table = np.sinc(2 * nyquist / source_rate * offset) * np.i0(beta * inside)
        table[np.abs(offset) >= half] = 0.0
        # Each phase sums to one: a constant stays constant.
        self.table = np.ascontiguousarray(table / table.sum(axis=1, keepdims=True), np.float32)

    def words(self) -> tuple[int, ...]:
        """What ``stream_words`` has of it; the table lives as long as this."""
        phases, taps = self.table.shape
        return self.table.ctypes.data, phases - 1, taps, self.before, self.up, self.down

    def ready(self, inputs: int) -> int:
        """How many outputs the first ``inputs`` input samples determine."""
        return max(0, -((self.after - inputs) * self.up // self.down))

    def needed(self, outputs: int) -> int:
        """How many input samples determine the first ``outputs`` outputs."""
        return ((outputs - 1) * self.down) // self.up + self.after + 1

    def span(self, outputs: int) -> int:
        """Input samples that ``outputs`` outputs in a row reach over, at most."""
        return outputs * self.down // self.up + 1 + self.table.shape[1]


class WholeSignal:
    """Streaming soxr at high quality, for signals that may wait: aligned, and as long as the ratio says.

    ``process`` takes and gives [samples, channels] float32 of any length; the last call says ``last=True``.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        self._same = source_rate == target_rate
        if not self._same:
            import soxr

            self._soxr: Any = soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32", quality="HQ")

    def process(self, block: NDArray[np.float32], last: bool = False) -> NDArray[np.float32]:
        """The next output samples."""
        return block if self._same else self._soxr.resample_chunk(block, last=last)
