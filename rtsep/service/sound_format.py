"""SoundFormat: what a client sends and gets, as the query of its address says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import InputError

Floats = NDArray[np.float32]

_TYPES: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
_FULL_SCALE = np.float32(32768.0)


@dataclass(frozen=True)
class SoundFormat:
    """Interleaved samples, 16-bit integers or 32-bit floats, little-endian; what is left out is the default."""

    rate: int | None = None  # Hz; None is the model's
    channels: int = 1
    samples: str = "s16le"
    strength: float | None = None  # dB; None is no limit
    block_multiple: int = 1

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> SoundFormat:
        """Of the query ``rate``, ``channels``, ``format``, ``strength`` and ``block_multiple``.

        Raises InputError for what is none of them; what the numbers may be, EngineStream checks.
        """
        unknown = set(query) - {"rate", "channels", "format", "strength", "block_multiple"}
        if unknown:
            raise InputError(f"There is no parameter {min(unknown)!r}.")
        samples = query.get("format", "s16le")
        if samples not in _TYPES:
            raise InputError(f"format is {samples!r}; it must be {' or '.join(_TYPES)}.")
        strength = query.get("strength", "max")
        return cls(
            _number(query, "rate", int, None),
            _number(query, "channels", int, 1),
            samples,
            None if strength == "max" else _number(query, "strength", float, None),
            _number(query, "block_multiple", int, 1),
        )

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return self.channels * _TYPES[self.samples].itemsize

    def decoded(self, data: bytes) -> Floats:
        """[samples, channels] float32, full scale 1. Raises InputError when these are no whole samples."""
        if len(data) % self.frame_bytes:
            raise InputError(
                f"A frame of {len(data)} bytes does not hold whole {self.samples} samples of {self.channels} channels."
            )
        block = np.frombuffer(data, _TYPES[self.samples]).reshape(-1, self.channels)
        return block.astype(np.float32) / _FULL_SCALE if self.samples == "s16le" else block.astype(np.float32)

    def encoded(self, block: Floats) -> bytes:
        """The other way; rounded and clipped where there are but 16 bits."""
        if self.samples == "s16le":
            block = np.clip(np.rint(block * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
        return block.astype(_TYPES[self.samples]).tobytes()


def _number(query: Mapping[str, str], name: str, kind: Any, default: Any) -> Any:
    try:
        return kind(query[name]) if name in query else default
    except ValueError:
        raise InputError(f"{name} is {query[name]!r}; it must be a number.") from None
