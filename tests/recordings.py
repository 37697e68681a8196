"""The real recording in tests/data, at other rates, lengths and channel counts."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from tests.graphs import Network

DATA = Path(__file__).parent / "data"
NOISY, CLEAN = DATA / "demo.noisy.flac", DATA / "demo.clean.flac"


@functools.cache
def noisy(rate: int = 16000, channels: int = 1, seconds: float = 3.0) -> NDArray[np.float32]:
    """float32 [samples, channels] of the noisy recording; further channels are later parts of it."""
    sound, own = soundfile.read(NOISY, dtype="float32")
    sound = soxr.resample(sound, own, rate) if rate != own else sound
    length = round(seconds * rate)
    return np.stack([np.roll(sound, -channel * rate)[:length] for channel in range(channels)], axis=1)


def identity_model(folder: Path) -> str:
    """A model of the default sizes at 48 kHz whose speech is its input."""
    return str(
        Network(hop=128, analysis_window=512, synthesis_window=256, identity=True).save(folder / "identity.onnx")
    )


def random_model(folder: Path) -> str:
    """A model of the default sizes at 48 kHz with random weights."""
    return str(Network(hop=128, analysis_window=512, synthesis_window=256).save(folder / "random.onnx"))
