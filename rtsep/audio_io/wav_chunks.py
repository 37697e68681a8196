"""What a WAV says beside its sound, carried from one file to another: broadcast data, cue points, speaker positions.

Broadcast Wave ``bext`` is EBU Tech 3285, cue points with their labels are from Microsoft's RIFF specification, and the
channel mask is ``dwChannelMask`` of WAVEFORMATEXTENSIBLE. Titles and artists are tags, see `rtsep.audio_io.tags`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_KEPT = (b"bext", b"cue ", b"smpl", b"iXML", b"axml")
_LARGEST = 1 << 24  # bytes of a chunk that is no sound
_LOUDNESS = slice(412, 422)  # bext version 2: five values of 16 bits, measured on the old sound
_NOT_SET = struct.pack("<h", 0x7FFF)
_MASK = 20  # offset of the channel mask in fmt
_EXTENSIBLE = 0xFFFE


class _Chunk(NamedTuple):
    name: bytes
    place: int  # of its content
    length: int  # of its content, bytes


def copy_chunks(source: Path, target: Path) -> None:
    """Give ``target`` the ``bext``, cue and label chunks of ``source``, and its channel mask; both are WAV files.

    Nothing happens when one of them is no WAV. Sample numbers in them hold, for the sound is as long and at the same
    rate. Raises OSError.
    """
    with source.open("rb") as old, target.open("r+b") as new:
        before, after = _chunks(old), _chunks(new)
        if not before or not after:
            return
        mask = _mask(old, before)
        place = next((chunk.place for chunk in after if chunk.name == b"fmt " and _is_extensible(new, chunk)), None)
        if mask is not None and place is not None:
            new.seek(place + _MASK)
            new.write(mask)
        pieces = b"".join(_packed(chunk.name, content) for chunk, content in _kept(old, before))
        if not pieces:
            return
        end = new.seek(0, os.SEEK_END)
        pieces = b"\0" * (end & 1) + pieces
        new.write(pieces)
        _set_length(new, end + len(pieces))


def chunk_names(path: Path) -> list[bytes] | None:
    """The names of the chunks of a WAV file, None for another file. Raises OSError."""
    with path.open("rb") as file:
        return [chunk.name for chunk in _chunks(file)] or None


def _chunks(file: BinaryIO) -> list[_Chunk]:
    file.seek(0)
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return []
    found, long_data, size = [], 0, os.fstat(file.fileno()).st_size
    position = 12
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"ds64":
            long_data = int.from_bytes(file.read(16)[8:], "little")
        if name == b"data" and length == 0xFFFFFFFF:
            length = long_data or size
        found.append(_Chunk(name, position + 8, length))
        position += 8 + length + (length & 1)
    return found


def _is_extensible(file: BinaryIO, chunk: _Chunk) -> bool:
    file.seek(chunk.place)
    return chunk.length >= 40 and int.from_bytes(file.read(2), "little") == _EXTENSIBLE


def _mask(file: BinaryIO, chunks: list[_Chunk]) -> bytes | None:
    for chunk in chunks:
        if chunk.name == b"fmt " and _is_extensible(file, chunk):
            file.seek(chunk.place + _MASK)
            return file.read(4)
    return None


def _kept(file: BinaryIO, chunks: list[_Chunk]) -> Iterator[tuple[_Chunk, bytes]]:
    for chunk in chunks:
        if chunk.name not in (*_KEPT, b"LIST") or chunk.length > _LARGEST:
            continue
        file.seek(chunk.place)
        content = file.read(chunk.length)
        if len(content) < chunk.length or (chunk.name == b"LIST" and content[:4] != b"adtl"):
            continue
        if chunk.name == b"bext" and len(content) >= 602 and content[346] >= 2:
            content = content[: _LOUDNESS.start] + 5 * _NOT_SET + content[_LOUDNESS.stop :]
        yield chunk, content


def _packed(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) & 1)


def _set_length(file: BinaryIO, size: int) -> None:
    file.seek(0)
    if file.read(4) == b"RIFF":
        file.seek(4)
        file.write(struct.pack("<I", size - 8))
    else:  # RF64: ds64 is its first chunk and begins with the length
        file.seek(20)
        file.write(struct.pack("<Q", size - 8))
