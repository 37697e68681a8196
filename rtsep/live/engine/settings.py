"""What a person chooses for a live session."""

from __future__ import annotations

from dataclasses import dataclass

from rtsep.engine.gate_settings import GateSettings
from rtsep.errors import InputError
from rtsep.live.backends.shared_state import ALL_CHANNELS, MAX_CHANNELS, MAX_FRAMES, MEAN_OF_CHANNELS
from rtsep.live.routing.devices import OWN_NAME

DEFAULT_SLACK = 2  # of a worker
MAX_BLOCK = MAX_FRAMES


@dataclass(frozen=True)
class LiveSettings:
    """What a person chooses.

    model: name or path. input, output: device by name, part of it or number; None is the default at the start.
    strength: most attenuation in dB, None is no limit. block: frames to ask the device for (JACK decides itself).
    slack: block periods from handing a block over to playing its result; 0 runs the model inside the callback. None is
    0 where a measurement at the start allows it, else 2, and more when the machine is slow.
    gate: what is left when there is no voice, None for no gate; the model must say when there is one.
    portable: worker as a thread, no eventfd, no real-time priority; None is so outside Linux. ring: samples kept.
    input_channels: which of the device's channels are heard: a number from 1, "left", "right", "mean", or None for as
    many as the model has. muted: start muted; ``LiveEngine.mute(False)`` then fades in. environment, launcher:
    variables for and command before the audio process, as some sound servers need them. labels: what is shown of both
    ends where the devices are only the way there. without_model, callback_variant: for measurements, see ``worker`` and
    ``live_callback``.
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
    labels: tuple[str, str] | None = None
    without_model: bool = False
    callback_variant: str = ""
    input_channels: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    launcher: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.slack is not None and not 0 <= self.slack <= 16:
            raise InputError(f"slack is {self.slack}; it must be from 0 to 16 blocks.")
        if self.block is not None and not 16 <= self.block <= MAX_BLOCK:
            raise InputError(f"block is {self.block}; it must be from 16 to {MAX_BLOCK} frames.")
        if self.strength is not None and not 0 <= self.strength < float("inf"):
            raise InputError(f"strength is {self.strength}; it must be None or a number of dB from 0 up.")
        self.input_mix  # noqa: B018 (raises InputError)

    @property
    def input_mix(self) -> int:
        """What the callback is told (see ``shared_state``); raises InputError."""
        names = {None: ALL_CHANNELS, "left": 1, "right": 2, "mean": MEAN_OF_CHANNELS}
        text = self.input_channels
        if text in names:
            return names[text]
        if text is not None and text.isdecimal() and 1 <= int(text) <= MAX_CHANNELS:
            return int(text)
        raise InputError(
            f"--input-channels is {text!r}; it must be a number from 1 to {MAX_CHANNELS}, left, right or mean."
        )

    @property
    def device_channels(self) -> int:
        """Channels that the input device must give for that."""
        return MAX_CHANNELS if self.input_mix == MEAN_OF_CHANNELS else max(1, self.input_mix)
