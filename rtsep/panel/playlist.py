"""The songs of the karaoke tab, in order: files of the machine that runs the panel, and files that pages sent."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtsep.audio_io import plan
from rtsep.audio_io.files import look_at
from rtsep.errors import InputError

MOST = 2000  # songs


@dataclass
class Entry:
    """One song. path: None while it is on its way. sent: whether a page sent it, so that the panel removes it.

    size, arrived: bytes of one on its way. title: by its tags, once it was opened. sentence: why it cannot be played.
    """

    number: int
    name: str
    path: Path | None = None
    sent: bool = False
    size: int = 0
    arrived: int = 0
    title: str = ""
    sentence: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For pages."""
        share = self.arrived / self.size if self.path is None and self.size else None
        return {"number": self.number, "name": self.title or self.name, "share": share, "sentence": self.sentence}


class Playlist:
    """Songs by number, in the order in which they came. Belongs to whoever holds its controller's lock."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._numbers = itertools.count(1)

    def check_room(self, more: int = 1) -> None:
        """Raises InputError when there are too many."""
        if len(self._entries) + more > MOST:
            raise InputError(f"The playlist holds up to {MOST} songs; remove some first.")

    def expect(self, name: str, size: int) -> Entry:
        """A song that a page sends now."""
        entry = Entry(next(self._numbers), name, sent=True, size=size)
        self._entries[entry.number] = entry
        return entry

    def add(self, paths: Sequence[Path]) -> None:
        """Songs of this machine; those that are there already stay where they are."""
        known = {entry.path for entry in self}
        new = [path for path in paths if path not in known]
        self.check_room(len(new))
        for path in new:
            number = next(self._numbers)
            self._entries[number] = Entry(number, path.stem, path)

    def remove(self, number: int) -> Entry:
        """Raises InputError when it is not there."""
        self.entry(number)
        return self._entries.pop(number)

    def entry(self, number: int) -> Entry:
        """Raises InputError when it is not there."""
        if number not in self._entries:
            raise InputError("This song is not in the playlist.")
        return self._entries[number]

    def playable(self) -> list[Entry]:
        """All that are there."""
        return [entry for entry in self if entry.path is not None]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())


def songs_in(folder: Path) -> list[Path]:
    """The songs in a folder and in its subfolders, or the one that is named; raises InputError when there is none."""
    jobs = plan.plan([str(folder)], None, plan.KARAOKE, recursive=True)
    return [Path(job.source) for job in jobs if job.problem is None]


def check_song(path: Path) -> None:
    """Raises InputError for a file that is no song by its name, or cannot be read."""
    if path.suffix.lower() not in plan.SUFFIXES:
        raise InputError(f"{path.name} is no sound file that is known by its name.")
    look_at(path)
