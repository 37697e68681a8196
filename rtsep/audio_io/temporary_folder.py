"""A folder in TMPDIR for what is needed only for a while: to read a file, or as long as a panel lives.

Like part files, each is locked by the process that uses it, so that what a killed one left, decoded sound of somebody,
is known and removed by the next.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rtsep.audio_io import abandoned
from rtsep.audio_io.abandoned import FRESH_S
from rtsep.audio_io.file_lock import lock
from rtsep.errors import RtsepError

_PREFIX = "rtsep-files-"


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is gone afterwards; raises RtsepError, which blames no file, when there can be none."""
    with contextlib.ExitStack() as stack:
        try:
            _remove_abandoned(tempfile.gettempdir())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)))
            if os.name == "posix":  # Windows opens no folders, so there nothing is locked, and nothing removed later
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                lock(descriptor)
        except OSError as error:
            raise RtsepError(f"{no_room(error)}; set TMPDIR to a roomy folder.") from None
        yield folder


def no_room(error: OSError) -> str:
    return f"Nothing can be kept in the folder for temporary files ({error.strerror or error})"


@functools.cache  # once a folder and process
def _remove_abandoned(folder: str) -> None:
    remove_abandoned(Path(folder), FRESH_S)


def remove_abandoned(folder: Path, age: float) -> None:
    """Remove our folders that killed processes have left in ``folder``, unless they are younger than ``age`` (s)."""
    removed = functools.partial(shutil.rmtree, ignore_errors=True)
    abandoned.remove_abandoned(folder, f"{_PREFIX}*", age, os.O_RDONLY, removed)
