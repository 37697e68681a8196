"""A sound file being read: by libsndfile where it can, else through ffmpeg, as far as there is sound in it."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rtsep.audio_io.headers import Extent, Header, look
from rtsep.audio_io.patched_file import PatchedFile, openable
from rtsep.audio_io.temporary_folder import temporary_folder
from rtsep.audio_io.video import extract_sound, ffmpeg
from rtsep.errors import InputError, RtsepError

if TYPE_CHECKING:
    import numpy as np
    import soundfile

BLOCK = 1 << 15  # samples read, processed and written at once
FLOATS = ("FLOAT", "DOUBLE")
_HELD_BACK = 0.02  # seconds that libsndfile does not give of an Opus file without an end page
_STEP, _LONGEST_GAP = 512, 1 << 16  # samples: how finely, and how far behind damage, the next good frame is looked for
_LOUDEST = 8.0  # streams clamp what is louder, see Stream.process
_FULL_SCALES = (8, 15, 23, 31)  # as powers of two: what floats hold that are too loud for full scale 1


class DamagedError(RtsepError):
    """A file ends before its sound does, or cannot be decoded from some place on; what came before is good."""


class Source:
    """A sound file being read. Use it in a ``with`` statement.

    ``sample_rate`` in Hz, ``channels``, ``samples`` (per channel, what the header promises), ``format`` and
    ``subtype`` in libsndfile's words. ``scale`` is what samples were multiplied by: 1, or a smaller power of two for
    float files that hold integers or other values far above full scale.
    """

    def __init__(self, path: Path, check: Callable[[], None] | None = None) -> None:
        """Open ``path``; ``check`` may raise to stop a long extraction. Raises InputError when there is no sound."""
        self.path, self.readable = path, path
        self.check = check or (lambda: None)
        header = look_closely(path)
        self._cut = header.extent is Extent.CUT
        self._gaps = {index + 1 for index in header.torn}  # before which of ``_sounds`` some sound is missing
        self._hurt: int | None = None  # sample at which, or shortly after which, the first broken place begins
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as opening:
            better = (header.mpeg and self._cut) or header.open_end
            by_ffmpeg = header.extent is Extent.UNKNOWN or (better and ffmpeg() is not None)
            self._sounds = [] if by_ffmpeg else self._opened(header, opening)
            try:
                self._sounds = self._sounds or self._extracted(header, opening)
            except InputError:
                if not self._cut:
                    raise
                raise InputError(
                    f"{path} ends before its sound does, and nothing of it can be read; fetch it again."
                ) from None
            sound = self._sounds[0]
            self.samples = sum(part.frames for part in self._sounds)
            if not self.samples:
                raise InputError(f"{path} holds no sound.")
            self._stack = opening.pop_all()
        self.sample_rate, self.channels = sound.samplerate, sound.channels
        self.format, self.subtype = sound.format, sound.subtype
        # MPEG frames carry no count of samples, so libsndfile can only guess it.
        self._promised = not self.subtype.startswith("MPEG")
        if header.samples is not None and _one_block_less(header.samples, self.samples):
            self.samples = header.samples
        self.tags: dict[str, str] = {name: text for name, text in sound.copy_metadata().items() if text}
        self.scale = self._find_scale() if self.subtype in FLOATS else 1.0

    def blocks(self) -> Iterator[np.ndarray]:
        """All of the sound as float32 ``[n, channels]``, ``n`` up to BLOCK.

        Raises DamagedError behind the last sample that can be read, if that is not the end of the sound, and
        InputError when there is none, or at a sample that is not a number.
        """
        import numpy as np

        done = 0
        for block in self._raw_blocks():
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                at = (done + int(np.argmin(finite))) / self.sample_rate
                raise InputError(f"{self.path} holds a sample that is not a number (NaN or Inf) at {at:.3f} s.")
            done += len(block)
            yield block * np.float32(self.scale) if self.scale != 1 else block
        if not done:
            raise InputError(f"{self.path} is cut off before its sound begins, or damaged there; fetch it again.")
        missing = self.samples - done
        if self.subtype == "OPUS" and missing <= _HELD_BACK * self.sample_rate:
            missing, self._hurt = 0, None
        if self._cut or (self._promised and missing):
            raise DamagedError(
                f"{self.path} is damaged or cut off after {done / self.sample_rate:.1f} s; fetch it again if you can."
            )
        if self._hurt is not None:
            raise DamagedError(
                f"{self.path} is damaged at about {self._hurt / self.sample_rate:.1f} s, where some sound is missing."
            )

    def _raw_blocks(self) -> Iterator[np.ndarray]:
        """float32 ``[n, channels]`` as they stand in the file, as many as can be read."""
        import numpy as np
        import soundfile

        done, self._hurt = 0, None
        for index, sound in enumerate(self._sounds):
            if index in self._gaps and self._hurt is None:
                self._hurt = done
            while done < self.samples:
                place = np.full((min(BLOCK, self.samples - done), self.channels), np.nan, np.float32)
                try:
                    block = sound.read(out=place, always_2d=True)
                except soundfile.LibsndfileError:
                    # What could be decoded stands there all the same, and behind a broken frame it often goes on.
                    block = place[: int(np.argmax(np.isnan(place[:, -1])))] if np.isnan(place[-1, -1]) else place
                    self._hurt = done if self._hurt is None else self._hurt
                if not len(block) and self._hurt is not None and sound.format == "FLAC":
                    sound, gap = self._behind_damage(done)
                    block = np.zeros((gap, self.channels), np.float32)
                if not len(block):
                    break
                done += len(block)
                yield block

    def _behind_damage(self, done: int) -> tuple[soundfile.SoundFile, int]:
        """A FLAC opened anew at the first frame behind sample ``done`` that can be decoded, and the samples until then.

        0 samples where nothing follows. A reader that has met damage goes no further, so each try needs a new one.
        """
        import soundfile

        for gap in range(_STEP, min(_LONGEST_GAP, self.samples - done), _STEP):
            sound = soundfile.SoundFile(openable(self.readable))
            try:
                sound.seek(done + gap)
                sound.read(1)
                sound.seek(done + gap)
                return self._stack.enter_context(sound), gap
            except soundfile.LibsndfileError:
                sound.close()
        return self._sounds[0], 0

    def _find_scale(self) -> float:
        """1, or the power of two that brings a float file down to full scale if it goes far beyond."""
        import numpy as np

        peak = 0.0
        for block in self._raw_blocks():
            self.check()
            finite = block[np.isfinite(block)]
            peak = max(peak, float(np.abs(finite).max(initial=0)))
        for sound in self._sounds:
            sound.seek(0)
        if peak <= _LOUDEST:
            return 1.0
        exponent = next((bits for bits in _FULL_SCALES if peak <= 1 << bits), math.ceil(math.log2(peak)))
        return 2.0**-exponent

    def _opened(self, header: Header, stack: contextlib.ExitStack) -> list[soundfile.SoundFile]:
        """What libsndfile can open: one file, or one for each of those joined to it; empty when it cannot."""
        import soundfile

        places: list[Any] = [openable(self.path)]
        with contextlib.ExitStack() as opening:
            if header.links:
                places = [opening.enter_context(PatchedFile(self.path, (), *link)) for link in header.links]
            elif header.patches:
                places = [opening.enter_context(PatchedFile(self.path, header.patches))]
            try:
                sounds = [opening.enter_context(soundfile.SoundFile(place)) for place in places]
            except soundfile.LibsndfileError:
                return []
            if len({(sound.samplerate, sound.channels) for sound in sounds}) > 1:
                return []  # ffmpeg brings them to the rate and channels of the first
            stack.push(opening.pop_all())
        return sounds

    def _extracted(self, header: Header, stack: contextlib.ExitStack) -> list[soundfile.SoundFile]:
        """What ffmpeg makes of the file, or of each of those joined to it, at the rate and channels of the first."""
        import soundfile

        folder = stack.enter_context(temporary_folder())
        sounds: list[soundfile.SoundFile] = []
        why = InputError(f"{self.path} is not a sound file that can be read.")
        self._gaps = set()
        for index, link in enumerate(header.links or (None,)):
            target = folder / f"{index}.flac"
            form = (sounds[0].samplerate, sounds[0].channels) if sounds else None
            whole = False
            try:
                whole = extract_sound(self.path, target, self.check, part=link, form=form)
                sounds.append(stack.enter_context(soundfile.SoundFile(target)))
            except InputError as error:
                why = error
            except soundfile.LibsndfileError:
                pass
            if not whole or index in header.torn:
                self._gaps.add(len(sounds))
            if len(sounds) == 1:
                self.readable = Path(sounds[0].name)
        if not sounds:
            raise why
        self._cut |= len(sounds) in self._gaps
        return sounds

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _one_block_less(told: int, decoded: int) -> bool:
    """Whether a file that decodes to ``decoded`` samples can be as long as is told: its last block is not full.

    Blocks of ADPCM have up to 8,192 samples, in files of high rates.
    """
    return 0 < decoded - told < 8_192 and told > 0


def keep_stream(stream: BinaryIO, path: Path, begin: bytes = b"") -> None:
    """Write ``begin`` and the rest of standard input to ``path``; raises RtsepError where there is no room."""
    try:
        with path.open("wb") as file:
            file.write(begin)
            shutil.copyfileobj(stream, file)
    except OSError as error:
        why = error.strerror or error
        raise RtsepError(
            f"Standard input could not be kept in {path.parent} ({why}); set TMPDIR to a roomy folder."
        ) from None


def look_closely(path: Path) -> Header:
    """First look at an input; raises InputError when there is nothing to read."""
    try:
        if not str(path) or str(path) == ".":
            raise InputError("A name is empty; name a sound file.")
        try:
            found = os.stat(path)
        except FileNotFoundError:
            raise InputError(f"{path} does not exist.") from None
        if stat.S_ISDIR(found.st_mode):
            raise InputError(f"{path} is a folder; name a sound file.")
        if not stat.S_ISREG(found.st_mode):
            raise InputError(f"{path} is not an ordinary file; pipe a WAV to `rtsep denoise -` instead.")
        if not found.st_size:
            raise InputError(f"{path} is empty.")
        return look(path)
    except InputError:  # a ValueError too, and says all already
        raise
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def look_at(path: Path) -> Extent:
    """Whether ``path`` is whole; raises InputError when there is nothing to read."""
    return look_closely(path).extent
