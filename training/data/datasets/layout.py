"""Finding a dataset's folders, with one sentence that names the download when they are not there."""

from __future__ import annotations

from pathlib import Path


def find(root: Path, candidates: list[str], download: str) -> Path:
    """The first of `candidates` (paths below `root`) that is a folder.

    Raises FileNotFoundError that names the first candidate and the download.
    """
    for candidate in candidates:
        if (root / candidate).is_dir():
            return root / candidate
    raise FileNotFoundError(f"{root} has no folder {candidates[0]}: {download}")


def filled(files: list[Path], folder: Path, download: str) -> list[Path]:
    """`files`, or FileNotFoundError if there are none in `folder`."""
    if not files:
        raise FileNotFoundError(f"{folder} has none of the expected sound files: {download}")
    return files
