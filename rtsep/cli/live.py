"""What `rtsep denoise --live`, `--virtual-mic` and `--monitor` have in common."""

from __future__ import annotations

import threading
from typing import Any

import typer

from rtsep.cli.shared import check_folder, check_target, parse_strength
from rtsep.errors import InputError

TARGET = "speech"


def run_live(
    files: list[str] | None,
    virtual_mic: bool,
    monitor: bool,
    source: str | None,
    output: str | None,
    strength: str | None,
    model: str | None,
    block: str | None,
    slack: int | None,
    gate: str | None,
    gate_open: float | None,
    gate_hold: float | None,
    gate_lookback: float | None,
    record: str | None,
    preset: str | None,
    save: str | None,
    as_json: bool,
    seconds: float | None,
    input_channels: str | None = None,
) -> None:
    """Fill in from the preset, choose where the sound goes, and run until stopped."""
    from rtsep.live.stop_signals import StopSignals

    if files and not (as_json and files == ["-"]):  # `--json -`, as other verbs have it
        raise InputError("Live sound comes from a microphone, not from files; leave the files out.")
    given = {
        "model": model,
        "input": source,
        "output": output,
        "strength": strength,
        "block": None if block in (None, "auto") else whole(block),
        "slack": slack,
        "gate": gate,
        "gate_open": gate_open,
        "gate_hold": gate_hold,
        "gate_lookback": gate_lookback,
        "input_channels": input_channels,
        "virtual_mic": virtual_mic or None,
        "monitor": monitor or None,
    }
    with StopSignals() as quit:  # from here on nothing is left behind, whenever the end comes
        _run(given, record, preset, save, as_json, seconds, quit)


def _run(
    given: dict[str, Any],
    record: str | None,
    preset: str | None,
    save: str | None,
    as_json: bool,
    seconds: float | None,
    quit: threading.Event,
) -> None:
    from rtsep.live import presets
    from rtsep.live.live_engine import LiveSettings
    from rtsep.live.model_selection import choose
    from rtsep.live.session import LiveSession
    from rtsep.live.ui.live_view import live_view

    chosen: dict[str, Any] = presets.load_preset(preset) if preset is not None else {}
    chosen |= {key: value for key, value in given.items() if value is not None}
    if chosen.get("virtual_mic") and chosen.get("monitor"):
        raise InputError("--virtual-mic and --monitor are two places; choose one of them.")
    if not any(chosen.get(key) for key in ("virtual_mic", "monitor", "output")):
        raise InputError("Say where the sound goes: --virtual-mic, --output DEVICE, or --monitor for the loudspeaker.")
    check_gate_options(chosen)
    name = chosen.get("model", "denoise")
    values: dict[str, Any] = {
        "model": choose() if name == "auto" else name,
        "input": chosen.get("input"),
        "output": chosen.get("output"),
        "strength": parse_strength(str(chosen.get("strength", "max"))),
        "block": chosen.get("block"),
        "slack": chosen.get("slack"),
        "gate": parse_gate(chosen),
        "input_channels": chosen.get("input_channels"),
        "muted": bool(chosen.get("monitor")),
    }
    LiveSettings(**values)  # what cannot be is said before anything is made
    check_target(values["model"], TARGET)
    if record is not None:
        check_folder(record)
    if save is not None:
        typer.echo(f"Saved in {presets.save_preset(save, chosen)}.", err=True)
    if chosen.get("virtual_mic"):
        from rtsep.live.routing.virtual_microphone import VirtualMicrophone

        with VirtualMicrophone(values["input"]) as microphone:
            if quit.is_set():
                return
            values |= microphone.settings()
            greeting = f"Other programs now list the microphone {microphone.description!r}."
            settings, pin = LiveSettings(**values), microphone.pin
            LiveSession(settings, live_view(as_json), record, opened=pin, quit=quit, greeting=greeting).run(seconds)
    else:
        from rtsep.live.routing.pulse_routing import ServerPins

        monitor = bool(chosen.get("monitor"))
        with ServerPins() as pins:
            settings = LiveSettings(**values)
            LiveSession(settings, live_view(as_json), record, monitor, opened=pins.pin, quit=quit).run(seconds)


def check_gate_options(chosen: dict[str, Any]) -> None:
    """Raises InputError for options that tune a gate where none is asked for."""
    for name in ("gate_open", "gate_hold", "gate_lookback"):
        if chosen.get(name) is not None and chosen.get("gate") is None:
            raise InputError(f"--{name.replace('_', '-')} tunes the gate; add --gate DB.")


def parse_gate(chosen: dict[str, Any], lookback: float = 0.0) -> Any:
    """GateSettings of --gate and its companions, None for no gate; look-back and hold are ms there.

    lookback: ms where none is given.
    """
    from rtsep.engine.gate import GateSettings

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


def whole(text: str | None) -> int:
    """A number of frames."""
    if text is None or not text.isdecimal():
        raise InputError(f"--block is {text!r}; it must be auto or a number of frames.")
    return int(text)
