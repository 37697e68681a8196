"""Presets: a person's live settings under a name, in one TOML file of the user's configuration folder."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from rtsep.errors import InputError

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
    "monitor",
)


def path() -> Path:
    """Where they are kept."""
    import platformdirs

    return Path(platformdirs.user_config_dir("rtsep", appauthor=False)) / "presets.toml"


def load_preset(name: str) -> dict[str, Any]:
    """The settings saved under ``name``; raises InputError when there are none."""
    presets = _read()
    if name not in presets:
        known = ", ".join(sorted(presets)) or "none is saved yet"
        raise InputError(f"There is no preset {name!r}; there are: {known}. Save one with --save NAME.")
    return presets[name]


def save_preset(name: str, settings: dict[str, Any]) -> Path:
    """Keep ``settings`` (those of KEYS that are not None) under ``name``; the file is replaced as a whole."""
    if not re.fullmatch("[A-Za-z0-9_-]+", name):
        raise InputError(f"The preset's name is {name!r}; use letters, digits, - and _.")
    presets = _read()
    presets[name] = {key: settings[key] for key in KEYS if settings.get(key) is not None}
    target = path()
    beside = target.with_suffix(".new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text("\n".join(_written(key, value) for key, value in sorted(presets.items())), encoding="utf-8")
        os.replace(beside, target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}.") from None
    return target


def _read() -> dict[str, dict[str, Any]]:
    try:
        text = path().read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path()} cannot be read: {error}.") from None
    return parse(text)


def parse(text: str) -> dict[str, dict[str, Any]]:
    """The subset of TOML that is written here: tables of strings, numbers and booleans (Python 3.10 has no tomllib)."""
    presets: dict[str, dict[str, Any]] = {}
    table: dict[str, Any] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        heading = re.fullmatch(r"\[([A-Za-z0-9_-]+)\]", line)
        entry = re.fullmatch(r"([a-z_]+)\s*=\s*(.+)", line)
        if heading:
            table = presets.setdefault(heading[1], {})
        elif entry and table is not None:
            try:
                table[entry[1]] = json.loads(entry[2])
            except ValueError:
                raise InputError(
                    f"{path()}, line {number}: {entry[2]!r} is not a value; see the lines around."
                ) from None
        else:
            raise InputError(f"{path()}, line {number}: {line!r} is neither [NAME] nor key = value.")
    return presets


def _written(name: str, settings: dict[str, Any]) -> str:
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(settings.items())]
    return "\n".join([f"[{name}]", *lines, ""])
