"""How a live session is shown."""

from __future__ import annotations

import sys
from typing import Any

from rtsep.live.ui.views import JsonView, PlainView, ScreenView, Status, View
from rtsep.printable import printable

_METER = 30  # characters
# What a person must not overlook, and how it is said in lines and on the screen
_LOUD = (
    ("paused", "TOO SLOW: THE DRY SIGNAL PLAYS", "bold white on red"),
    ("muted", "MUTED: NOTHING IS PLAYED", "bold white on red"),
    ("bypass", "BYPASSED: THE DRY SIGNAL PLAYS", "bold black on yellow"),
    ("recording", "RECORDING", "bold white on red"),
)
_KEYS = (("b bypass", "m mute", "r record"), ("↑ ↓ strength", "0 slack 0", "q quit"))


def live_view(as_json: bool) -> View:
    """JSON when asked for, a table on a terminal, else plain lines."""
    if as_json:
        return JsonView()
    if sys.stderr.isatty():
        return ScreenView(table)
    return PlainView(line, ("state", *(key for key, _, _ in _LOUD)))


def line(status: Status) -> str:
    """A status in one line."""
    marks = "".join(f" [{text}]" for key, text, _ in _LOUD if status.get(key))
    if "heard_db" not in status:
        return f"{status['state']}{marks}"
    compute = status["compute_ms"]["p99"]
    return (
        f"{status['state']}{marks}: in {status['heard_db']:.0f} dB, out {status['played_db']:.0f} dB, "
        f"delay {status['added_ms']:.1f} ms, compute p99 {0.0 if compute is None else compute:.2f} of "
        f"{status['budget_ms']:.2f} ms, late {status['late']} of {status['callbacks']}, xruns {status['xruns']}"
        + ("" if status["clocks"] is None else f", drift {status['clocks']['drift_ppm']:+.0f} ppm")
    )


def meter(decibels: float, width: int = _METER) -> str:
    """A bar from -60 to 0 dB re full scale."""
    filled = round(width * min(1.0, max(0.0, 1 + decibels / 60)))
    return "█" * filled + "·" * (width - filled)


def table(status: Status, width: int, told: list[str]) -> Any:
    """The figures as a rich table, ``width`` columns wide."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid, bar = Table.grid(padding=(0, 2)), min(_METER, max(5, width - 28))

    def add(name: str, text: str) -> None:  # names of devices may look like markup, or hold what moves the cursor
        grid.add_row(Text(name), Text(printable(text)))

    marks = [Text(f" {text} ", style=style) for key, text, style in _LOUD if status.get(key)]
    devices = "" if status.get("output") is None else f": {status.get('input')} → {status['output']}"
    add("rtsep", f"{status['model']}{devices}")
    add("", status["state"])
    if "heard_db" in status:
        compute, gap = status["compute_ms"], status["gap_ms"]
        add("in", f"{meter(status['heard_db'], bar)} {status['heard_db']:6.1f} dB")
        add("out", f"{meter(status['played_db'], bar)} {status['played_db']:6.1f} dB")
        add("reduction", f"{status['reduction_db']:.1f} dB now; {limit(status['strength'])}")
        add(
            "delay added",
            f"{status['added_ms']:.2f} ms ({status['block']} frames, slack {status['slack']}, {status['rate']} Hz)",
        )
        if status["activity"] is not None:
            gate = "" if status["gate_db"] is None else f"; gate {status['gate_db']:.0f} dB"
            add(status["target"], f"{100 * status['activity']:.0f} %{gate}")
        if status["clocks"] is not None:
            two = status["clocks"]
            add(
                "two clocks",
                f"drift {two['drift_ppm']:+.0f} ppm; between them {two['fill_ms']:.1f} of {two['target_ms']:.1f} ms; "
                f"slips {two['slips']}",
            )
        if compute["p50"] is not None and gap["p50"] is not None:
            add(
                "compute",
                f"p50 {compute['p50']:.2f}  p99 {compute['p99']:.2f} ms of {status['budget_ms']:.2f} ms; "
                f"callbacks every {gap['p50']:.2f} ms",
            )
        add("late blocks", f"{status['late']} of {status['callbacks']}; xruns {status['xruns']}")
    sentences = [Text(sentence, style="yellow") for sentence in told]
    keys = [Text("  ".join(row), style="dim") for row in _KEYS]
    return Group(*marks, grid, *sentences, *keys)


def limit(decibels: float | None) -> str:
    """A strength in words."""
    return "no limit is set" if decibels is None else f"limited to {decibels:.0f} dB"
