"""Metrics: what a server counts, and the text in which Prometheus reads it (exposition format 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

_STEP_BOUNDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05)  # seconds
_REPLY_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)


class Histogram:
    """How many values lie at or below each bound, how many there are, and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds, self._counts = bounds, [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> Iterator[str]:
        """As Prometheus reads it."""
        total = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._sum:.6f}"
        yield f"{name}_count {total}"


class Metrics:
    """Written by the event loop and the stepper, each its own numbers."""

    def __init__(self, limit: int) -> None:
        """limit: streams that there may be."""
        self.limit, self.streams, self.connections, self.faults = limit, 0, 0, 0
        self.refused: Counter[str] = Counter()
        self.hops = 0
        self._step_seconds, self._reply_seconds = Histogram(_STEP_BOUNDS), Histogram(_REPLY_BOUNDS)

    def stepped(self, hops: int, seconds: float) -> None:
        """One product over so many hops took so long."""
        self.hops += hops
        self._step_seconds.add(seconds)

    def replied(self, seconds: float) -> None:
        """A frame was answered so long after it had come."""
        self._reply_seconds.add(seconds)

    def text(self) -> str:
        """All of them."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        for name, kind, about, value in (
            ("rtsep_streams", "gauge", "Streams that are there.", self.streams),
            ("rtsep_streams_limit", "gauge", "Streams that there may be.", self.limit),
            ("rtsep_connections_total", "counter", "Connections that got a stream.", self.connections),
            ("rtsep_hops_total", "counter", "Hops that the network has made.", self.hops),
            ("rtsep_faults_total", "counter", "Streams made anew after a result that was no number.", self.faults),
        ):
            yield from (f"# HELP {name} {about}", f"# TYPE {name} {kind}", f"{name} {value}")
        name = "rtsep_refused_total"
        yield from (f"# HELP {name} Connections refused or ended by the server, by reason.", f"# TYPE {name} counter")
        for reason, count in sorted(self.refused.items()):
            yield f'{name}{{reason="{reason}"}} {count}'
        for name, about, histogram in (
            ("rtsep_step_seconds", "One product over all streams that waited.", self._step_seconds),
            ("rtsep_reply_seconds", "From a frame to its answer.", self._reply_seconds),
        ):
            yield from (f"# HELP {name} {about}", f"# TYPE {name} histogram")
            yield from histogram.lines(name)
