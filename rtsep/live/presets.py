"""Presets: a person's live settings under a name, in one TOML file of the user's configuration folder."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from rtsep.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEYS = (
    "model",
    "input",
    "input_channels",
    "output",
    "strength",
    "block",
    "slack",
    "gate",
    "gate_open",
    "gate_hold",
    "gate_lookback",
    "virtual_mic",
    "follow_default",
    "monitor",
)


def path() -> Path:
    """Where they are kept."""
    import platformdirs

    return Path(platformdirs.user_config_dir("rtsep", appauthor=False)) / "presets.toml"


def preset_names() -> list[str]:
    """Of all that are saved, in order; raises InputError when the file cannot be read."""
    return sorted(_read())


def load_preset(name: str) -> dict[str, Any]:
    """The settings saved under ``name``; raises InputError when there are none."""
    presets = _read()
    if name not in presets:
        known = ", ".join(sorted(presets)) or "none is saved yet"
        raise InputError(f"There is no preset {name!r}; there are: {known}. Save one with --save NAME.")
    return presets[name]


def save_preset(name: str, settings: dict[str, Any]) -> Path:
    """Keep ``settings`` (those of KEYS that are not None) under ``name``; the file is replaced as a whole."""
    import tomli_w

    if not re.fullmatch("[A-Za-z0-9_-]+", name):
        raise InputError(f"The preset's name is {name!r}; use letters, digits, - and _.")
    presets = _read()
    presets[name] = {key: settings[key] for key in KEYS if settings.get(key) is not None}
    target = path()
    beside = target.with_suffix(".new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(tomli_w.dumps(dict(sorted(presets.items()))).encode())
        os.replace(beside, target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}.") from None
    return target


def _read() -> dict[str, dict[str, Any]]:
    try:
        presets = tomllib.loads(path().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path()} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path()} is not TOML: {error}; correct the file or delete it.") from None
    for name, settings in presets.items():
        if not isinstance(settings, dict):
            raise InputError(f"{path()}: {name} stands outside of a preset; write it below a heading [NAME].")
    return presets
