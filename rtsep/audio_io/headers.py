"""Whether a sound file is whole: what its header promises, held against the bytes that are there.

libsndfile quietly plays what is left of a WAV or Ogg file that lost its end, believes the length that an MP3 without a
table of contents merely suggests, and stops after the first of several Ogg files joined to one; users of a file tool
want all of the sound, or to be told.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO

_OGG_PAGE = 65_307  # longest Ogg page in bytes (RFC 3533)
_OGG_SOUNDS = (b"OpusHead", b"\x01vorbis", b"\x7fFLAC", b"Speex   ")  # how the first packet of a stream begins
_MP3_FRAME = 2_881  # longest MP3 frame in bytes
_MP3_TRAILER = 8_192  # bytes of tags (ID3v1, APE) that may follow the sound
_MPEG_IN_WAV = (0x50, 0x55)  # format codes of a WAV that holds MPEG frames, whose number nothing tells
_MP3_PADDING = 1 << 16  # bytes of anything that players skip before the first MP3 frame


class Extent(Enum):
    """What the header says about the end of the file."""

    WHOLE = "whole"  # all the sound is there, or the reader will notice when it is not
    CUT = "cut"  # the file ends before its sound does
    UNKNOWN = "unknown"  # the header does not say how long the sound is, or says something else than the file


@dataclass(frozen=True)
class Header:
    """What the first look at a file tells.

    patches: (offset, bytes) that must stand there for libsndfile to read all of a WAV whose header is wrong.
    links: byte ranges (begin, end) of the Ogg files that are joined to this one; empty when it is a single one.
    torn: which of ``links``, from 0, break off within a page; for the last one that is ``extent``.
    mpeg: MP3 by itself, whose decoder in libsndfile complains on standard error about what is damaged.
    samples: length that a ``fact`` chunk gives (compressed WAV decodes to whole blocks, which are longer), or None.
    open_end: an Opus file whose last page is not marked as the last: libsndfile keeps back its last 20 ms, and ffmpeg
        gives whole packets, of which ``samples`` are sound.
    """

    extent: Extent
    patches: tuple[tuple[int, bytes], ...] = ()
    links: tuple[tuple[int, int], ...] = ()
    torn: tuple[int, ...] = ()
    mpeg: bool = False
    samples: int | None = None
    open_end: bool = False


def extent(path: Path) -> Extent:
    """Whether ``path`` is whole, see `look`."""
    return look(path).extent


def look(path: Path) -> Header:
    """Look at the header (and the last Ogg page) of ``path``. Raises OSError when the file cannot be read."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start, tagged = _after_id3(file)
        file.seek(start)
        magic = file.read(4)
        if magic in (b"RIFF", b"RF64", b"BW64"):
            return _riff(file, start, size, magic)
        if magic == b"OggS":
            return _ogg(file, start, size)
        if magic == b"fLaC":
            return Header(_flac(file, start))
        if magic in _ENDS:
            file.seek(0)
            return Header(Extent.CUT if _ENDS[magic](file, file.read(56)) > size else Extent.WHOLE)
        frame = _first_mp3_frame(file, start, tagged)
        return Header(Extent.WHOLE) if frame is None else Header(_mp3(file, frame, size), mpeg=True)


def _after_id3(file: BinaryIO) -> tuple[int, bool]:
    """Offset behind the ID3v2 tags at the beginning of the file, and whether there was one; taggers leave several."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3":
            return start, start > 0
        size = 0
        for byte in head[6:10]:  # seven bits a byte
            size = size << 7 | byte & 0x7F
        start += 10 + size


def _is_mp3_frame(head: bytes) -> bool:
    """Whether four bytes are the header of an MPEG audio frame: sync, a layer, a bit rate and a rate that exist."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0 or not head[1] & 0x06:
        return False
    return head[1] & 0x18 != 0x08 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C


def _first_mp3_frame(file: BinaryIO, start: int, tagged: bool) -> int | None:
    """Offset of the first MP3 frame: at ``start``, or behind padding if that is zeros or a tag has gone before."""
    file.seek(start)
    head = file.read(_MP3_PADDING)
    if _is_mp3_frame(head[:4]):
        return start
    if not tagged and head[:4] != bytes(4):
        return None
    place = head.find(b"\xff")
    while place >= 0:
        if _is_mp3_frame(head[place : place + 4]):
            return start + place
        place = head.find(b"\xff", place + 1)
    return None


def is_unsized(length: int, align: int) -> bool:
    """Whether a WAV's data length [bytes] is what programs write to a pipe, when they cannot know it yet.

    0xFFFFFFFF (FFmpeg, RF64), 0x7FFFFFFF or 0x7FFFFF00, all of them also less a header's size; 0x80000000 (arecord);
    and 0x7FFFF000 rounded down to whole frames of ``align`` bytes (SoX). Any other length is a promise.
    """
    sox = 0x7FFFF000
    return length >= 0xFFFFFF00 or 0x7FFFFF00 <= length <= 0x80000000 or length == sox - sox % max(1, align)


