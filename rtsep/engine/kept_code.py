"""KeptCode: the machine code of a compiled function on the disk, under a name that tells all that it depends on.

It lies in `__pycache__` beside its source, or, when that is read-only, in the user's cache. All processes run the very
same code, those of a first run too: who has compiled what another process has kept meanwhile takes that. Nothing is
kept, and nothing that was kept is taken, when the sources on the disk are no longer those that were loaded, or when
there are none. Code that somebody wrote who may not change the sources either is not taken.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llvmlite import __version__ as llvmlite_version
from llvmlite import binding

_PACKAGE = Path(__file__).parents[1]
_ROOMS = ("engine", "live")  # that hold what is compiled; all use constants and kernels of the first
_STALE_S = 3600.0  # of a file that a killed process had begun
_SHARED = 0o644  # who may run the package may run its code


def _sources(room: str) -> list[Path]:
    return sorted((_PACKAGE / room).rglob("*.py"))


def _stamps() -> tuple[tuple[str, int, int], ...]:
    """What changes when a source does."""
    found = ((str(path), path.stat()) for room in _ROOMS for path in _sources(room))
    return tuple((path, about.st_size, about.st_mtime_ns) for path, about in found)


_LOADED = _stamps()  # when the modules were


class KeptCode:
    """Of one function of a module of rtsep."""

    def __init__(self, module: str, name: str) -> None:
        parts = module.split(".")
        self._name = f"{parts[-1]}.{name}.{_processor()}"
        self._file = f"{self._name}.{_digest(tuple(sorted({_ROOMS[0], parts[1]})))}.native"
        self._beside = Path(_PACKAGE, *parts[1:-1], "__pycache__")

    def read(self) -> bytes | None:
        """What is kept, if it is whole, of today's sources, and of somebody who may write it."""
        for folder in self._folders():
            if code := _read(folder / self._file):
                return code
        return None

    def keep(self, code: bytes) -> bytes:
        """Keep code, but for another process's that is there already; what holds from now on."""
        for folder in self._folders():
            with contextlib.suppress(OSError):
                return self._keep_in(folder, code)
        return code

    def _folders(self) -> Iterator[Path]:
        """Where it may lie, in order."""
        if not _LOADED or _stamps() != _LOADED:
            return
        yield self._beside
        import platformdirs

        with contextlib.suppress(RuntimeError):  # a user without a home
            cache = platformdirs.user_cache_path("rtsep", appauthor=False)
            if cache.is_absolute():
                installation = hashlib.sha256(os.fsencode(_PACKAGE)).hexdigest()[:12]
                yield cache / "native" / installation

    def _keep_in(self, folder: Path, code: bytes) -> bytes:
        """Raises OSError where nothing can be kept."""
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(".native", "new", folder)
        path = folder / self._file
        try:
            with os.fdopen(descriptor, "wb") as target:
                target.write(hashlib.sha256(code).digest() + code)
            os.chmod(temporary, _SHARED)
            try:
                os.link(temporary, path)
            except FileExistsError:
                if kept := _read(path):
                    return kept
                os.replace(temporary, path)
            except OSError:  # no links here
                os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        self._tidy(folder)
        return code

    def _tidy(self, folder: Path) -> None:
        """Remove code of sources that were, and what killed processes had begun."""
        begun = (path for path in folder.glob("new*.native") if time.time() - path.stat().st_mtime > _STALE_S)
        with contextlib.suppress(OSError):
            for path in (*begun, *folder.glob(f"{self._name}.*.native")):
                if path.name != self._file:
                    path.unlink()


def _read(path: Path) -> bytes | None:
    """The code that is kept there, if it is whole and nobody else can have written it."""
    try:
        with path.open("rb") as file:
            if not _trusted(os.fstat(file.fileno())):
                return None
            code = file.read()
    except OSError:
        return None
    return code[32:] if hashlib.sha256(code[32:]).digest() == code[:32] else None


def _trusted(about: os.stat_result) -> bool:
    """Whether it is ours, root's or of whom the package is, and no more people may write it than the package."""
    if os.name != "posix":
        return True
    package = (_PACKAGE / "__init__.py").stat()
    more = about.st_mode & ~package.st_mode & 0o022
    return not more and about.st_uid in (0, os.geteuid(), package.st_uid)


@lru_cache
def _processor() -> str:
    """Of processor and compiler."""
    try:
        numba = version("numba")
    except PackageNotFoundError:
        numba = ""
    about = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten(), llvmlite_version, numba
    return hashlib.sha256(repr(about).encode()).hexdigest()[:12]


@lru_cache
def _digest(rooms: tuple[str, ...]) -> str:
    """Of all that the code of functions in some rooms can depend on."""
    digest = hashlib.sha256()
    for room in rooms:
        for path in _sources(room):
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
