"""Mid/side cancellation: what both channels share is taken out, but for the bass, which is in the middle too."""

from __future__ import annotations

import numpy as np

from rtsep.baselines.spatial import Floats, Spatial
from rtsep.model_spec import ModelSpec

BASS_HZ = 180.0  # -6 dB: voices begin here, bass and kick drum end


class MidSide(Spatial):
    """``left - m`` and ``right - m``, where m is (left + right) / 2 above ``BASS_HZ``.

    What is left is the side, in opposite phase in the two channels, and the bass of the middle: the cancellation of
    karaoke machines, kept in two channels. Linear phase: a bass shifted against itself would not be kept.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        reach = spec.lookahead
        n = np.arange(-reach, reach + 1)
        low = np.sinc(2 * BASS_HZ / spec.sample_rate * n) * np.hanning(2 * reach + 3)[1:-1]
        self._low = (low / low.sum()).astype(np.float32)

    def remove(self, window: Floats) -> Floats:
        """See Spatial.remove."""
        mid = (window[0] + window[1]) / 2
        dry = slice(self._begin, self._begin + self.spec.hop)
        high = mid[dry] - np.convolve(mid, self._low, "valid")
        return window[:, dry] - high
