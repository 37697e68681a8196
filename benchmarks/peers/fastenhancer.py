"""FastEnhancer (Ahn et al. 2025) from a waveform-to-waveform ONNX file that its authors publish, which must be given.

https://github.com/aask1357/fastenhancer/releases; no package on PyPI carries one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.cost import parameters
from benchmarks.peers.peer import Peer, one_thread_session
from rtsep.errors import InputError

if TYPE_CHECKING:
    from benchmarks.peers.peer import Audio


class FastEnhancer(Peer):
    """One call: a hop, or the window that ends with it, and caches in; a hop and the next caches out."""

    name = "fastenhancer"
    package = "fastenhancer"  # there is none
    sample_rate = 16_000
    parameters = None

    def __init__(self, path: str, sample_rate: int = 16_000) -> None:
        """sample_rate: of the model, Hz; the file does not say it. Raises InputError for another file."""
        self._session = one_thread_session(path)
        inputs = {node.name: node.shape for node in self._session.get_inputs()}
        outputs = {node.name: node.shape for node in self._session.get_outputs()}
        caches = [name for name in inputs if name != "wav_in"]
        fixed = all(isinstance(size, int) for shape in (*inputs.values(), *outputs.values()) for size in shape)
        wanted = ["wav_out", *(name.replace("cache_in", "cache_out") for name in caches)]
        if "wav_in" not in inputs or list(outputs) != wanted or not fixed:
            raise InputError(f"{path} is no FastEnhancer from wave to wave (onnx/fastenhancer_t.onnx and others).")
        self.sample_rate, self.frame = sample_rate, int(outputs["wav_out"][-1])  # type: ignore[misc]
        self._window = np.zeros((1, int(inputs["wav_in"][-1])), np.float32)
        self._caches = {name: np.zeros(inputs[name], np.float32) for name in caches}
        past = max((int(inputs[name][-1]) for name in caches[:1]), default=0)  # of the overlap-add
        self.delay, self.parameters = past, parameters(Path(path))  # type: ignore[misc]

    @classmethod
    def installed(cls) -> bool:
        """Never: it comes as a file."""
        return False

    def process(self, frame: Audio) -> Audio:
        self._window = np.concatenate([self._window[:, self.frame :], frame[None]], axis=1)
        wave, *caches = self._session.run(None, {"wav_in": self._window, **self._caches})
        self._caches = dict(zip(self._caches, caches, strict=True))
        return np.asarray(wave[0], np.float32)
