"""RNNoise 0.2 (Valin, MMSP 2018, with the larger network of 2024) through the shared library in the pyrnnoise wheel."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.peers.peer import Peer

if TYPE_CHECKING:
    from benchmarks.peers.peer import Audio


class RNNoise(Peer):
    """Called in its C library with its own float frames: the wheel's Python class would cut them to 16 bits first."""

    name = "rnnoise-0.2"
    package = "pyrnnoise"
    sample_rate = 48_000
    frame = 480
    delay = 960  # overlap of its 20 ms windows, and one frame more since 0.2; tests find it by cross-correlation
    parameters = 2_890_000  # from the published weights, rounded

    def __init__(self) -> None:
        from pyrnnoise import rnnoise

        self._library = rnnoise.lib
        self._state = rnnoise.create()
        self._buffer = np.zeros(self.frame, np.float32)
        self._pointer = self._buffer.ctypes.data_as(ctypes.POINTER(ctypes.c_float))

    def process(self, frame: Audio) -> Audio:
        np.multiply(frame, 32768, out=self._buffer)  # it expects the range of 16-bit samples, as floats
        self._library.rnnoise_process_frame(self._state, self._pointer, self._pointer)
        self._buffer *= 1 / 32768
        return self._buffer

    def __del__(self) -> None:
        if hasattr(self, "_state"):
            self._library.rnnoise_destroy(self._state)
