"""The files of banks in the cache of decoded recordings: in use, or unused for so long that they make room."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rtsep.audio_io.file_lock import lock

UNUSED_DAYS = 14
LOCK = ".lock"  # held by who writes a bank
UNFINISHED = ".bank-"  # begins the name of a folder that holds a bank while it is written


def mapped(sound: Path) -> np.ndarray:
    """The samples of a file, int16 `[total]`, mapped; it was used now, and is in use for as long as it is mapped."""
    with open(sound, "rb") as file:
        lock(file.fileno(), shared=True)  # which the mapping inherits
        with contextlib.suppress(OSError):  # a cache that this run may only read
            os.utime(sound)
        return np.memmap(file, np.int16, "r") if os.fstat(file.fileno()).st_size else np.zeros(0, np.int16)


def remove_unused(cache: Path) -> str | None:
    """Removes banks that no run has used for UNUSED_DAYS, and what killed runs began; a sentence that says so, if so.

    A bank that a process has mapped stays, however old.
    """
    size = count = 0
    for sound in _old(cache.glob("*.int16")):
        with contextlib.suppress(OSError), open(sound, "rb") as file:
            if lock(file.fileno()) is not False:
                size += sound.stat().st_size
                sound.with_suffix(".lengths.npy").unlink(missing_ok=True)  # without it the samples count as unfinished
                sound.unlink()
                count += 1
    for folder in _old(cache.glob(f"{UNFINISHED}*")):
        size += sum(file.stat().st_size for file in folder.iterdir())
        shutil.rmtree(folder, ignore_errors=True)
        count += 1
    if not count:
        return None
    return f"{size / 1e9:.1f} GB of decoded recordings, unused for {UNUSED_DAYS} days, made room in {cache}."


def _old(paths: Iterator[Path]) -> Iterator[Path]:
    for path in list(paths):
        with contextlib.suppress(OSError):  # another run's, and gone meanwhile
            if time.time() - path.stat().st_mtime > UNUSED_DAYS * 86400:
                yield path
