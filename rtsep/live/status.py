"""What a running Live looks like from outside: one dict, read from the shared block without disturbing anybody."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rtsep.live.backends import shared_state as b
from rtsep.live.backends.clock_drift import STATE, drift_ppm

if TYPE_CHECKING:
    from rtsep.live.backends.shared_state import Block
    from rtsep.live.live_engine import Live

_SECONDS = 2.0  # that levels, compute and gaps look back
FLOOR_DB = -120.0


def snapshot(live: Live) -> dict[str, Any]:
    """State, counters since the start, latency in ms, levels in dB re full scale, compute and gaps in ms."""
    block, head = live.block, live.block.head
    rate, size = int(head[b.RATE]), int(head[b.BLOCK])
    values: dict[str, Any] = {
        "state": live.state,
        "model": live.model.spec.name,
        "target": live.model.spec.target,
        "input": live.device.get("input"),
        "output": live.device.get("output"),
        "host": live.device.get("host"),
        "rate": rate,
        "block": size,
        "slack": live.slack,
        **b.words(block),
        "xruns": int(head[b.XRUNS] + head[b.IN_XRUNS]),
        "restarts": dict(live.restarts),
        "bypass": live.bypassed,
        "paused": bool(head[b.PAUSE]),
        "realtime": int(head[b.WORKER_REALTIME]),
    }
    strength, activity = float(block.gains[b.STRENGTH]), float(block.gains[b.ACTIVITY])
    values["strength"] = None if math.isnan(strength) else strength
    values["activity"] = None if math.isnan(activity) else activity
    gated = live.settings.gate is not None
    values["gate_db"] = 20 * math.log10(max(1e-6, block.gains[b.GATE_GAIN])) if gated else None
    if not rate:
        return values
    values["clocks"] = clocks(block) if head[b.TWO] else None
    values["added_samples"] = live.added_samples
    values["added_ms"] = 1000 * live.added_samples / rate
    end = int(head[b.WRITTEN])
    count = min(end, round(0.3 * rate), block.length // 2)
    heard, played = block.last(block.heard, end, count), block.last(block.played, end, count)
    values["heard_db"], values["played_db"] = level(heard), level(played)
    values["reduction_db"] = values["heard_db"] - values["played_db"]
    values["compute_ms"] = quantiles(compute_ms(block, round(_SECONDS * rate / max(1, size))))
    values["gap_ms"] = quantiles(gaps_ms(block, round(_SECONDS * rate / max(1, size))))
    values["budget_ms"] = 1000 * live.slack * size / rate
    return values


def clocks(block: Block) -> dict[str, Any]:
    """Two devices by clocks of their own: drift, what the ring between them holds in ms, and what was lost there."""
    head = block.head
    rate = max(1, int(head[b.IN_RATE]))
    return {
        "drift_ppm": drift_ppm(block.gains[b.READER : b.READER + STATE]),
        "input_rate": rate,
        "input_block": int(head[b.IN_FRAMES]),
        "fill_ms": 1000 * float(block.gains[b.FILL]) / rate,
        "target_ms": 1000 * int(head[b.TARGET]) / rate,
        "starved": int(head[b.STARVED]),
        "slips": int(head[b.SLIPS]),
    }


def level(sound: NDArray[np.float32]) -> float:
    """RMS in dB re full scale, at least -120."""
    power = float(np.mean(np.square(sound, dtype=np.float64))) if sound.size else 0.0
    return max(FLOOR_DB, 10 * math.log10(power)) if power > 0 else FLOOR_DB


def compute_ms(block: Block, rows: int) -> NDArray[np.float64]:
    """How long the worker's last ``rows`` runs took."""
    log = block.recent(block.works, int(block.head[b.RUNS]), rows)
    return (log[:, b.ENDED] - log[:, b.BEGAN]) / 1e6


def gaps_ms(block: Block, rows: int) -> NDArray[np.float64]:
    """Times between the beginnings of the last ``rows`` callbacks."""
    log = block.recent(block.calls, int(block.head[b.CALLBACKS]), rows)
    began = log[:, b.BEGAN]
    return np.diff(began[began > 0]) / 1e6


def quantiles(values: NDArray[np.float64]) -> dict[str, float | None]:
    """p50, p99 and max; None when there is nothing."""
    if not len(values):
        return {"p50": None, "p99": None, "max": None}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "max": float(values.max())}
