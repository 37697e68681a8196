"""What a running session looks like from outside, read from the shared block without disturbing anybody."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from rtsep.live.backends.shared_state import SharedBlock, counters

if TYPE_CHECKING:
    from rtsep.live.engine.live_engine import LiveEngine

_SECONDS = 2.0  # that compute and gaps look back
LEVEL_S = 0.3  # that levels look back
FLOOR_DB = -120.0


class Counters(TypedDict):
    """Counted since the start."""

    samples: int  # taken in (live) or played (player)
    callbacks: int
    late: int  # blocks whose result was not there: the delayed dry signal was played
    lost: int  # blocks that are not the result bit for bit: late ones, and those beside them
    xruns: int  # callbacks that the audio system flagged with an overflow or underflow
    irregular: int  # callbacks with another number of frames than ``block``
    processed: int  # samples that the worker has done
    runs: int  # times that the worker did some
    resets: int  # times that the worker lost its place


class ClockStatus(TypedDict):
    """Two devices by clocks of their own, and the ring between them."""

    drift_ppm: float  # how much faster the input's clock runs
    input_rate: int  # nominal, Hz
    input_block: int  # frames
    fill_ms: float  # what the ring holds
    target_ms: float  # what it is meant to hold
    underruns: int
    slips: int  # times that samples were left out or played twice


class LiveStatus(Counters, total=False):
    """What `--json` prints once a second. The keys after ``gate_db`` are there once a device was opened."""

    state: str  # starting, preparing, running, waiting (for a device that was lost) or stopped
    model: str
    target: str  # the source that is kept
    input: str | None  # names of the devices, for people
    output: str | None
    host: str | None  # audio system
    rate: int  # Hz of the output
    block: int  # frames a callback
    period: int  # frames that come at once: those of several callbacks where the server's period is large
    slack: int  # periods from handing one over to playing its result; 0: the model runs inside the callback
    slack_reason: str | None  # why it is not 0, where that was looked into
    restarts: dict[str, int]  # how often worker and device were lost
    bypass: bool  # the dry signal is asked for
    paused: bool  # the model rests, because the machine is too slow
    muted: bool  # nothing is played
    recording: bool  # what is heard and played is being recorded
    realtime: int  # the worker's priority: 0 ordinary, 1 real time, 2 and its memory is locked
    strength: float | None  # most attenuation, dB; None is no limit
    activity: float | None  # probability of the target, where the model says
    gate_db: float | None  # where the gate is, None without one
    clocks: ClockStatus | None  # None where one clock drives both ends
    added_samples: int  # delay over an empty pass-through
    added_ms: float
    heard_db: float  # levels re full scale
    played_db: float
    reduction_db: float  # their difference
    compute_ms: dict[str, float | None]  # p50, p99 and max of the worker's runs, with slack 0 of the callbacks
    gap_ms: dict[str, float | None]  # the same of the times between callbacks
    budget_ms: float  # that a run may take


def live_status(engine: LiveEngine) -> LiveStatus:
    """The status of a live session; ``recording`` is the session's to set."""
    block, state, clocks = engine.block, engine.block.state, engine.block.clocks
    rate, size = state.rate, state.block
    ends = engine.settings.labels or (engine.device.get("input"), engine.device.get("output"))
    values: dict[str, Any] = {
        "state": engine.state,
        "model": engine.model.spec.name,
        "target": engine.model.spec.target,
        "input": ends[0],
        "output": ends[1],
        "host": engine.device.get("host"),
        "rate": rate,
        "block": size,
        "period": state.period,
        "slack": engine.slack,
        "slack_reason": engine.slack_control.refusal,
        **counters(block),
        "xruns": state.xruns + clocks.xruns,
        "restarts": dict(engine.restarts),
        "bypass": engine.bypassed,
        "paused": engine.slack_control.rests,
        "muted": engine.muted,
        "recording": False,
        "realtime": state.worker_realtime,
        "strength": None if math.isnan(state.strength) else state.strength,
        "activity": None if math.isnan(state.activity) else state.activity,
        "gate_db": None if engine.settings.gate is None else 20 * math.log10(max(1e-6, state.gate_gain)),
    }
    if rate:
        end = state.position
        count = min(end, round(LEVEL_S * rate), block.length // 2)
        heard, played = (level(block.samples_before(ring, end, count)) for ring in (block.heard, block.played))
        rows = round(_SECONDS * rate / max(1, size))
        values |= {
            "clocks": clock_status(block) if clocks.separate else None,
            "added_samples": engine.added_samples,
            "added_ms": engine.added_ms,
            "heard_db": heard,
            "played_db": played,
            "reduction_db": heard - played,
            "compute_ms": quantiles(compute_ms(block, rows)),
            "gap_ms": quantiles(gaps_ms(block, rows)),
            "budget_ms": 1000 * max(1, engine.slack) * state.period / rate,
        }
    return values  # type: ignore[return-value]


def clock_status(block: SharedBlock) -> ClockStatus:
    """Of two devices by clocks of their own."""
    clocks = block.clocks
    rate = max(1, clocks.rate)
    return {
        "drift_ppm": 1e6 * block.resampler.integral,
        "input_rate": rate,
        "input_block": clocks.frames,
        "fill_ms": 1000 * clocks.fill / rate,
        "target_ms": 1000 * clocks.target / rate,
        "underruns": clocks.underruns,
        "slips": clocks.slips,
    }


def level(sound: NDArray[np.float32]) -> float:
    """RMS in dB re full scale, at least -120."""
    power = float(np.mean(np.square(sound, dtype=np.float64))) if sound.size else 0.0
    return max(FLOOR_DB, 10 * math.log10(power)) if power > 0 else FLOOR_DB


def compute_ms(block: SharedBlock, rows: int) -> NDArray[np.float64]:
    """How long the worker's last ``rows`` runs took; with slack 0, the callbacks, which then do its work."""
    if block.state.inside:
        log = block.newest_rows(block.calls, block.state.callbacks, rows)
        return (log["ended"] - log["began"]) / 1e6
    log = block.newest_rows(block.works, block.state.runs, rows)
    return (log["ended"] - log["began"]) / 1e6


def gaps_ms(block: SharedBlock, rows: int) -> NDArray[np.float64]:
    """Times between the beginnings of the last ``rows`` callbacks."""
    began = block.newest_rows(block.calls, block.state.callbacks, rows)["began"]
    return np.diff(began[began > 0]) / 1e6


def quantiles(values: NDArray[np.float64]) -> dict[str, float | None]:
    """p50, p99 and max; None when there is nothing."""
    if not len(values):
        return {"p50": None, "p99": None, "max": None}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "max": float(values.max())}
