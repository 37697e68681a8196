"""Peer: a streaming tool with a fixed frame, and how it is run on a whole signal."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from importlib import metadata
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from rtsep.errors import InputError
from training.evaluation.evaluate import Enhanced
from training.evaluation.packaged import packaged_file
from training.evaluation.speech_metrics import resample

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    Audio = NDArray[np.float32]


def one_thread_session(path: str) -> InferenceSession:
    """The ONNX model at `path` on one thread that sleeps while it waits. InputError if it cannot be opened."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime's exceptions have no common base of their own
        raise InputError(f"{path} is not an ONNX model that onnxruntime can open.") from None


class Peer(ABC):
    """One stream of another tool. Instances hold state: make a new one for every signal."""

    name: ClassVar[str]
    package: ClassVar[str]  # as pip knows it
    no_dependencies: ClassVar[bool] = False  # only a file of the package is used, not what it requires
    sample_rate: ClassVar[int]  # Hz
    frame: ClassVar[int]  # samples per call
    delay: ClassVar[int]  # samples the output lags behind the input
    parameters: ClassVar[int | None]

    @classmethod
    def installed(cls) -> bool:
        """Whether the package is here."""
        return cls.version() is not None

    @classmethod
    def install(cls) -> str:
        """The command that brings the package."""
        return f"pip install {'--no-deps ' if cls.no_dependencies else ''}{cls.package}"

    @classmethod
    def version(cls) -> str | None:
        """Version of the installed package."""
        try:
            return metadata.version(cls.package)
        except metadata.PackageNotFoundError:
            return None

    @classmethod
    def file(cls, end: str) -> str:
        """Path of the package's file that ends in `end`. InputError if package or file is missing."""
        found = packaged_file(cls.package, end)
        if found is None:
            raise InputError(f"{cls.name} needs {end} out of a package: {cls.install()}.")
        return str(found)

    @classmethod
    def latency_ms(cls) -> float:
        """Algorithmic latency in ms: delay of the output plus the frame that must be complete before a call."""
        return 1000 * (cls.delay + cls.frame) / cls.sample_rate

    @abstractmethod
    def process(self, frame: Audio) -> Audio:
        """float32 `[frame]`, full scale 1, to the same; the result may be overwritten by the next call."""


class Run:
    """An `Enhancer` (of `training.evaluation`) made of a peer: at its rate, its delay removed, its CPU time counted."""

    def __init__(self, make: Callable[[], Peer]) -> None:
        self.make = make

    def __call__(self, noisy: Audio, rate: int) -> Enhanced:
        """Only the frames are timed: neither the resampling nor the set-up of the peer."""
        peer = self.make()
        x = resample(noisy, rate, peer.sample_rate).astype(np.float32)
        frames = -(-(len(x) + peer.delay) // peer.frame)
        padded = np.zeros(frames * peer.frame, np.float32)
        padded[: len(x)] = x
        out = np.empty_like(padded)
        start = time.process_time()
        for at in range(0, len(padded), peer.frame):
            out[at : at + peer.frame] = peer.process(padded[at : at + peer.frame])
        cpu_s = time.process_time() - start
        return Enhanced(out[peer.delay : peer.delay + len(x)], peer.sample_rate, cpu_s)
