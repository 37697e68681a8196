"""What a person chooses for a player."""

from __future__ import annotations

from dataclasses import dataclass

from rtsep.errors import InputError
from rtsep.live.backends.shared_state import MAX_FRAMES
from rtsep.live.routing.devices import OWN_NAME

MAX_VOLUME_DB, MIN_VOLUME_DB = 0.0, -60.0
_RING = 1 << 18


@dataclass(frozen=True)
class PlayerSettings:
    """What a person chooses.

    songs: paths. model: name or path. output: device by name, part of it or number; None is the default at the start.
    vocals: dB <= 0, None is off. solo: only the vocals. key: semitones. volume: dB <= 0. begin: seconds into the first
    song. block: frames to ask the device for. ring: samples kept, a power of two. environment, launcher: see
    LiveSettings.
    """

    songs: tuple[str, ...]
    model: str = "mid-side"
    output: str | None = None
    vocals: float | None = None
    solo: bool = False
    key: int = 0
    volume: float = 0.0
    begin: float = 0.0
    paused: bool = False
    block: int | None = None
    ring: int = _RING
    client: str = OWN_NAME
    environment: tuple[tuple[str, str], ...] = ()
    launcher: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.block is not None and not 16 <= self.block <= MAX_FRAMES:
            raise InputError(f"block is {self.block}; it must be from 16 to {MAX_FRAMES} frames.")
        if not 0 <= self.begin < float("inf"):
            raise InputError(f"begin is {self.begin}; it must be a number of seconds from 0 up.")
