"""Files that are being written, under a temporary name beside the place that they are meant for.

Each is locked by the process that writes it. So one that a killed process left is known from one that is being
written, and whoever next writes into the folder removes it.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from pathlib import Path

from rtsep.audio_io import abandoned
from rtsep.audio_io.abandoned import FRESH_S
from rtsep.audio_io.file_lock import lock

DISK_FULL = "the disk is full"
_PREFIX = ".rtsep-"


class PartFile:
    """A new, empty file, ``path``, until ``place`` or ``discard`` ends it."""

    def __init__(self, folder: Path, suffix: str) -> None:
        """Raises OSError when it cannot be made."""
        _remove_abandoned(folder)
        self._descriptor, name = tempfile.mkstemp(suffix=f".part{suffix}", prefix=_PREFIX, dir=folder)
        self.path = Path(name)
        lock(self._descriptor)

    def place(self, target: Path) -> None:
        """Give it the name that it is meant for. Raises OSError."""
        self.path.replace(target)
        self._close()

    def discard(self) -> None:
        """Remove it, unless it was placed; twice is as good as once."""
        if self._descriptor >= 0:
            self.path.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


@functools.cache  # once a folder and process
def _remove_abandoned(folder: Path) -> None:
    remove_abandoned(folder, FRESH_S)


def remove_abandoned(folder: Path, age: float) -> None:
    """Remove what killed processes have left half-written in a folder, unless it is younger than ``age`` (s)."""
    abandoned.remove_abandoned(folder, f"{_PREFIX}*.part*", age, os.O_RDWR, Path.unlink)


def why_unwritten(folder: Path) -> str:
    """Why a file in ``folder`` was written only in part, of which libsndfile says no more than "System error."."""
    try:
        full = shutil.disk_usage(folder).free < 1 << 16
    except OSError:
        return "its folder is gone"
    return DISK_FULL if full else "disk, quota or file size limit reached"
