"""Records what is heard and what is played, side by side, to two WAV files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rtsep.errors import InputError
from rtsep.live.backends import shared_state as b

if TYPE_CHECKING:
    from rtsep.live.live_engine import Live


class Recorder:
    """Call ``pull`` at least every half second; positions that were missed are written as silence and counted."""

    def __init__(self, live: Live, folder: str | Path) -> None:
        """Makes NAME-heard.wav and NAME-played.wav in ``folder``; raises InputError when it cannot be written."""
        import soundfile

        folder = Path(folder)
        name = time.strftime("rtsep-%Y%m%d-%H%M%S")
        self.paths = (folder / f"{name}-heard.wav", folder / f"{name}-played.wav")
        self.missed = 0
        self._live = live
        self._at = int(live.block.head[b.WRITTEN])
        rate, channels = int(live.block.head[b.RATE]), live.block.channels
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._files: list[Any] = [
                soundfile.SoundFile(path, "w", rate, channels, subtype="PCM_24", format="WAV") for path in self.paths
            ]
        except (OSError, soundfile.SoundFileError) as error:
            raise InputError(f"{folder} cannot be recorded to ({error}); name another folder.") from None

    def pull(self) -> None:
        """Write what is new."""
        block = self._live.block
        end = int(block.head[b.WRITTEN])
        keep = block.length - b.ring_length(0) // 4  # the callback goes on writing meanwhile
        if end - self._at > keep:
            lost = end - self._at - keep
            for file in self._files:
                file.write(np.zeros((lost, block.channels), np.float32))
            self.missed += lost
            self._at += lost
        for file, ring in zip(self._files, (block.heard, block.played), strict=True):
            file.write(block.last(ring, end, end - self._at))
        self._at = end

    def close(self) -> None:
        self.pull()
        for file in self._files:
            file.close()
