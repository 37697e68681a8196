"""Finding a dataset's folders, with one sentence that names the download when they are not there; rows of songs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from training.data.manifest import Row, recording


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


def last_names(names: Iterable[str], share: float = 0.05) -> set[str]:
    """The last `share` of the names, one at least where there are two: `valid`, for data without a split of its own."""
    ordered = sorted(set(names))
    count = max(1, round(len(ordered) * share)) if len(ordered) > 1 else 0
    return set(ordered[len(ordered) - count :])


def song_rows(
    name: str,
    split: str,
    corpus: str,
    licence: str,
    vocals: Sequence[Path],
    accompaniment: Sequence[Path],
    mixture: Path | None = None,
) -> list[Row]:
    """The rows of one song whose parts lie in one or more files each, accompaniment first.

    Without files of an accompaniment it is the `mixture` less the vocals (one file then).
    """
    found = []
    if accompaniment:
        row = recording(accompaniment[0], "accompaniment", split, corpus, licence)
        found.append(replace(row, song=name, plus=tuple(accompaniment[1:])))
    elif mixture:
        minus = vocals[0] if vocals else None
        found.append(replace(recording(mixture, "accompaniment", split, corpus, licence, minus), song=name))
    if vocals:
        row = recording(vocals[0], "vocals", split, corpus, licence)
        found.append(replace(row, song=name, plus=tuple(vocals[1:])))
    return found
