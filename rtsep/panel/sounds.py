"""Recordings as pages listen to them: decoded, stereo at 48 kHz, any stretch at once, whatever the browser can decode.

Each lies decoded in a temporary file without a name (see Song), so that nothing is left of it, and only the ones that
were listened to last.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import RtsepError

if TYPE_CHECKING:
    from rtsep.live.player.song import Song

RATE = 48000  # Hz
_OPEN = 6
_LOOK_S = 0.02


class Sounds:
    """Every method may be called from any thread, and those that raise RtsepError do so where there is no sound."""

    def __init__(self) -> None:
        self._songs: OrderedDict[Path, Song] = OrderedDict()
        self._loudness: dict[Path, float] = {}
        self._lock = threading.Lock()

    def look(self, path: Path) -> dict[str, Any]:
        """Samples in all, as far as is known, whether all are there, and the waveform in columns (peaks, 0 to 1)."""
        with self._lock:
            song = self._song(path)
            peaks = [round(float(peak), 3) for peak in song.peaks]
            return {"samples": song.length or song.expected, "complete": song.length is not None, "peaks": peaks}

    def read(self, path: Path, at: int, count: int, patience: float = 10.0) -> NDArray[np.float32]:
        """float32 [n, 2] from sample ``at`` on: ``count``, or as many as there are.

        Raises RtsepError when they are not decoded within ``patience`` seconds.
        """
        end = time.monotonic() + patience
        while True:
            with self._lock:
                song = self._song(path)
                if song.length is not None or song.ready >= at + count:
                    return song.read(at, count)
            if time.monotonic() > end:
                raise RtsepError(f"{path.name} is not decoded that far yet.")
            time.sleep(_LOOK_S)

    def loudness(self, path: Path) -> float:
        """LUFS of all of it; waits until it is decoded."""
        from rtsep.panel.loudness import PIECE, loudness  # only now, for Numba takes its time to load

        if path not in self._loudness:
            self._loudness[path] = loudness(self._pieces(path, PIECE))
        return self._loudness[path]

    def _pieces(self, path: Path, length: int) -> Iterator[NDArray[np.float32]]:
        at = 0
        while len(piece := self.read(path, at, length, patience=600.0)):
            yield piece
            at += length

    def forget(self, path: Path) -> None:
        """Of a recording that is removed."""
        with self._lock:
            self._loudness.pop(path, None)
            if path in self._songs:
                self._songs.pop(path).close()

    def close(self) -> None:
        """Forget all."""
        with self._lock:
            while self._songs:
                self._songs.popitem()[1].close()

    def _song(self, path: Path) -> Song:
        from rtsep.live.player.song import Song  # only now, likewise

        if path not in self._songs:
            self._songs[path] = Song(path, RATE)
            while len(self._songs) > _OPEN:
                self._songs.popitem(last=False)[1].close()
        self._songs.move_to_end(path)
        return self._songs[path]
