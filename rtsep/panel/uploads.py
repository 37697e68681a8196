"""What pages send: streamed to a folder for temporary files that is gone with the panel, however that ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from rtsep.audio_io.temporary_folder import no_room, temporary_folder
from rtsep.errors import InputError, RtsepError
from rtsep.printable import printable

MOST_BYTES = 2 << 30  # of one file
_FREE = 3  # times its size must be free: what is made of it lies there too
_PIECE = 1 << 18  # bytes
_LONGEST_NAME = 150  # bytes, for more is put behind it


class Uploads:
    """One folder a file. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._folder: Path | None = None  # made when it is needed
        self._ends = contextlib.ExitStack()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def check(self, name: str, size: int | None) -> None:
        """Raises InputError for a file that will not be taken. size: bytes."""
        if size is None:
            raise InputError(f"{name} was sent without its size, so it was not taken.")
        if size == 0:
            raise InputError(f"{name} is empty.")
        if size > MOST_BYTES:
            raise InputError(
                f"{name} has {size / 1e9:.1f} GB; the panel takes files of up to {MOST_BYTES / 1e9:.1f} GB. "
                "Use `rtsep` in a terminal for larger ones."
            )
        if shutil.disk_usage(tempfile.gettempdir()).free < _FREE * size:
            raise InputError(
                f"There is no room for {name} in {tempfile.gettempdir()}; set TMPDIR to a roomy folder and start the "
                "panel again."
            )

    async def receive(self, request: web.Request, name: str, arrived: Callable[[int], None]) -> Path:
        """Keep the body of ``request``; arrived: called with the bytes so far.

        Nothing is kept when it ends early. Raises InputError when it is larger than was said, RtsepError without room.
        """
        loop, total = asyncio.get_running_loop(), 0
        path = self.new_folder() / name
        try:
            with path.open("xb") as file:
                async for piece in request.content.iter_chunked(_PIECE):
                    total += len(piece)
                    if total > MOST_BYTES:
                        self.check(name, total)
                    await loop.run_in_executor(None, file.write, piece)
                    arrived(total)
        except BaseException as error:
            self.remove(path)
            if isinstance(error, OSError) and not isinstance(error, ConnectionError):
                raise RtsepError(f"{no_room(error)}; set TMPDIR to a roomy folder.") from None
            raise
        return path

    def new_folder(self) -> Path:
        """An empty one; raises RtsepError when there can be none."""
        with self._lock:
            try:
                if self._folder is None:
                    self._folder = self._ends.enter_context(temporary_folder())
                folder = self._folder / str(next(self._numbers))
                folder.mkdir()
            except OSError as error:
                raise RtsepError(f"{no_room(error)}; set TMPDIR to a roomy folder.") from None
            return folder

    def remove(self, path: Path) -> None:
        """Away with a file and with the folder that was made for it."""
        shutil.rmtree(path.parent, ignore_errors=True)

    def close(self) -> None:
        """Away with everything."""
        with self._lock:
            self._folder = None
            self._ends.close()


def clean_name(name: str) -> str:
    """A file's name as a page says it, without folders and what cannot be read, and not too long."""
    last = printable(name.replace("\\", "/").rpartition("/")[2].replace("\n", " ")).strip()
    if last in ("", ".", ".."):
        return "recording"
    stem, suffix = os.path.splitext(last)
    short = stem.encode()[: _LONGEST_NAME - len(suffix.encode()[:20])].decode(errors="ignore")
    return short + suffix.encode()[:20].decode(errors="ignore")
