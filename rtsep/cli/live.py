"""What `rtsep denoise --live`, `--virtual-mic` and `--monitor` have in common."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import typer

from rtsep.cli.shared import check_folder
from rtsep.errors import InputError
from rtsep.live.choices import check_place, live_values, parse_slack, route, with_model

if TYPE_CHECKING:
    from rtsep.live.ui.notifications import Notifications


def run_live(
    files: list[str] | None,
    virtual_mic: bool,
    monitor: bool,
    source: str | None,
    output: str | None,
    strength: str | None,
    model: str | None,
    block: str | None,
    slack: str | None,
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
    follow_default: bool = False,
    notify: bool = False,
) -> None:
    """Fill in from the preset, choose where the sound goes, and run until stopped."""
    from rtsep.live.ui.notifications import Notifications
    from rtsep.live.ui.stop_signals import StopSignals

    if files and not (as_json and files == ["-"]):  # `--json -`, as other verbs have it
        raise InputError("Live sound comes from a microphone, not from files; leave the files out.")
    given = {
        "model": model,
        "input": source,
        "output": output,
        "strength": strength,
        "block": None if block in (None, "auto") else whole(block),
        "slack": slack if slack in (None, "auto") else parse_slack(slack),
        "gate": gate,
        "gate_open": gate_open,
        "gate_hold": gate_hold,
        "gate_lookback": gate_lookback,
        "input_channels": input_channels,
        "virtual_mic": virtual_mic or None,
        "follow_default": follow_default or None,
        "monitor": monitor or None,
    }
    with StopSignals() as quit:  # from here on nothing is left behind, whenever the end comes
        notifications = Notifications() if notify else None
        with notifications or contextlib.nullcontext():
            _run(given, record, preset, save, as_json, seconds, quit, notifications)


def _run(
    given: dict[str, Any],
    record: str | None,
    preset: str | None,
    save: str | None,
    as_json: bool,
    seconds: float | None,
    quit: threading.Event,
    notifications: Notifications | None,
) -> None:
    from rtsep.live import presets
    from rtsep.live.engine.live_engine import LiveSettings
    from rtsep.live.session import LiveSession
    from rtsep.live.ui.live_view import live_view

    chosen: dict[str, Any] = presets.load_preset(preset) if preset is not None else {}
    if given["input"] is not None:
        chosen.pop("follow_default", None)
    chosen |= {key: value for key, value in given.items() if value is not None}
    check_place(chosen)
    values = with_model(live_values(chosen))  # what cannot be is said before anything is made
    if record is not None:
        check_folder(record)
    if save is not None:
        typer.echo(f"Saved in {presets.save_preset(save, chosen)}.", err=True)
    virtual_mic, monitor = bool(chosen.get("virtual_mic")), bool(chosen.get("monitor"))
    with route(chosen) as way:
        if quit.is_set():
            return
        if virtual_mic:
            values |= way.settings()
        greeting = f"Other programs now list the microphone {values['labels'][1]!r}." if virtual_mic else None
        settings, view = LiveSettings(**values), live_view(as_json)
        if notifications is not None:
            view = notifications.beside(view)
        session = LiveSession(settings, view, record, monitor, opened=way.pin, quit=quit, greeting=greeting)
        way.moved = session.microphone_moved
        session.run(seconds)


def whole(text: str | None) -> int:
    """A number of frames."""
    if text is None or not text.isdecimal():
        raise InputError(f"--block is {text!r}; it must be auto or a number of frames.")
    return int(text)
