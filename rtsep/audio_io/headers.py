"""Whether a sound file is whole: what its header promises, held against the bytes that are there.

libsndfile quietly plays what is left of a WAV or Ogg file that lost its end, and believes the length that an MP3
without a table of contents merely suggests; users of a file tool want to be told.
"""

from __future__ import annotations

import os
import struct
from enum import Enum
from pathlib import Path
from typing import BinaryIO

_OGG_PAGE = 65_307  # longest Ogg page in bytes (RFC 3533)
_MP3_FRAME = 2_881  # longest MP3 frame in bytes
_MP3_TRAILER = 8_192  # bytes of tags (ID3v1, APE) that may follow the sound


class Extent(Enum):
    """What the header says about the end of the file."""

    WHOLE = "whole"  # all the sound is there, or the reader will notice when it is not
    CUT = "cut"  # the file ends before its sound does
    UNKNOWN = "unknown"  # the header does not say how long the sound is, or says something else than the file


def extent(path: Path) -> Extent:
    """Look at the header (and the last Ogg page) of ``path``. Raises OSError when the file cannot be read."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = _after_id3(file)
        file.seek(start)
        magic = file.read(4)
        if magic in (b"RIFF", b"RF64"):
            return _riff(file, start, size)
        if magic == b"OggS":
            return _ogg(file, size)
        if magic == b"fLaC":
            return _flac(file, start)
        if len(magic) == 4 and magic[0] == 0xFF and magic[1] & 0xE0 == 0xE0 and magic[1] & 0x06:
            return _mp3(file, start, size)
    return Extent.WHOLE


def _after_id3(file: BinaryIO) -> int:
    """Offset behind an ID3v2 tag at the beginning of the file (0 without one)."""
    head = file.read(10)
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    size = 0
    for byte in head[6:10]:  # seven bits a byte
        size = size << 7 | byte & 0x7F
    return 10 + size


def _unsized(length: int, align: int) -> bool:
    """Whether a WAV's data length [bytes] is what programs write to a pipe, when they cannot know it yet.

    0xFFFFFFFF (FFmpeg, RF64), 0x7FFFFFFF or 0x7FFFFF00, all of them also less a header's size; 0x80000000 (arecord);
    and 0x7FFFF000 rounded down to whole frames of ``align`` bytes (SoX). Any other length is a promise.
    """
    sox = 0x7FFFF000
    return length >= 0xFFFFFF00 or 0x7FFFFF00 <= length <= 0x80000000 or length == sox - sox % max(1, align)


def _riff(file: BinaryIO, start: int, size: int) -> Extent:
    position, long_size, align = start + 12, None, 1
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        body = file.read(16) if name in (b"ds64", b"fmt ") else b""
        if name == b"ds64":
            long_size = int.from_bytes(body[8:16], "little")
        if name == b"fmt ":
            align = int.from_bytes(body[12:14], "little")
        if name == b"data":
            if _unsized(length, align):
                if long_size is None:
                    return Extent.WHOLE  # written to a pipe: the sound goes on to the end of the file
                length = long_size
            return Extent.CUT if position + 8 + length > size else Extent.WHOLE
        position += 8 + length + (length & 1)
    return Extent.CUT


def _ogg(file: BinaryIO, size: int) -> Extent:
    offset = max(0, size - 2 * _OGG_PAGE)
    file.seek(offset)
    tail = file.read()
    page = tail.rfind(b"OggS")
    if page < 0 or page + 27 > len(tail):
        return Extent.CUT
    segments = tail[page + 26]
    if page + 27 + segments > len(tail):
        return Extent.CUT
    end = page + 27 + segments + sum(tail[page + 27 : page + 27 + segments])
    return Extent.CUT if end > len(tail) else Extent.WHOLE


def _flac(file: BinaryIO, start: int) -> Extent:
    file.seek(start + 8)  # STREAMINFO is always the first block
    info = file.read(18)
    if len(info) < 18:
        return Extent.CUT
    samples = int.from_bytes(info[10:18], "big") & (1 << 36) - 1
    return Extent.WHOLE if samples else Extent.UNKNOWN


def _mp3(file: BinaryIO, start: int, size: int) -> Extent:
    file.seek(start)
    first = file.read(_MP3_FRAME)
    places = [place for name in (b"Xing", b"Info") if (place := first.find(name)) >= 0]
    if not places:
        return Extent.WHOLE if b"VBRI" in first else Extent.UNKNOWN
    place = places[0]
    flags = int.from_bytes(first[place + 4 : place + 8], "big")
    if not flags & 1:  # no number of frames
        return Extent.UNKNOWN
    if not flags & 2:  # no number of bytes to compare with
        return Extent.WHOLE
    promised = int.from_bytes(first[place + 12 : place + 16], "big")
    if size - start < 0.99 * promised:  # taggers leave it a little off; what is cut by less, the reader will notice
        return Extent.CUT
    # Longer than promised: several MP3 files joined to one keep the first one's table.
    return Extent.UNKNOWN if size - start > promised + _MP3_TRAILER else Extent.WHOLE
