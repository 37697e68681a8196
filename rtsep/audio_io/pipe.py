"""Standard input to standard output while it comes in: what is ready is written at once, hop by hop.

WAV in is WAV out with the same header and the same chunks around its sound; headerless sound stays headerless. What is
neither (FLAC, compressed WAV) cannot be taken in pieces, and is read to its end first.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from rtsep.audio_io.files import FileReport, MakeProcessor, enhance_file, make_processor
from rtsep.audio_io.headers import is_unsized
from rtsep.audio_io.raw import RawFormat, parse_fmt
from rtsep.audio_io.sink import reader_is_gone
from rtsep.audio_io.source import keep_stream
from rtsep.audio_io.temporary_folder import temporary_folder
from rtsep.errors import InputError, RtsepError

if TYPE_CHECKING:
    from rtsep.model import Model

_PIECE = 1 << 16  # bytes taken at once, if there are so many
_HEADER = 1 << 24  # bytes before the sound
_NAME = "standard input"
_LOUDEST = 8.0


def stream(
    model: Model,
    strength: float | None = None,
    make: MakeProcessor | None = None,
    raw: RawFormat | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> FileReport:
    """Standard input, enhanced, to standard output; the end of the input flushes what is still owed.

    raw: what the input holds when it has no header; so does the output then. See enhance_file for the others.
    Non-finite samples count as zero. Raises InputError or RtsepError; what was ready before has then been written.
    """
    source: Any = sys.stdin.buffer  # has read1: what is there by now
    sink = sys.stdout.buffer
    length: int | None = None
    if raw is None:
        header, raw, length = _wav_header(source)
        if raw is None:
            return _whole(header, source, model, strength, make, progress)
    else:
        header = b""
    processor = make_processor(model, raw.sample_rate, raw.channels, strength, make, _NAME)
    _put(sink, header)
    taken, done, left = b"", 0, length
    while left is None or left > 0:
        data = source.read1(_PIECE if left is None else min(_PIECE, left))
        if not data:
            break
        left = None if left is None else left - len(data)
        taken += data
        whole = len(taken) - len(taken) % raw.frame
        if whole:
            block = _usable(raw.decode(taken[:whole]), done / raw.sample_rate)
            taken = taken[whole:]
            done += len(block)
            _put(sink, raw.encode(processor.process(block)))
            if progress is not None:
                progress(done, 0 if length is None else length // raw.frame)
    if not done:
        raise InputError("Standard input holds no sound.")
    try:
        _put(sink, raw.encode(processor.flush()))
    except InputError as error:
        raise InputError(f"{_NAME}: {error}") from None
    if left:
        damage = f"Standard input is cut off after {done / raw.sample_rate:.1f} s; its header promised more."
        return FileReport(raw.sample_rate, raw.channels, done, damage)
    while length is not None and (data := source.read1(_PIECE)):
        _put(sink, data)  # chunks behind the sound: cue points, tags
    return FileReport(raw.sample_rate, raw.channels, done)


def _wav_header(source: BinaryIO) -> tuple[bytes, RawFormat | None, int | None]:
    """What stands before the sound, what the sound is (None: not to be had in pieces), and its bytes (None: unknown).

    The header is given back as it is to be written: a length that is not known yet is marked as such.
    """
    seen = source.read(12)
    if seen[:4] not in (b"RIFF", b"RF64", b"BW64") or seen[8:] != b"WAVE":
        return seen, None, None
    raw, long_size = None, None
    while len(seen) < _HEADER:
        head = source.read(8)
        seen += head
        if len(head) < 8:
            break
        name, length = struct.unpack("<4sI", head)
        if name == b"data":
            if raw is None:
                break
            if is_unsized(length, raw.frame):
                return seen, raw, long_size
            if length:
                return seen, raw, length
            return _unsized_header(seen), raw, None
        content = source.read(min(length + (length & 1), _HEADER))
        seen += content
        if name == b"fmt ":
            raw = parse_fmt(content)
        elif name == b"ds64" and len(content) >= 16:
            long_size = int.from_bytes(content[8:16], "little") or None
    return seen, None, None


def _unsized_header(seen: bytes) -> bytes:
    """A header whose lengths are 0 because its writer did not know them, with the mark that readers of pipes know."""
    return seen[:4] + b"\xff\xff\xff\xff" + seen[8:-4] + b"\xff\xff\xff\xff" if seen[:4] == b"RIFF" else seen


def _usable(block: Any, at: float) -> Any:
    import numpy as np

    block = np.where(np.isfinite(block), block, np.float32(0))
    peak = float(np.abs(block).max(initial=0))
    if peak > _LOUDEST:
        raise InputError(
            f"Standard input holds samples of {peak:.6g} at {at:.1f} s where full scale is 1; "
            "divide them by what full scale is there (32768 for 16 bits)."
        )
    return block


def _put(sink: BinaryIO, data: bytes) -> None:
    try:
        sink.write(data)
        sink.flush()
    except BrokenPipeError:
        raise reader_is_gone() from None
    except OSError as error:
        raise RtsepError(f"Standard output could not be written: {error.strerror or error}.") from None


def _whole(
    begin: bytes,
    source: BinaryIO,
    model: Model,
    strength: float | None,
    make: MakeProcessor | None,
    progress: Callable[[int, int], Any] | None,
) -> FileReport:
    """Keep all of the input in a file first, and write a WAV at its end."""
    with temporary_folder() as folder:
        path = folder / "stdin.wav"
        keep_stream(source, path, begin)
        try:
            report = enhance_file(path, None, model, strength, progress=progress, make=make)
        except RtsepError as error:
            raise type(error)(str(error).replace(str(path), _NAME)) from None
        return replace(report, damage=report.damage and report.damage.replace(str(path), _NAME))
