"""Three ways to show a running Live: a live table, one line a while, JSON objects."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Protocol

_METER = 30  # characters


class View(Protocol):
    """``show`` gets a status about ten times a second, ``tell`` every event's sentence, at once."""

    def show(self, status: dict[str, Any]) -> None: ...

    def tell(self, sentence: str) -> None: ...

    def close(self) -> None: ...


class JsonView:
    """One object a second on standard output; events are objects with ``event``."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, status: dict[str, Any]) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1.0
            print(json.dumps(status), flush=True)

    def tell(self, sentence: str) -> None:
        print(json.dumps({"event": sentence}), flush=True)

    def close(self) -> None:
        pass


class PlainView:
    """For pipes and journals: a line at the beginning, a line every ten seconds, a line an event, on stderr."""

    def __init__(self, every: float = 10.0) -> None:
        self._next, self._every = 0.0, every

    def show(self, status: dict[str, Any]) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            print(line(status), file=sys.stderr, flush=True)

    def tell(self, sentence: str) -> None:
        print(f"rtsep: {sentence}", file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class TableView:
    """Meters and figures that are drawn over themselves."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._rich = RichLive(console=Console(stderr=True), refresh_per_second=10, transient=True)
        self._rich.start()
        self._told: list[str] = []

    def show(self, status: dict[str, Any]) -> None:
        self._rich.update(table(status, self._told[-3:]))

    def tell(self, sentence: str) -> None:
        self._told.append(sentence)

    def close(self) -> None:
        self._rich.stop()
        for sentence in self._told:
            print(f"rtsep: {sentence}", file=sys.stderr)


def choose(as_json: bool) -> View:
    """JSON when asked for, a table on a terminal, else plain lines."""
    if as_json:
        return JsonView()
    return TableView() if sys.stderr.isatty() else PlainView()


def line(status: dict[str, Any]) -> str:
    """A status in one line."""
    if "heard_db" not in status:
        return f"{status['state']}"
    compute = status["compute_ms"]["p99"]
    return (
        f"{status['state']}{mode(status)}: in {status['heard_db']:.0f} dB, out {status['played_db']:.0f} dB, "
        f"delay {status['added_ms']:.1f} ms, compute p99 {0.0 if compute is None else compute:.2f} of "
        f"{status['budget_ms']:.2f} ms, late {status['late']} of {status['callbacks']}, xruns {status['xruns']}"
        + ("" if status["clocks"] is None else f", drift {status['clocks']['drift_ppm']:+.0f} ppm")
    )


def mode(status: dict[str, Any]) -> str:
    if status["paused"]:
        return ", too slow: dry"
    return ", bypassed" if status["bypass"] else ""


def meter(decibels: float) -> str:
    """A bar from -60 to 0 dB re full scale."""
    filled = round(_METER * min(1.0, max(0.0, 1 + decibels / 60)))
    return "█" * filled + "·" * (_METER - filled)


def table(status: dict[str, Any], told: list[str]) -> Any:
    """The figures as a rich table."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_row("rtsep", f"{status['model']}: {status['input']} → {status['output']}")
    grid.add_row("", f"{status['state']}{mode(status)}")
    if "heard_db" in status:
        compute, gap = status["compute_ms"], status["gap_ms"]
        grid.add_row("in", f"{meter(status['heard_db'])} {status['heard_db']:6.1f} dB")
        grid.add_row("out", f"{meter(status['played_db'])} {status['played_db']:6.1f} dB")
        grid.add_row("reduction", f"{status['reduction_db']:.1f} dB of at most {strength(status['strength'])}")
        grid.add_row(
            "delay added",
            f"{status['added_ms']:.2f} ms ({status['block']} frames, slack {status['slack']}, {status['rate']} Hz)",
        )
        if status["activity"] is not None:
            gate = "" if status["gate_db"] is None else f"; gate {status['gate_db']:.0f} dB"
            grid.add_row(status["target"], f"{100 * status['activity']:.0f} %{gate}")
        if status["clocks"] is not None:
            two = status["clocks"]
            grid.add_row(
                "two clocks",
                f"drift {two['drift_ppm']:+.0f} ppm; between them {two['fill_ms']:.1f} of {two['target_ms']:.1f} ms; "
                f"slips {two['slips']}",
            )
        if compute["p50"] is not None and gap["p50"] is not None:
            grid.add_row(
                "compute",
                f"p50 {compute['p50']:.2f}  p99 {compute['p99']:.2f} ms of {status['budget_ms']:.2f} ms; "
                f"callbacks every {gap['p50']:.2f} ms",
            )
        grid.add_row("late blocks", f"{status['late']} of {status['callbacks']}; xruns {status['xruns']}")
    for sentence in told:
        grid.add_row("", Text(sentence, style="yellow"))
    grid.add_row("keys", "b bypass, ↑ ↓ strength, m mute, r record, q quit")
    return grid


def strength(decibels: float | None) -> str:
    return "any" if decibels is None else f"{decibels:.0f} dB"
