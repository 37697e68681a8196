"""What the frameworks have in common: 16-bit samples as bytes, in frames of any length, cleaned one after another.

Speech recognition is helped by less noise and hurt by a voice that was touched, so the limit of the attenuation is low
by default, and full suppression has to be asked for.
"""

from __future__ import annotations

import functools

import numpy as np

from rtsep.engine.stream import Stream
from rtsep.engine.stream_settings import ASR_STRENGTH_DB
from rtsep.errors import InputError
from rtsep.model import Model, load

MODEL = "denoise"
_FULL_SCALE = 32768.0


@functools.cache
def shared_model(name: str) -> Model:
    """The model of all sessions of this process: its weights are in memory once, each stream has its own state.

    Raises InputError for one that does not exist or does not keep speech.
    """
    model = load(name)
    if model.spec.target != "speech":
        raise InputError(f"{model.spec.name} keeps {model.spec.target}, not speech; choose another.")
    return model


class PcmCleaner:
    """One session's stream: little-endian 16-bit samples in, as many clean ones out, ``delay_ms`` later."""

    def __init__(
        self, sample_rate: int, channels: int = 1, model: str = MODEL, strength: float | None = ASR_STRENGTH_DB
    ) -> None:
        """sample_rate: Hz. channels: interleaved. strength: most attenuation in dB, None is no limit.

        Raises InputError when one of them cannot be.
        """
        self._stream: Stream = shared_model(model).stream(sample_rate, channels, strength)
        self.sample_rate, self.channels = sample_rate, channels

    @property
    def delay_ms(self) -> float:
        """By how much the clean sound comes later than what was handed in."""
        return 1000.0 * self._stream.latency / self.sample_rate

    @property
    def strength(self) -> float | None:
        """Most attenuation in dB, None is no limit; changes are ramped."""
        return self._stream.strength

    @strength.setter
    def strength(self, value: float | None) -> None:
        self._stream.strength = value

    def process(self, pcm: bytes | bytearray | memoryview) -> bytes:
        """As many samples as ``pcm`` has; raises InputError when these are not whole ones of every channel."""
        if len(memoryview(pcm).cast("B")) % (2 * self.channels):
            raise InputError(f"A frame must hold whole 16-bit samples of {self.channels} channels.")
        samples = np.frombuffer(pcm, "<i2")
        block = samples.reshape(-1, self.channels).astype(np.float32) / np.float32(_FULL_SCALE)
        clean = self._stream.process(block)
        scaled = np.rint(clean * np.float32(_FULL_SCALE))
        return np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tobytes()

    def reset(self) -> None:
        """Forget all sound, as before another speaker."""
        self._stream.reset()
