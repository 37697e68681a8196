"""What the clocks of devices are taken for: nominal rates, and margins for callbacks that are not punctual."""

from __future__ import annotations

MIN_MARGIN_S = 0.002
MAX_MARGIN_S = 0.030
_RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 176400, 192000)


def nominal_rate(rate: int) -> int:
    """The rate that a device means: one that is within 0.1 % of a usual one is that one, by a clock of its own."""
    return next((usual for usual in _RATES if abs(rate - usual) <= 0.001 * usual), rate)
