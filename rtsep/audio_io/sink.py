"""A sound file being written, beside its final place and under a temporary name, until all of it is there."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rtsep.audio_io.headers import Extent, extent
from rtsep.audio_io.part_file import DISK_FULL, PartFile, why_unwritten
from rtsep.audio_io.patched_file import openable
from rtsep.audio_io.source import FLOATS, Source
from rtsep.audio_io.temporary_folder import no_room
from rtsep.errors import InputError, RtsepError

if TYPE_CHECKING:
    import numpy as np
    import soundfile

WAV_LIMIT = 4_000_000_000  # bytes; a longer WAV becomes RF64
_WAVS = ("WAV", "WAVEX", "RF64")
# suffix: (libsndfile's format, its subtype where the source does not tell)
OUTPUTS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".oga": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
}
# What ffmpeg makes of a FLAC, see rtsep.audio_io.video.
ENCODED = (".mp3", ".m4a", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
_SCALE = {"PCM_S8": 7, "PCM_U8": 7, "PCM_16": 15, "PCM_24": 23}  # bits behind the sign


class Sink:
    """A sound file being written under a temporary name. Use it in a ``with`` statement; ``commit`` makes it real.

    ``target`` None is standard output (as WAV).
    """

    def __init__(self, target: Path | None, source: Source, overwrite: bool = False) -> None:
        """Rate, channels, subtype and the common tags are the source's. Raises InputError or RtsepError."""
        self.target, self._overwrite, self._source = target, overwrite, source
        suffix = target.suffix.lower() if target else ".wav"
        if target is not None:
            check_target(target, source.path, overwrite)
        major, self.subtype = _format(".flac" if suffix in ENCODED else suffix, source)
        self._gain = 1 / source.scale if self.subtype in FLOATS else 1.0
        self._written = 0
        self._part = _new_part(target, ".flac" if suffix in ENCODED else suffix)
        try:
            self._open(suffix, major)
        except BaseException:  # Ctrl-C too
            self._part.discard()
            raise

    def _open(self, suffix: str, major: str) -> None:
        import soundfile

        source = self._source
        try:
            rate, channels = source.sample_rate, source.channels
            self._sound = _unsynced()(openable(self._part.path), "w", rate, channels, self.subtype, format=major)
        except (soundfile.SoundFileError, OSError, ValueError, TypeError):
            raise InputError(
                f"{suffix} cannot hold {source.channels} channels at {source.sample_rate} Hz; choose .wav or .flac."
            ) from None
        for tag, text in source.tags.items():
            with contextlib.suppress(soundfile.SoundFileError, ValueError, TypeError):  # no tag is worth the sound
                setattr(self._sound, tag, text)

    def write(self, block: np.ndarray) -> None:
        """Append float32 ``[n, channels]``, clipped to full scale where the file holds integers."""
        import numpy as np
        import soundfile

        block = block * np.float32(self._gain) if self._gain != 1 else block
        try:
            self._sound.write(_quantised(block, self.subtype))
        # libsndfile writes fewer samples when the disk is full; soundfile asserts that it did not
        except (soundfile.SoundFileError, OSError, AssertionError):
            raise self._failure() from None
        self._written += len(block)

    def commit(self) -> None:
        """Finish the file, check that all of it arrived, give it its tags and its name."""
        import soundfile

        part = self._part.path
        try:
            self._sound.close()
            if not _arrived(part, self._written):
                raise self._failure()
            if self.target is None:
                self._pour(part)
            elif self.target.suffix.lower() in ENCODED:
                self._encode(part, self.target)
            else:
                self._copy_what_it_says(part)
                self._rename(self._part, self.target)
        except (soundfile.SoundFileError, OSError):
            raise self._failure() from None

    def _copy_what_it_says(self, part: Path) -> None:
        from rtsep.audio_io.tags import copy_tags
        from rtsep.audio_io.wav_chunks import copy_chunks

        copy_chunks(self._source.path, part)
        copy_tags(self._source.readable, part)

    def _encode(self, part: Path, target: Path) -> None:
        from rtsep.audio_io.video import put_sound

        made = _new_part(target, target.suffix.lower())
        try:
            put_sound(part, self._source.path, made.path, target, self._source.check)
            self._rename(made, target)
        finally:
            made.discard()

    def _rename(self, part: PartFile, target: Path) -> None:
        _sync(part.path)
        part.path.chmod(0o666 & ~_umask())
        check_target(target, self._source.path, self._overwrite)
        part.place(target)

    @staticmethod
    def _pour(part: Path) -> None:
        try:
            with part.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise reader_is_gone() from None

    def _failure(self) -> RtsepError:
        where = self.target or "standard output"
        why = why_unwritten(self._part.path.parent)
        advice = "; free some space and run it again." if why == DISK_FULL else "."
        return RtsepError(f"{where} could not be written: {why}{advice}")

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        import soundfile

        with contextlib.suppress(soundfile.SoundFileError, OSError):
            self._sound.close()
        self._part.discard()


