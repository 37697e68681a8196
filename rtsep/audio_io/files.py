"""Sound files in and out, in constant memory: WAV, FLAC, Ogg and MP3 by libsndfile, the rest through ffmpeg.

A file is written beside its final place under a temporary name and renamed when all of it is there, so that an error,
a full disk or Ctrl-C leaves nothing half-written. Inputs are only ever read.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rtsep.audio_io.headers import Extent, extent
from rtsep.errors import InputError, RtsepError

if TYPE_CHECKING:
    import numpy as np

    from rtsep.model import Model

BLOCK = 1 << 15  # samples read, processed and written at once
WAV_LIMIT = 4_000_000_000  # bytes; a longer WAV becomes RF64
# suffix: (libsndfile's format, its subtype where the source does not tell)
OUTPUTS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".oga": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
}
# What is taken out of a folder; a file named by itself may have any suffix.
SOUNDS = (*OUTPUTS, ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64")
VIDEOS = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".m4a", ".aac", ".wma")
_SCALE = {"PCM_S8": 7, "PCM_U8": 7, "PCM_16": 15, "PCM_24": 23}  # bits behind the sign


@dataclass(frozen=True)
class FileReport:
    """What became of one file: lengths in samples at ``sample_rate`` (Hz), ``seconds`` of sound."""

    sample_rate: int
    channels: int
    samples: int

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


class Source:
    """A sound file being read. Use it in a ``with`` statement.

    ``sample_rate`` in Hz, ``channels``, ``samples`` (per channel, what the header promises), ``format`` and
    ``subtype`` in libsndfile's words.
    """

    def __init__(self, path: Path, check: Callable[[], None] | None = None) -> None:
        """Open ``path``; ``check`` may raise to stop a long extraction. Raises InputError when there is no sound."""
        import soundfile

        self.path = path
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as opening:
            self.readable = path
            if look_at(path) is Extent.UNKNOWN:
                self.readable = _extracted(path, opening, check)
            try:
                sound = soundfile.SoundFile(self.readable)
            except soundfile.LibsndfileError:
                if path.suffix.lower() in OUTPUTS or self.readable != path:
                    raise InputError(f"{path} is not a sound file that can be read.") from None
                self.readable = _extracted(path, opening, check)
                sound = soundfile.SoundFile(self.readable)
            self._sound = opening.enter_context(sound)
            if not sound.frames:
                raise InputError(f"{path} holds no sound.")
            self._stack = opening.pop_all()
        self.sample_rate, self.channels, self.samples = sound.samplerate, sound.channels, sound.frames
        self.format, self.subtype = sound.format, sound.subtype
        self.tags: dict[str, str] = sound.copy_metadata()

    def blocks(self) -> Iterator[np.ndarray]:
        """All of the sound as float32 ``[n, channels]``, ``n`` up to BLOCK. Raises InputError at a damaged place."""
        import numpy as np
        import soundfile

        done = 0
        while done < self.samples:
            try:
                block = self._sound.read(BLOCK, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                block = np.empty((0, self.channels), np.float32)
            if not len(block):
                raise InputError(
                    f"{self.path} is damaged or cut off after {done / self.sample_rate:.1f} s; fetch it again."
                )
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                at = (done + int(np.argmin(finite))) / self.sample_rate
                raise InputError(f"{self.path} holds a sample that is not a number (NaN or Inf) at {at:.3f} s.")
            done += len(block)
            yield block

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def look_at(path: Path) -> Extent:
    """First look at an input; raises InputError when there is nothing to read."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name a sound file.")
        if not path.exists():
            raise InputError(f"{path} does not exist.")
        if not path.is_file():
            raise InputError(f"{path} is not an ordinary file; pipe a WAV to `rtsep denoise -` instead.")
        if not path.stat().st_size:
            raise InputError(f"{path} is empty.")
        found = extent(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    if found is Extent.CUT:
        raise InputError(f"{path} ends before its sound does; it is a broken copy or download, so fetch it again.")
    return found


def _extracted(path: Path, stack: contextlib.ExitStack, check: Callable[[], None] | None) -> Path:
    from rtsep.audio_io.video import extract_sound

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rtsep-")))
    extract_sound(path, folder / "sound.flac", check, aligned=path.suffix.lower() not in SOUNDS)
    return folder / "sound.flac"


class Sink:
    """A sound file being written under a temporary name. Use it in a ``with`` statement; ``commit`` makes it real.

    ``target`` None is standard output (as WAV).
    """

    def __init__(self, target: Path | None, source: Source, overwrite: bool = False) -> None:
        """Rate, channels, subtype and the common tags are the source's. Raises InputError or RtsepError."""
        import soundfile

        self.target, self._overwrite, self._source = target, overwrite, source
        suffix = target.suffix.lower() if target else ".wav"
        if target is not None:
            check_target(target, source.path, overwrite)
        major, subtype = _format(suffix, source)
        self.subtype = subtype
        folder = target.parent if target else Path(tempfile.gettempdir())
        self._written = 0
        try:
            handle, name = tempfile.mkstemp(suffix=f".part{suffix}", prefix=".rtsep-", dir=folder)
            os.close(handle)
        except OSError as error:
            raise InputError(f"Nothing can be written in {folder}: {error.strerror or error}.") from None
        self._part: Path | None = Path(name)
        try:
            self._sound = soundfile.SoundFile(name, "w", source.sample_rate, source.channels, subtype, format=major)
            for tag, text in source.tags.items():
                setattr(self._sound, tag, text)
        except (soundfile.SoundFileError, OSError, ValueError, TypeError):
            self._discard()
            raise InputError(
                f"{suffix} cannot hold {source.channels} channels at {source.sample_rate} Hz; choose .wav or .flac."
            ) from None

    def write(self, block: np.ndarray) -> None:
        """Append float32 ``[n, channels]``, clipped to full scale where the file holds integers."""
        import soundfile

        try:
            self._sound.write(_quantised(block, self.subtype))
        # libsndfile writes fewer samples when the disk is full; soundfile asserts that it did not
        except (soundfile.SoundFileError, OSError, AssertionError):
            raise self._failure() from None
        self._written += len(block)

    def commit(self) -> None:
        """Finish the file, check that all of it arrived, give it its tags and its name."""
        import soundfile

        part = self._part
        assert part is not None
        try:
            self._sound.close()
            if not _arrived(part, self._written):
                raise self._failure()
            if self.target is None:
                self._pour(part)
            else:
                from rtsep.audio_io.tags import copy_tags

                copy_tags(self._source.readable, part)
                _sync(part)
                part.chmod(0o666 & ~_umask())
                check_target(self.target, self._source.path, self._overwrite)
                part.replace(self.target)
                self._part = None
        except (soundfile.SoundFileError, OSError):
            raise self._failure() from None

    @staticmethod
    def _pour(part: Path) -> None:
        try:
            with part.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Keep Python from complaining about it again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise RtsepError("What reads standard output went away before all of it was written.") from None

    def _failure(self) -> RtsepError:
        assert self._part is not None
        where = self.target or "standard output"
        if shutil.disk_usage(self._part.parent).free < 1 << 16:
            return RtsepError(f"The disk is full: {where} was not written; free some space and run it again.")
        return RtsepError(f"{where} could not be written (disk, quota or file size limit reached).")

    def _discard(self) -> None:
        if self._part is not None:
            self._part.unlink(missing_ok=True)
            self._part = None

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        import soundfile

        with contextlib.suppress(soundfile.SoundFileError, OSError):
            self._sound.close()
        self._discard()


def check_target(target: Path, source: Path | None, overwrite: bool) -> None:
    """Refuse, with an InputError, an output that must not or cannot be written; ``source`` None is standard input."""
    if target.suffix.lower() not in OUTPUTS:
        raise InputError(f"{target}: only {', '.join(OUTPUTS)} can be written; choose another suffix.")
    if not target.parent.is_dir():
        raise InputError(f"{target}: the folder {target.parent} does not exist; create it first.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"{target}: nothing can be written in {target.parent}; choose another folder with -o.")
    if source is not None and target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target} is the input itself, which is never overwritten; choose another output with -o.")
    if target.exists() and not target.is_file():
        raise InputError(f"{target} is not an ordinary file; choose another output with -o.")
    if target.exists() and not overwrite:
        raise InputError(f"{target} already exists; pass --overwrite to replace it.")


def _format(suffix: str, source: Source) -> tuple[str, str]:
    """libsndfile's (format, subtype) for a file with this suffix: the source's subtype wherever it fits."""
    import soundfile

    major, default = OUTPUTS[suffix]
    if major == "WAV" and source.format in ("WAVEX", "RF64"):
        major = source.format
    same_family = (major in ("WAV", "WAVEX", "RF64")) == (source.format in ("WAV", "WAVEX", "RF64"))
    subtype = source.subtype
    if major == "OGG":
        subtype = subtype if suffix != ".opus" and subtype in ("VORBIS", "OPUS") else default
    elif subtype not in ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE") and not same_family:
        subtype = default
    elif not soundfile.check_format(major, subtype):
        # FLAC has neither floats nor 32 bits, WAV no signed bytes
        subtype = "PCM_24" if subtype in ("PCM_32", "FLOAT", "DOUBLE") else "PCM_16"
    widest = 8 if subtype == "DOUBLE" else 4
    if major == "WAV" and source.samples * source.channels * widest > WAV_LIMIT:
        major = "RF64"
    return major, subtype


def _quantised(block: np.ndarray, subtype: str) -> np.ndarray:
    """Round to the file's integers here: libsndfile rounds down, which turns near-silence into -1."""
    import numpy as np

    bits = _SCALE.get(subtype)
    if bits is None:
        return block
    full = 1 << bits
    whole = np.clip(np.rint(block * np.float64(full)), -full, full - 1).astype(np.int32)
    return whole << (31 - bits)


def _arrived(part: Path, samples: int) -> bool:
    """Whether all samples are in the file: libsndfile says nothing about what it could not write while closing."""
    import soundfile

    if extent(part) is not Extent.WHOLE:
        return False
    with soundfile.SoundFile(part) as sound:
        if sound.frames < samples:
            return False
        if sound.format in ("FLAC", "OGG"):  # their headers do not tell where the last sample lies
            tail = min(samples, 1 << 13)
            sound.seek(samples - tail)
            return len(sound.read(tail, dtype="int16")) == tail
    return True


def _sync(path: Path) -> None:
    # Some file systems only find out now that there is no room.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


class Processor(Protocol):
    """A whole signal in pieces, as Enhancer takes and gives it."""

    def process(self, block: np.ndarray) -> np.ndarray: ...

    def flush(self) -> np.ndarray: ...


# (model, rate in Hz, channels) to what processes one file
MakeProcessor = Callable[["Model", int, int], Processor]


def enhance_file(
    source: Path,
    target: Path | None,
    model: Model,
    strength: float | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], Any] | None = None,
    make: MakeProcessor | None = None,
) -> FileReport:
    """Write ``source``, enhanced, to ``target`` (None: standard output), with its rate, channels, length and alignment.

    strength: most attenuation in dB, None no limit. make: something else than an Enhancer with this strength.
    progress: called with (samples done, samples in all) after every block; what it raises stops the work.

    Raises InputError or RtsepError; the target then does not exist (or is what it was).
    """
    from rtsep.engine.enhance import Enhancer

    def check() -> None:
        if progress is not None:
            progress(0, 0)

    with Source(source, check) as sound:
        try:
            processor: Processor
            if make is None:
                processor = Enhancer(model, sound.sample_rate, sound.channels, strength)
            else:
                processor = make(model, sound.sample_rate, sound.channels)
        except InputError as error:
            raise InputError(f"{source}: {error}") from None
        with Sink(target, sound, overwrite) as sink:
            done = 0
            for block in sound.blocks():
                sink.write(processor.process(block))
                done += len(block)
                if progress is not None:
                    progress(done, sound.samples)
            try:
                sink.write(processor.flush())
            except InputError as error:
                raise InputError(f"{source}: {error}") from None
            sink.commit()
        return FileReport(sound.sample_rate, sound.channels, done)
