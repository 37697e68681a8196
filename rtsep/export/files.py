"""Files written into a folder, all of them or none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rtsep.audio_io.part_file import PartFile
from rtsep.errors import InputError


def write_files(folder: Path, files: Mapping[str, bytes], overwrite: bool) -> None:
    """Write ``files`` (name to content) into ``folder``; folders that are not there are made.

    Raises InputError when one of them exists and ``overwrite`` is not set, or the folder cannot be written.
    """
    there = [name for name in files if (folder / name).exists()]
    if there and not overwrite:
        raise InputError(f"{folder / there[0]} exists; use --overwrite to replace it.")
    made: list[Path] = []
    parts: dict[str, PartFile] = {}
    try:
        for name, content in files.items():
            _make((folder / name).parent, made)
            parts[name] = PartFile((folder / name).parent, Path(name).suffix)
            parts[name].path.write_bytes(content)
            parts[name].path.chmod(0o666 & ~_umask())
        for name, part in parts.items():
            part.place(folder / name)
    except OSError as error:
        for part in parts.values():
            part.discard()
        for place in reversed(made):
            if not any(place.iterdir()):
                place.rmdir()
        raise InputError(f"{folder} cannot be written: {error.strerror or error}.") from None


def _make(folder: Path, made: list[Path]) -> None:
    """Make ``folder`` and what is missing above it; each that was made is added to ``made``, the outermost first."""
    if not folder.is_dir():
        _make(folder.parent, made)
        folder.mkdir()
        made.append(folder)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
