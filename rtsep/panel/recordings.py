"""A recording in the files tab, and the versions that were made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WAITING, WORKING, DONE, FAILED = "waiting", "working", "done", "failed"


@dataclass
class Version:
    """Of a recording: number 0 is the recording itself, the others were cleaned.

    strength: as the command line has it. share: of the work that is done. sentence: why it failed, or is not whole.
    removed: nobody wants it any more.
    """

    number: int
    path: Path
    model: str = ""
    strength: str = ""
    state: str = WAITING
    share: float = 0.0
    sentence: str = ""
    removed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For pages."""
        limit = "no limit" if self.strength == "max" else f"at most {self.strength} dB"
        return {
            "number": self.number,
            "label": f"{self.model}, {limit}" if self.number else "Before",
            "state": self.state,
            "share": round(self.share, 3),
            "sentence": self.sentence,
            "file": self.path.name,
        }


@dataclass
class Recording:
    """A recording that pages sent, or are sending. size, arrived: bytes. seconds: of sound, once it is there."""

    number: int
    name: str
    size: int
    arrived: int = 0
    seconds: float | None = None
    versions: list[Version] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For pages."""
        return {
            "number": self.number,
            "name": self.name,
            "size": self.size,
            "arrived": self.arrived,
            "seconds": self.seconds,
            "versions": [version.as_dict() for version in self.versions],
        }
