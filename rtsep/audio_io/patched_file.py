"""What libsndfile is given to open: a name that need not be text, or a stretch of a file with some bytes put right."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def openable(path: Path) -> Any:
    """``path`` as soundfile can open it whatever its name: names on POSIX need not be text."""
    return path if os.name == "nt" else os.fsencode(path)


class PatchedFile(io.RawIOBase):
    """Bytes ``begin`` to ``end`` of ``path``, read only, with ``patches`` (offset in ``path``, bytes) in their place.

    The file itself stays as it is. Raises OSError when it cannot be opened.
    """

    def __init__(
        self, path: Path, patches: Sequence[tuple[int, bytes]] = (), begin: int = 0, end: int | None = None
    ) -> None:
        self._file = path.open("rb")
        size = os.fstat(self._file.fileno()).st_size
        self._begin, self._end = begin, size if end is None else min(end, size)
        self._patches = patches
        self._file.seek(begin)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell() - self._begin

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: self._begin, os.SEEK_CUR: self._file.tell(), os.SEEK_END: self._end}[whence]
        self._file.seek(max(self._begin, base + offset))
        return self.tell()

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]  # any writable buffer
        place = self._file.tell()
        view = memoryview(buffer).cast("B")
        data = bytearray(self._file.read(max(0, min(len(view), self._end - place))))
        for offset, patch in self._patches:
            first, last = max(place, offset), min(place + len(data), offset + len(patch))
            if first < last:
                data[first - place : last - place] = patch[first - offset : last - offset]
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
