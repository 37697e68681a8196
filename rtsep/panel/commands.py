"""What a page may ask for: one small typed command a control, made of one JSON object each.

>>> parse({"do": "Bypass", "on": True})
Bypass(on=True)
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from rtsep.errors import InputError


@dataclass(frozen=True)
class Run:
    """Start or stop the microphone."""

    on: bool


@dataclass(frozen=True)
class Choose:
    """Other values of settings that go together, by their names in presets; None is the default."""

    values: dict[str, Any]


@dataclass(frozen=True)
class Bypass:
    """Hear the dry signal, or the clean one again."""

    on: bool


@dataclass(frozen=True)
class Mute:
    """Fade to silence, or back."""

    on: bool


@dataclass(frozen=True)
class Record:
    """Begin or end a recording of what is heard and played."""

    on: bool


@dataclass(frozen=True)
class LoadPreset:
    """Take over all settings of a preset."""

    name: str


@dataclass(frozen=True)
class SavePreset:
    """Keep the settings as a preset."""

    name: str


@dataclass(frozen=True)
class FindDevices:
    """Look anew what devices and presets there are."""


@dataclass(frozen=True)
class Watch:
    """Whether this page wants levels and spectrograms; the only command that is about the page."""

    on: bool


Command = Run | Choose | Bypass | Mute | Record | LoadPreset | SavePreset | FindDevices | Watch
_COMMANDS: dict[str, type] = {kind.__name__: kind for kind in Command.__args__}  # type: ignore[attr-defined]
_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "str": (str,),
    "dict[str, Any]": (dict,),
}


def parse(message: object) -> Command:
    """The command that a JSON object says. Raises InputError for anything else."""
    if not isinstance(message, dict) or message.get("do") not in _COMMANDS:
        raise InputError("This is no command of the panel.")
    kind = _COMMANDS[message["do"]]
    values: dict[str, Any] = {key: value for key, value in message.items() if key != "do"}
    wanted = {field.name: _TYPES[str(field.type)] for field in fields(kind)}
    if values.keys() != wanted.keys() or any(type(values[key]) not in types for key, types in wanted.items()):
        raise InputError(f"The command {message['do']} does not have the values that it needs.")
    command: Command = kind(**values)
    return command
