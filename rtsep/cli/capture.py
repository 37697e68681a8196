"""What `rtsep karaoke --capture` and `--virtual-sink` have in common."""

from __future__ import annotations

from typing import Any

from rtsep.errors import InputError
from rtsep.live.choices import parse_slack


def run_capture(
    devices: list[str],
    model: str,
    vocals: float | None,
    output: str | None,
    virtual_sink: bool,
    block: int | None,
    slack: str | None,
    as_json: bool,
    seconds: float | None,
) -> None:
    """Listen, turn the vocals down by -``vocals`` dB (None: off), play, until stopped."""
    from rtsep.live.ui.stop_signals import StopSignals

    if len(devices) > 1 or (devices and virtual_sink):
        raise InputError("--capture takes one device, and --virtual-sink none; leave the others out.")
    blocks = parse_slack(slack)
    with StopSignals() as quit:  # from here on nothing is left behind, whenever the end comes
        from rtsep.live.engine.live_engine import LiveSettings
        from rtsep.live.routing.capture import Capture
        from rtsep.live.session import LiveSession
        from rtsep.live.ui.live_view import live_view

        strength = None if vocals is None else -vocals
        chosen: dict[str, Any] = {"model": model, "strength": strength, "channels": 2, "block": block, "slack": blocks}
        LiveSettings(**chosen)  # what cannot be is said before anything is made
        with Capture(devices[0] if devices else None, output, virtual_sink) as capture:
            if quit.is_set():
                return
            settings = LiveSettings(**chosen, **capture.settings())
            greeting = f"Point other players at {capture.made}; it plays on {capture.output}." if virtual_sink else None
            view = live_view(as_json)
            LiveSession(settings, view, opened=capture.pin, quit=quit, greeting=greeting).run(seconds)
