"""What the spatial baselines share: a voice is found by where it lies between left and right, so two channels differ.

Where they do not, such a method would remove everything or nothing; so sound whose channels have been the same for
``MEMORY_S`` (or ever since the beginning) passes through, bit for bit, and what follows fades in within a hop.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtsep.model_spec import ModelSpec, is_mono

Floats = NDArray[np.float32]

MEMORY_S = 10.0  # a voice alone in the middle for less than this is still taken for a part of stereo sound
FAINT = 1e-9  # mean square of a side (full scale 1) that is rounding or dither


class Spatial:
    """A Step that makes ``accompaniment`` of two channels; ``vocals`` is the rest, so that both sum to the input.

    A subclass gives ``remove``. Frames are one hop wide: what overlaps has been added here.
    """

    activity: Floats | None = None

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._frames = np.zeros((2, 2, spec.hop), np.float32)
        self._begin = spec.analysis_window - spec.algorithmic_latency  # of the frame, in the window
        self._fade = (np.arange(1, spec.hop + 1) / spec.hop).astype(np.float32)
        self._patience = round(MEMORY_S * spec.sample_rate / spec.hop)
        self._same = self._patience  # hops since the channels last differed
        self._wet = False

    def remove(self, window: Floats) -> Floats:
        """``window`` [2, analysis_window] to accompaniment [2, hop], which belongs where the frame does."""
        raise NotImplementedError

    def forget(self) -> None:
        """Back to the state before the first window."""

    def step(self, window: Floats) -> Floats:
        """See Step.step; frames are [2, 2, hop]."""
        hop = self.spec.hop
        made = self.remove(window)
        left, right = window[:, -hop:]
        mid, side = (float(np.dot(x, x)) / hop for x in ((left + right) / 2, (left - right) / 2))
        differ = side > FAINT and not is_mono(mid, side)
        self._same = 0 if differ else min(self._same + 1, self._patience)
        was, self._wet = self._wet, self._same < self._patience
        dry = window[:, self._begin : self._begin + hop]
        accompaniment, vocals = self._frames
        if self._wet and was:
            accompaniment[:] = made
        elif self._wet or was:
            share = self._fade if self._wet else 1 - self._fade
            accompaniment[:] = dry + share * (made - dry)
        else:
            accompaniment[:] = dry
        np.subtract(dry, accompaniment, out=vocals)
        return self._frames

    def reset(self) -> None:
        """See Step.reset."""
        self._same, self._wet = self._patience, False
        self.forget()
