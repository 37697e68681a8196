"""What killed processes have left: files and folders that nobody holds a lock of any more."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from rtsep.audio_io.file_lock import lock

FRESH_S = 60.0  # nobody's yet, perhaps: what is made is there for a moment before it is locked


def remove_abandoned(folder: Path, pattern: str, age: float, flags: int, remove: Callable[[Path], object]) -> None:
    """Call ``remove`` with what in ``folder`` fits ``pattern``, is this user's, not locked and ``age`` old.

    age: seconds. flags: how it is opened for the lock, as for `os.open`; what cannot be, as a folder on Windows, stays.
    """
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # gone, or not to be opened
            found = path.lstat()
            if time.time() - found.st_mtime < age or (hasattr(os, "geteuid") and found.st_uid != os.geteuid()):
                continue
            descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))
            try:
                if lock(descriptor):
                    remove(path)
            finally:
                os.close(descriptor)
