"""A song on its way to the player: decoded, brought to the device's rate and kept in a temporary file while it plays.

Decoding is many times faster than playing, so it runs in a thread of its own, and whatever is there can be read at any
place at once: that is what makes seeking quick and exact for every format.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtsep.audio_io.files import Source, look_at
from rtsep.engine.resample import WholeSignal
from rtsep.errors import InputError, RtsepError

COLUMNS = 400  # of the waveform strip
_SAMPLE = 8  # bytes: two channels, float32


class Song:
    """One song in stereo float32 at ``rate`` Hz. A mono song has the same in both channels.

    ready: samples that can be read by now. length: samples in all, None until all are there. expected: about how many.
    error: why it ends before it should. mono: whether left and right are the same so far.
    """

    def __init__(self, path: Path, rate: int) -> None:
        """Open ``path`` and begin to decode. Raises InputError when that is no song."""
        self.path, self.rate = path, rate
        self._source = Source(path)
        if self._source.channels > 2:
            self._source.__exit__()
            raise InputError(f"{path} has {self._source.channels} channels; songs have one or two.")
        tags = self._source.tags
        self.title = " – ".join(tags[key] for key in ("artist", "title") if tags.get(key)) or path.stem
        self.expected = max(1, round(self._source.samples * rate / self._source.sample_rate))
        self.ready = 0
        self.length: int | None = None
        self.error: str | None = None
        self.peaks: NDArray[np.float32] = np.zeros(COLUMNS, np.float32)
        self.one_channel = self._source.channels == 1
        self._closed, self._lock = threading.Event(), threading.Lock()
        try:
            self._file = tempfile.TemporaryFile(prefix="rtsep-song-")  # noqa: SIM115 (closed in close)
        except OSError as error:
            self._source.__exit__()
            raise cannot_be_kept(path, error) from None
        self._thread = threading.Thread(target=self._decode, daemon=True, name="decoder")
        self._thread.start()

    def read(self, at: int, count: int) -> NDArray[np.float32]:
        """[n, 2] float32 from sample ``at`` on: ``count`` of them, or as many as are there."""
        count = max(0, min(count, self.ready - at))
        with self._lock:
            self._file.seek(at * _SAMPLE)
            data = self._file.read(count * _SAMPLE)
        return np.frombuffer(data, np.float32).reshape(-1, 2)

    def close(self) -> None:
        """Stop decoding and give the file back."""
        self._closed.set()
        self._thread.join()
        self._file.close()

    def _decode(self) -> None:
        try:
            with self._source as source:
                way = WholeSignal(source.sample_rate, self.rate, source.channels)
                for block in source.blocks():
                    if self._closed.is_set():
                        return
                    self._keep(way.process(block))
                self._keep(way.process(np.zeros((0, source.channels), np.float32), last=True))
        except RtsepError as error:
            self.error = str(error)
        except OSError as error:
            self.error = f"{self.path} cannot be kept while it plays: {error.strerror or error}."
        self.length = self.ready

    def _keep(self, block: NDArray[np.float32]) -> None:
        if not len(block):
            return
        stereo = np.ascontiguousarray(np.broadcast_to(block, (len(block), 2)), np.float32)
        with self._lock:
            self._file.seek(0, os.SEEK_END)
            self._file.write(stereo.tobytes())
        columns = np.minimum((self.ready + np.arange(len(block))) * COLUMNS // self.expected, COLUMNS - 1)
        np.maximum.at(self.peaks, columns, np.abs(stereo).max(axis=1))
        self.ready += len(block)


def cannot_be_kept(path: Path, error: OSError) -> RtsepError:
    """What to raise when there is no room for a temporary file."""
    why = error.strerror or error
    return RtsepError(f"{path} cannot be kept while it plays ({why}); set TMPDIR to a roomy folder.")


def look_for_one(songs: Sequence[str]) -> None:
    """Raises InputError with the sentence of the first song where none is there, before any device is asked for."""
    first: InputError | None = None
    for song in songs:
        try:
            look_at(Path(song))
            return
        except InputError as error:
            first = first or error
    if first:
        raise first
