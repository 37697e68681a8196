"""Samples as bytes: what a WAV's data chunk, or a pipe without any header, holds."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtsep.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# name: (bytes a sample, whether it is a float)
KINDS = {
    "u8": (1, False),
    "s16le": (2, False),
    "s24le": (3, False),
    "s32le": (4, False),
    "f32le": (4, True),
    "f64le": (8, True),
}
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE  # format codes of a WAV


@dataclass(frozen=True)
class RawFormat:
    """Interleaved samples: ``kind`` is a key of KINDS, ``sample_rate`` in Hz."""

    kind: str
    sample_rate: int
    channels: int

    @property
    def frame(self) -> int:
        """Bytes of one sample of all channels."""
        return KINDS[self.kind][0] * self.channels

    def decode(self, data: bytes) -> np.ndarray:
        """Whole frames to float32 [samples, channels], full scale 1."""
        import numpy as np

        width, is_float = KINDS[self.kind]
        if is_float:
            sound: NDArray[np.float32] = np.frombuffer(data, f"<f{width}").astype(np.float32)
        elif width == 1:
            sound = (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
        else:
            padded = np.zeros((len(data) // width, 4), np.uint8)  # little endian: the low bytes come first
            padded[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
            sound = (padded.view("<i4")[:, 0] / np.float64(1 << 31)).astype(np.float32)
        return sound.reshape(-1, self.channels)

    def encode(self, sound: np.ndarray) -> bytes:
        """float32 [samples, channels] to bytes, clipped to full scale where these are integers."""
        import numpy as np

        width, is_float = KINDS[self.kind]
        if is_float:
            return sound.astype(f"<f{width}").tobytes()
        full = 1 << (8 * width - 1)
        whole = np.clip(np.rint(sound * np.float64(full)), -full, full - 1).astype("<i4")
        if width == 1:
            return (whole + 128).astype(np.uint8).tobytes()
        return np.ascontiguousarray(whole).view(np.uint8).reshape(-1, 4)[:, :width].tobytes()

    def wav_header(self) -> bytes:
        """Header of a WAV of unknown length, as programs write it to a pipe."""
        width, is_float = KINDS[self.kind]
        code, rate = (_FLOAT if is_float else _PCM), self.sample_rate
        sound = struct.pack(
            "<4sIHHIIHH", b"fmt ", 16, code, self.channels, rate, rate * self.frame, self.frame, 8 * width
        )
        return struct.pack("<4sI4s", b"RIFF", 0xFFFFFFFF, b"WAVE") + sound + struct.pack("<4sI", b"data", 0xFFFFFFFF)


def parse_raw(text: str) -> RawFormat:
    """ "s16le:48000:2" to what it says; raises InputError."""
    kind, _, rest = text.partition(":")
    rate, _, channels = rest.partition(":")
    if kind not in KINDS or not rate.isdecimal() or not channels.isdecimal():
        raise InputError(f"--raw is {text!r}; it must be KIND:RATE:CHANNELS, such as s16le:48000:1 or f32le:44100:2.")
    return RawFormat(kind, int(rate), int(channels))


def parse_fmt(chunk: bytes) -> RawFormat | None:
    """The content of a WAV's ``fmt`` chunk; None for what is neither integers nor floats (compressed sound)."""
    if len(chunk) < 16:
        return None
    code, channels, rate, _, align, bits = struct.unpack("<HHIIHH", chunk[:16])
    if code == _EXTENSIBLE and len(chunk) >= 26:
        code = int.from_bytes(chunk[24:26], "little")
    if not channels or align % channels or bits % 8:
        return None
    for kind, (width, is_float) in KINDS.items():
        if code == (_FLOAT if is_float else _PCM) and width == align // channels == bits // 8:
            return RawFormat(kind, rate, channels)
    return None
