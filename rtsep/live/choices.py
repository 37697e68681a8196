"""What a person chose, by the words of the command line and of presets, as settings and a way to the devices.

``chosen`` holds values by ``presets.KEYS``; what is missing, or None, is as the command line has it by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rtsep.engine.stream_settings import ASR_STRENGTH_DB
from rtsep.errors import InputError

if TYPE_CHECKING:
    from rtsep.engine.gate_settings import GateSettings
    from rtsep.live.routing.pulse_routing import ServerPins
    from rtsep.live.routing.virtual_microphone import VirtualMicrophone

TARGET = "speech"
AUTO = "auto"  # the model that this machine sustains
PURPOSES = {"listening": "max", "asr": f"{ASR_STRENGTH_DB:g}"}  # what the sound is for -> strength


def parse_strength(text: str) -> float | None:
    """`max` or `inf` (no limit, None) or a number of dB."""
    if text.lower() in ("max", "inf"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise InputError(f"--strength is {text!r}; it must be max or a number of dB from 0 up.")
    return value


def strength_for(purpose: str | None, strength: str | None) -> str | None:
    """The strength of what the sound is for, one of `PURPOSES`; `strength` itself where no purpose is given."""
    if purpose is None:
        return strength
    if purpose not in PURPOSES:
        raise InputError(f"--for is {purpose!r}; it must be {' or '.join(PURPOSES)}.")
    if strength is not None:
        raise InputError(f"--for {purpose} chooses the strength; leave out --strength, or --for.")
    return PURPOSES[purpose]


def parse_slack(value: Any) -> int | None:
    """Block periods, None for auto."""
    if value in (None, "auto"):
        return None
    if not str(value).isdecimal():
        raise InputError(f"--slack is {value!r}; it must be auto or a number of blocks.")
    return int(value)


def parse_gate(chosen: Mapping[str, Any], lookback: float = 0.0) -> GateSettings | None:
    """GateSettings of --gate and its companions, None for no gate; look-back and hold are ms there.

    lookback: ms where none is given.
    """
    from rtsep.engine.gate_settings import GateSettings

    companions = {"gate_open": ("open", 1.0), "gate_hold": ("hold", 1e-3), "gate_lookback": ("lookback", 1e-3)}
    chosen = {"gate_lookback": lookback} | {key: value for key, value in chosen.items() if value is not None}
    given = {name: chosen[key] * unit for key, (name, unit) in companions.items() if key in chosen}
    text = str(chosen.get("gate", "off"))
    if text == "off":
        return None
    try:
        floor = float(text)
    except ValueError:
        raise InputError(f"--gate is {text!r}; it must be off or a number of dB.") from None
    return GateSettings(floor, **given)


def check_gate_options(chosen: Mapping[str, Any]) -> None:
    """Raises InputError for options that tune a gate where none is asked for."""
    for name in ("gate_open", "gate_hold", "gate_lookback"):
        if chosen.get(name) is not None and chosen.get("gate") is None:
            raise InputError(f"--{name.replace('_', '-')} tunes the gate; add --gate DB.")


def check_place(chosen: Mapping[str, Any]) -> None:
    """Raises InputError unless it is said, once, where the sound goes."""
    if chosen.get("virtual_mic") and chosen.get("monitor"):
        raise InputError("--virtual-mic and --monitor are two places; choose one of them.")
    if chosen.get("follow_default") and not chosen.get("virtual_mic"):
        raise InputError("--follow-default is for a virtual microphone; add --virtual-mic.")
    if not has_place(chosen):
        raise InputError("Say where the sound goes: --virtual-mic, --output DEVICE, or --monitor for the loudspeaker.")


def has_place(chosen: Mapping[str, Any]) -> bool:
    """Whether it is said where the sound goes."""
    return any(chosen.get(key) for key in ("virtual_mic", "monitor", "output"))


def live_values(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of LiveSettings, except the model where it is ``auto``; raises InputError for what cannot be."""
    from rtsep.live.engine.settings import LiveSettings
    from rtsep.model import check_target

    check_gate_options(chosen)
    values: dict[str, Any] = {
        "model": "denoise" if chosen.get("model") is None else chosen["model"],
        "input": chosen.get("input"),
        "output": chosen.get("output"),
        "strength": parse_strength(str(chosen.get("strength", "max"))),
        "block": chosen.get("block"),
        "slack": parse_slack(chosen.get("slack")),
        "gate": parse_gate(chosen),
        "input_channels": chosen.get("input_channels"),
        "muted": bool(chosen.get("monitor")),
    }
    LiveSettings(**values)
    if values["model"] != AUTO:
        check_target(values["model"], TARGET)  # a model of songs would take the voice away
    return values


def with_model(values: dict[str, Any]) -> dict[str, Any]:
    """The same, with a model in the place of ``auto``: the best one that this machine sustains."""
    if values["model"] != AUTO:
        return values
    from rtsep.live.model_selection import choose

    return values | {"model": choose(TARGET)}


def route(chosen: Mapping[str, Any]) -> VirtualMicrophone | ServerPins:
    """For ``with``: the virtual microphone, whose ``settings()`` lead there, or what keeps streams on devices."""
    from rtsep.live.routing.pulse_routing import ServerPins
    from rtsep.live.routing.virtual_microphone import VirtualMicrophone

    if chosen.get("virtual_mic"):
        return VirtualMicrophone(chosen.get("input"), bool(chosen.get("follow_default")))
    return ServerPins()