def _riff(file: BinaryIO, start: int, size: int, magic: bytes) -> Header:
    file.seek(start + 4)
    length, form = struct.unpack("<I4s", file.read(8).ljust(8, b"\0"))
    if form != b"WAVE":  # AVI and others
        return Header(Extent.CUT if form == b"AVI " and 8 < size - 8 < length < 0x7FFFFF00 else Extent.WHOLE)
    patches: list[tuple[int, bytes]] = [(start, b"RF64")] if magic == b"BW64" else []  # the same to a reader
    position, long_size, long_place, align, samples, mpeg = start + 12, None, 0, 1, None, False
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        body = file.read(16) if name in (b"ds64", b"fmt ", b"fact") else b""
        if name == b"ds64":
            long_size, long_place = int.from_bytes(body[8:16], "little"), position + 16
        if name == b"fmt ":
            align = int.from_bytes(body[12:14], "little")
            mpeg = int.from_bytes(body[:2], "little") in _MPEG_IN_WAV
        if name == b"fact" and len(body) >= 4:
            samples = int.from_bytes(body[:4], "little")
        if name == b"data":
            begin, rest = position + 8, size - position - 8
            if is_unsized(length, align):
                if long_size is None:
                    # written to a pipe: the sound goes on to the end of the file
                    return Header(Extent.WHOLE, tuple(patches), samples=samples)
                length = long_size
            if not length and rest and not _is_chunk(file, begin, size):  # a recorder that was killed
                length = rest - rest % max(1, align)
                written = struct.pack("<I", min(length, 0xFFFFFFFF))
                patches.append((position + 4, written) if not long_place else (long_place, struct.pack("<Q", length)))
            # Some programs write the length of the whole file here; who does is not cut.
            found = Extent.CUT if length > max(rest, size) else Extent.UNKNOWN if mpeg else Extent.WHOLE
            return Header(found, tuple(patches), samples=samples)
        position += 8 + length + (length & 1)
    return Header(Extent.CUT, tuple(patches))


def _is_chunk(file: BinaryIO, place: int, size: int) -> bool:
    """Whether a RIFF chunk stands at ``place``: four printable characters and a length that fits the file."""
    file.seek(place)
    name, length = struct.unpack("<4sI", file.read(8).ljust(8, b"\xff"))
    return all(0x20 <= byte < 0x7F for byte in name) and place + 8 + length <= size + 1


def _ogg(file: BinaryIO, start: int, size: int) -> Header:
    offset = max(start, size - 2 * _OGG_PAGE)
    file.seek(offset)
    tail = file.read()
    page = tail.rfind(b"OggS")
    if page < 0 or page + 27 > len(tail):
        return Header(Extent.CUT)
    segments = tail[page + 26]
    if page + 27 + segments > len(tail):
        return Header(Extent.CUT)
    end = page + 27 + segments + sum(tail[page + 27 : page + 27 + segments])
    links, torn = _links(file, start, size)
    if end > len(tail):
        return Header(Extent.CUT, links=links, torn=torn)
    last_page = bool(tail[page + 5] & 4)
    if last_page or links:
        return Header(Extent.WHOLE, links=links, torn=torn)
    file.seek(start)
    opening = file.read(27 + 255 + 19)
    opening = opening[27 + opening[26] :]  # what the first page holds (RFC 7845, section 5.1)
    if opening[:8] != b"OpusHead" or len(opening) < 19:
        return Header(Extent.WHOLE)
    position = int.from_bytes(tail[page + 6 : page + 14], "little", signed=True)  # samples at 48 kHz until here
    return Header(Extent.WHOLE, samples=position - int.from_bytes(opening[10:12], "little"), open_end=True)


def _links(file: BinaryIO, start: int, size: int) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Byte ranges of joined Ogg files (RFC 3533, "chaining"), each of which begins with pages marked as first ones.

    And which of them break off within a page, before the next one begins. Both are empty for a single file.
    """
    begins, torn, opening = [start], [], True
    for position, flags, after_torn_page in _ogg_pages(file, start, size):
        first = bool(flags & 2)
        if first and (after_torn_page or not opening):
            if after_torn_page:
                torn.append(len(begins) - 1)
            begins.append(position)
        opening = first
    if len(begins) == 1:
        return (), ()
    return tuple(zip(begins, [*begins[1:], size], strict=True)), tuple(torn)


def _ogg_pages(file: BinaryIO, start: int, size: int) -> Iterator[tuple[int, int, bool]]:
    """Offset and flags of every page, and whether the page before it is shorter than it says."""
    position, torn = start, False
    while 0 <= position <= size - 27:
        file.seek(position)
        head = file.read(27 + 255)
        yield position, head[5], torn
        end = position + 27 + head[26] + sum(head[27 : 27 + head[26]])
        file.seek(end)
        torn = end != size and file.read(4) != b"OggS"
        position = _next_first_page(file, position + 4) if torn else end


def _next_first_page(file: BinaryIO, begin: int) -> int:
    """Offset of the next page from ``begin`` on that opens a stream of sound, or -1; "OggS" may stand in any sound."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        while (begin := content.find(b"OggS\0\2", begin)) >= 0:
            segments = content[begin + 26] if begin + 26 < len(content) else 0
            if content[begin + 27 + segments : begin + 35 + segments].startswith(_OGG_SOUNDS):
                return begin
            begin += 4
    return -1


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


def _aiff_end(_: BinaryIO, head: bytes) -> int:
    """Offset that the file ends at by its header, without a byte of padding that some writers forget."""
    return 8 + int.from_bytes(head[4:8], "big") - 1


def _au_end(_: BinaryIO, head: bytes) -> int:
    begin, length = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
    return begin if length == 0xFFFFFFFF else begin + length


def _w64_end(_: BinaryIO, head: bytes) -> int:
    return int.from_bytes(head[16:24], "little") - 7  # it ends at a multiple of 8, or before


def _caf_end(file: BinaryIO, head: bytes) -> int:
    position = 8
    while len(head) >= 12:
        file.seek(position)
        head = file.read(12)
        length = int.from_bytes(head[4:12], "big", signed=True)
        if length < 0:  # a data chunk of unknown length is the last one
            break
        position += 12 + length
        if head[:4] == b"data":
            break
    return position


# What the first four bytes are, to where the file should end at least.
_ENDS: dict[bytes, Callable[[BinaryIO, bytes], int]] = {
    b"FORM": _aiff_end,
    b".snd": _au_end,
    b"riff": _w64_end,
    b"caff": _caf_end,
}
