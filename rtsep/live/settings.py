"""What a person chooses for a live session."""

from __future__ import annotations

from dataclasses import dataclass

from rtsep.engine.gate import GateSettings
from rtsep.errors import InputError
from rtsep.live.routing.devices import OWN_NAME

DEFAULT_SLACK = 2
MAX_BLOCK = 4096


@dataclass(frozen=True)
class LiveSettings:
    """What a person chooses.

    model: name or path. input, output: device by name, part of it or number; None is the default at the start.
    strength: most attenuation in dB, None is no limit. block: frames to ask the device for (JACK decides itself).
    slack: block periods from handing a block over to playing its result; None is 2, and more when the machine is slow.
    gate: what is left when there is no voice, None for no gate; the model must say when there is one.
    portable: worker as a thread, no eventfd, no real-time priority; None is so outside Linux. ring: samples kept.
    muted: start muted; ``Live.mute(False)`` then fades in. environment, launcher: variables for and command before
    the audio process, as some sound servers need them. copy: leave the model out, for measurements.
    """

    model: str = "denoise"
    input: str | None = None
    output: str | None = None
    strength: float | None = None
    block: int | None = None
    slack: int | None = None
    gate: GateSettings | None = None
    channels: int = 1
    portable: bool | None = None
    ring: int | None = None
    client: str = OWN_NAME
    muted: bool = False
    copy: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    launcher: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.slack is not None and not 1 <= self.slack <= 16:
            raise InputError(f"slack is {self.slack}; it must be from 1 to 16 blocks.")
        if self.block is not None and not 16 <= self.block <= MAX_BLOCK:
            raise InputError(f"block is {self.block}; it must be from 16 to {MAX_BLOCK} frames.")
        if self.strength is not None and not 0 <= self.strength < float("inf"):
            raise InputError(f"strength is {self.strength}; it must be None or a number of dB from 0 up.")
