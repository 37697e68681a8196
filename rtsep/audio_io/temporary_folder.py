"""A folder for what is only needed while a file is read, in TMPDIR.

Like part files, each is locked by the process that uses it, so that what a killed one left, decoded sound of somebody,
is known and removed by the next.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rtsep.audio_io.file_lock import lock
from rtsep.errors import RtsepError

_PREFIX = "rtsep-files-"
_FRESH_S = 60.0  # nobody's yet, perhaps: a folder is there for a moment before it is locked


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is gone afterwards; raises RtsepError, which blames no file, when there can be none."""
    try:
        _remove_abandoned(tempfile.gettempdir())
        folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
    except OSError as error:
        raise RtsepError(f"{no_room(error)}; set TMPDIR to a roomy folder.") from None
    with folder as name, _locked(Path(name)):
        yield Path(name)


def no_room(error: OSError) -> str:
    return f"Nothing can be kept in the folder for temporary files ({error.strerror or error})"


@functools.cache  # once a folder and process
def _remove_abandoned(folder: str) -> None:
    remove_abandoned(Path(folder), _FRESH_S)


def remove_abandoned(folder: Path, age: float) -> None:
    """Remove our folders that killed processes have left in ``folder``, unless they are younger than ``age`` (s)."""
    for path in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, or gone
            found = path.lstat()
            if time.time() - found.st_mtime < age or (hasattr(os, "geteuid") and found.st_uid != os.geteuid()):
                continue
            with _locked(path) as ours:
                if ours:
                    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether it is locked now; never on Windows, where a folder cannot be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        yield False
        return
    try:
        yield bool(lock(descriptor))
    finally:
        os.close(descriptor)
