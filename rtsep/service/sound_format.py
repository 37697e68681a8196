"""SoundFormat: what a client sends and gets, as the query of its address says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtsep.errors import InputError

SIXTEEN_BITS = "s16le"
_BYTES = {SIXTEEN_BITS: 2, "f32le": 4}


@dataclass(frozen=True)
class SoundFormat:
    """Interleaved samples, 16-bit integers or 32-bit floats, little-endian; what is left out is the default."""

    rate: int | None = None  # Hz; None is the model's
    channels: int = 1
    samples: str = SIXTEEN_BITS
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
        samples = query.get("format", SIXTEEN_BITS)
        if samples not in _BYTES:
            raise InputError(f"format is {samples!r}; it must be {' or '.join(_BYTES)}.")
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
        return self.channels * _BYTES[self.samples]

    def check(self, data: bytes) -> int:
        """Samples of each channel in a frame. Raises InputError when these are no whole ones."""
        samples, rest = divmod(len(data), self.frame_bytes)
        if rest:
            raise InputError(
                f"A frame of {len(data)} bytes does not hold whole {self.samples} samples of {self.channels} channels."
            )
        return samples


def _number(query: Mapping[str, str], name: str, kind: Any, default: Any) -> Any:
    try:
        return kind(query[name]) if name in query else default
    except ValueError:
        raise InputError(f"{name} is {query[name]!r}; it must be a number.") from None