class ExistsError(InputError):
    """The output is there already, and was not to be replaced."""


def reader_is_gone() -> RtsepError:
    """What to raise when standard output is a pipe that nobody reads any more."""
    # Keep Python from complaining about it again at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return RtsepError("What reads standard output went away before all of it was written.")


def check_target(target: Path, source: Path | None, overwrite: bool) -> None:
    """Refuse, with an InputError, an output that must not or cannot be written; ``source`` None is standard input."""
    check_suffix(target)
    try:
        if not target.parent.is_dir():
            raise InputError(f"{target}: the folder {target.parent} does not exist; create it first.")
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise InputError(f"{target}: nothing can be written in {target.parent}; choose another folder with -o.")
        if len(os.fsencode(target.name)) > _longest_name(target.parent):
            raise InputError(f"{target}: the name of the output is too long; choose a shorter one with -o.")
        exists = os.path.lexists(target)
        if source is not None and target.exists() and source.exists() and target.samefile(source):
            raise InputError(
                f"{target} is the input itself, which is never overwritten; choose another output with -o."
            )
        if exists and not target.is_file():
            raise InputError(f"{target} is not an ordinary file; choose another output with -o.")
    except InputError:  # a ValueError too, and says all already
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{target} cannot be written: {why}; choose another output with -o.") from None
    if exists and not overwrite:
        raise ExistsError(f"{target} already exists; pass --overwrite to replace it.")


def check_suffix(target: Path) -> None:
    """Raise InputError for an output of a kind that cannot be written, on this machine."""
    from rtsep.audio_io.video import ffmpeg

    suffix = target.suffix.lower()
    if suffix in ENCODED and ffmpeg() is None:
        raise InputError(f"{target} can only be written with ffmpeg, which is not installed; choose .wav or .flac.")
    if suffix not in OUTPUTS and suffix not in ENCODED:
        kinds = ", ".join(OUTPUTS) + (f" and by ffmpeg {', '.join(ENCODED)}" if ffmpeg() else "")
        raise InputError(f"{target}: only {kinds} can be written; choose another suffix.")


def _longest_name(folder: Path) -> int:
    """Bytes a name in ``folder`` may have."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return 255


def _new_part(target: Path | None, suffix: str) -> PartFile:
    """A file beside ``target``, or among the temporary files for standard output."""
    try:
        return PartFile(target.parent if target else Path(tempfile.gettempdir()), suffix)
    except OSError as error:
        if target is None:
            raise RtsepError(f"{no_room(error)}; set TMPDIR to a roomy folder.") from None
        raise InputError(f"Nothing can be written in {target.parent}: {error.strerror or error}.") from None


def _format(suffix: str, source: Source) -> tuple[str, str]:
    """libsndfile's (format, subtype) for a file with this suffix: the source's subtype wherever it fits."""
    import soundfile

    major, default = OUTPUTS[suffix]
    if major == "WAV" and source.format in ("WAVEX", "RF64"):
        major = source.format
    subtype = source.subtype
    # ADPCM, GSM and MPEG in WAV would lose a second time, and cannot hold every length
    kept: tuple[str, ...] = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", *FLOATS)
    if major in _WAVS and source.format in _WAVS:
        kept += ("ULAW", "ALAW")
    if major == "OGG":
        subtype = subtype if suffix != ".opus" and subtype in ("VORBIS", "OPUS") else default
    elif subtype not in kept:
        subtype = default
    elif not soundfile.check_format(major, subtype):
        # FLAC has neither floats nor 32 bits, WAV no signed bytes
        subtype = "PCM_24" if subtype in ("PCM_32", *FLOATS) else "PCM_16"
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
    with soundfile.SoundFile(openable(part)) as sound:
        if sound.frames < samples:
            return False
        if sound.format in ("FLAC", "OGG"):  # their headers do not tell where the last sample lies
            tail = min(samples, 1 << 13)
            sound.seek(samples - tail)
            return len(sound.read(tail, dtype="int16")) == tail
    return True


@cache
def _unsynced() -> type[soundfile.SoundFile]:
    """SoundFile, but that closing it waits for no disk: ``commit`` does so later, when all of the file is there."""
    import soundfile

    class Unsynced(soundfile.SoundFile):  # type: ignore[misc,unused-ignore]
        def flush(self) -> None:
            """Called by ``close``, which hands all to the system by itself."""

    return Unsynced


def _sync(path: Path) -> None:
    # Some file systems only find out now that there is no room.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
