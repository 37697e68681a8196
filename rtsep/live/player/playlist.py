"""Where in the rings which song lies."""

from __future__ import annotations

from typing import NamedTuple


class Segment(NamedTuple):
    """From position ``at`` of the rings on comes song number ``song``, from its sample ``offset`` on."""

    at: int
    song: int
    offset: int


def locate(segments: list[Segment], position: int) -> tuple[int, int]:
    """Song and sample in it at a position of the rings."""
    found = next((s for s in reversed(segments) if s.at <= position), segments[0])
    return found.song, found.offset + max(0, position - found.at)


def clock_text(seconds: float) -> str:
    """Minutes and seconds as people write them."""
    whole = max(0, int(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
