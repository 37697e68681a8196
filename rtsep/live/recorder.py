"""Records what is heard and what is played, side by side, to WAV files."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rtsep.audio_io.part_file import why_unwritten
from rtsep.errors import InputError, RtsepError
from rtsep.live.backends.shared_state import ring_length

if TYPE_CHECKING:
    from rtsep.live.engine.live_engine import LiveEngine

MAX_BYTES = 1 << 31  # of one file: every program reads WAV files of this size; the next part goes on at the next sample
_SAMPLE_BYTES = 3


class Recorder:
    """Call ``pull`` at least every half second; positions that were missed are written as silence and counted.

    Where a file becomes too long for WAV, or the device comes back at another rate, another pair of files goes on.
    paths: of what is heard and of what is played, a pair a part.
    """

    def __init__(self, engine: LiveEngine, folder: str | Path, max_bytes: int = MAX_BYTES) -> None:
        """Makes rtsep-DATE-TIME-input.wav and -output.wav in ``folder``, whatever else is there.

        Raises InputError when it cannot be written.
        """
        self._block, self._folder, self._max_bytes = engine.block, Path(folder), max_bytes
        self.paths: list[tuple[Path, Path]] = []
        self.missed = 0
        self._files: list[Any] = []
        self._at = self._block.state.position
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._open()
        except (OSError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
            raise InputError(f"{folder} cannot be recorded to ({error}); name another folder.") from None

    def _open(self) -> None:
        """The next pair of files, under names that nothing has yet."""
        import soundfile

        rate, channels = self._block.state.rate, self._block.channels
        name = time.strftime("rtsep-%Y%m%d-%H%M%S")
        for number in range(1, 10_000):
            stem = name if number == 1 else f"{name}-{number}"
            heard, played = (self._folder / f"{stem}-{what}.wav" for what in ("input", "output"))
            try:
                heard.touch(exist_ok=False)  # nobody else has it from now on
            except FileExistsError:
                continue
            if not played.exists():
                break
            heard.unlink()
        self._files = []
        self._rate, self._frames = rate, 0
        for path in (heard, played):
            self._files.append(soundfile.SoundFile(path, "w", rate, channels, subtype="PCM_24", format="WAV"))
        self.paths.append((heard, played))

    def pull(self) -> None:
        """Write what is new. Raises RtsepError when that fails, with all that was written before kept."""
        block, state = self._block, self._block.state
        try:
            if state.rate != self._rate:
                self._close_files()
                self._open()
            end = state.position
            keep = block.length - ring_length(0) // 4  # the callback goes on writing meanwhile
            if end - self._at > keep:
                lost = end - self._at - keep
                self._write(np.zeros((lost, block.channels), np.float32), np.zeros((lost, block.channels), np.float32))
                self.missed += lost
            count = end - self._at
            self._write(*(block.samples_before(ring, end, count) for ring in (block.heard, block.played)))
        except (OSError, RuntimeError, AssertionError) as error:  # soundfile asserts that all was written
            with contextlib.suppress(OSError, RuntimeError):
                self._close_files()
            told = str(error) if isinstance(error, OSError) else ""  # others say "System error." or nothing
            why = told or why_unwritten(self._folder)
            raise RtsepError(f"{self.paths[-1][0]} and what is beside it could not be written ({why}).") from None

    def _write(self, heard: NDArray[np.float32], played: NDArray[np.float32]) -> None:
        """Both of one length, in as many files as they need."""
        most = max(1, self._max_bytes // (_SAMPLE_BYTES * self._block.channels))
        while len(heard):
            if self._frames >= most:
                self._close_files()
                self._open()
            count = min(len(heard), most - self._frames)
            for file, sound in zip(self._files, (heard, played), strict=True):
                file.write(sound[:count])
            heard, played = heard[count:], played[count:]
            self._frames += count
            self._at += count

    def _close_files(self) -> None:
        files, self._files = self._files, []
        for file in files:
            file.close()

    def close(self) -> None:
        """Write what is left and end. Raises RtsepError as ``pull`` does."""
        if self._files:
            self.pull()
            self._close_files()

    @property
    def summary(self) -> str:
        """Where it all is."""
        heard, played = self.paths[0]
        parts = len(self.paths)
        return f"{heard} and {played.name}" + (f", and {parts - 1} more such pairs" if parts > 1 else "")
