"""`rtsep bench live`: the true round trip, what it is made of, and how steady it is under load.

Every figure is measured: delays by a probe from another process that comes out somewhere, sample for sample; times by
the clock in the compiled callback. PortAudio's own latency figures are not used: they are wrong on JACK and PipeWire.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import RtsepError
from rtsep.live.backends.jack_probe import delay_of, probe
from rtsep.live.backends.jack_server import JackServer
from rtsep.live.backends.passthrough import PassThrough
from rtsep.live.backends.shared_state import FLAG_LATE, LOG_ROWS, SharedBlock, counters
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.engine.status import compute_ms, gaps_ms
from rtsep.model import look_at
from rtsep.report.cable import measure_budget
from rtsep.report.loads import LOADS, load
from rtsep.report.machine import machine

_PROBE_S = 0.5
_MOST = 0.5  # of the probe must come out bit for bit; noise that is off by one sample agrees nowhere
_PERCENTILES = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}


def measure_live(
    model: str,
    period: int = 128,
    slack: int = 0,
    seconds: float = 10.0,
    rate: int = 48000,
    names: tuple[str, ...] = LOADS,
    say: Callable[[str], None] = lambda _: None,
    devices: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """All of `bench live` on a private dummy JACK server. seconds: under each load of ``names``, if the log holds it.

    devices: input and output, by name, part of it or number, with a loopback cable from the one to the other; instead
    of the private server. Raises RtsepError when JACK is not there, or a probe does not come out as it went in.
    """
    seconds = min(seconds, 0.9 * LOG_ROWS * period / rate)
    if devices is not None:
        return _on_devices(model, devices, period, slack, seconds, names, say)
    channels = look_at(model).spec.channels
    with JackServer(period, rate):
        say("round trip and its parts")
        budget = _budget(model, slack, rate, channels)
        loads = []
        for name in names:
            say(f"{seconds:.0f} s, {name}")
            settings = LiveSettings(model=model, slack=slack, channels=channels)
            loads.append(_under_load(name, settings, rate, seconds))
    return {
        "model": budget.pop("model"),
        "server": {"kind": "jackd -S -d dummy, private", "rate": rate, "period": period},
        "slack": slack,
        "budget": budget,
        "loads": loads,
        "machine": machine(),
    }


def _on_devices(
    model: str,
    devices: tuple[str, str],
    period: int,
    slack: int,
    seconds: float,
    names: tuple[str, ...],
    say: Callable[[str], None],
) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "model": model,
        "input": devices[0],
        "output": devices[1],
        "block": period,
        "slack": slack,
    }
    say("round trip and its parts, by a ping through the cable")
    found, live = measure_budget(settings)
    _check_slack(live, slack)
    rate, spec = int(live.device["rate"]), live.model.spec
    whole, parts = found["whole"], found["parts"]
    budget = {
        "round_trip_samples": whole,
        "round_trip_ms": 1000 * whole / rate,
        "added_samples": whole - parts["device"],
        "added_ms": 1000 * (whole - parts["device"]) / rate,
        "announced_samples": found["announced"],
        "parts_samples": parts,
        "parts_ms": {name: 1000 * samples / rate for name, samples in parts.items()},
        "probed_samples": found["probed"],
    }
    loads = []
    for name in names:
        say(f"{seconds:.0f} s, {name}")
        loads.append(_under_load(name, LiveSettings(**settings, muted=True), None, seconds))
    kind = f"{live.device['output']} to {live.device['input']} by a cable, {live.device['host']}"
    return {
        "model": {"name": spec.name, "version": spec.version, "weights_sha256": spec.weights_sha256},
        "server": {"kind": kind, "rate": rate, "period": int(live.device["block"])},
        "slack": slack,
        "budget": budget,
        "loads": loads,
        "machine": machine(),
    }


def _budget(model: str, slack: int, rate: int, channels: int) -> dict[str, Any]:
    """The round trip in samples with everything, and again after taking one part more away each time."""
    sound = (0.25 * np.random.default_rng(0).standard_normal(round(_PROBE_S * rate))).astype(np.float32)

    def probed_through(settings: LiveSettings) -> tuple[int, LiveEngine]:
        with LiveEngine(settings) as live:
            return _probed(sound, "rtsep:in_0", "rtsep:out_0"), live

    # With strength 0 the stream puts out its delayed input, so that the probe comes out as it went in.
    whole, live = probed_through(LiveSettings(model=model, strength=0.0, slack=slack, channels=channels))
    _check_slack(live, slack)
    without_stream, _ = probed_through(LiveSettings(model=model, slack=slack, channels=channels, without_model=True))
    with PassThrough(rate):
        without_slack = _probed(sound, "rtsep-through:in_0", "rtsep-through:out_0")
    server = _probed(sound, "-", "-")
    parts = {
        "stream": whole - without_stream,
        "slack": without_stream - without_slack,
        "portaudio": without_slack - server,
        "server": server,
    }
    spec = live.model.spec
    return {
        "model": {"name": spec.name, "version": spec.version, "weights_sha256": spec.weights_sha256},
        "round_trip_samples": whole,
        "round_trip_ms": 1000 * whole / rate,
        "added_samples": whole - without_slack,
        "added_ms": 1000 * (whole - without_slack) / rate,
        "announced_samples": live.added_samples,
        "parts_samples": parts,
        "parts_ms": {name: 1000 * samples / rate for name, samples in parts.items()},
        "probed_samples": {
            "everything": whole,
            "without the stream": without_stream,
            "and without the slack": without_slack,
            "and without PortAudio": server,
        },
    }


def _check_slack(live: LiveEngine, slack: int) -> None:
    """Raises RtsepError where the session had to take another."""
    if live.slack != slack:
        raise RtsepError(f"Slack {slack} is not possible here: {live.slack_control.refusal}")


def _probed(sound: NDArray[np.float32], target: str, source: str, tries: int = 3) -> int:
    """Delay in samples at which ``sound`` came out bit for bit, but for blocks that were lost on the way."""
    for _ in range(tries):
        recording, _ = probe(sound, target, source)
        delay = delay_of(sound, recording)
        if np.mean(recording[delay:] == sound[: len(sound) - delay]) > _MOST:
            return delay
    raise RtsepError(f"The probe through {target} did not come out as it went in, {tries} times: is the machine busy?")


def _under_load(name: str, settings: LiveSettings, empty_rate: int | None, seconds: float) -> dict[str, Any]:
    """Gaps, compute and losses of a running system under one load.

    empty_rate: Hz of an empty callback that runs beside it; None where a device can be opened but once.
    """
    with contextlib.ExitStack() as stack:
        live = stack.enter_context(LiveEngine(settings))
        empty = stack.enter_context(PassThrough(empty_rate)).block if empty_rate is not None else SharedBlock.create()
        time.sleep(0.5)
        block = live.block
        names = ("callbacks", "runs", "late", "lost", "xruns", "resets")
        before, beside = counters(block), empty.state.callbacks
        began = time.monotonic()
        with load(name):
            time.sleep(seconds)
        took = time.monotonic() - began
        after = counters(block)
        inside = bool(block.state.inside)
        callbacks, runs, late, lost, xruns, resets = (after[name] - before[name] for name in names)
        gaps, compute = gaps_ms(live.block, callbacks), compute_ms(live.block, callbacks if inside else runs)
        alone = gaps_ms(empty, empty.state.callbacks - beside)
        timeline = _timeline(live.block, callbacks, runs)
        block_ms = 1000 * block.state.block / block.state.rate
        realtime = block.state.worker_realtime
    return {
        "load": name,
        "seconds": took,
        "callbacks": callbacks,
        "late_blocks": late,
        "late_share": late / max(1, callbacks),
        "lost_blocks": lost,
        "lost_share": lost / max(1, callbacks),
        "xruns": xruns,
        "resets": resets,
        "worker_fifo": realtime > 0,
        "block_ms": block_ms,
        "gap_ms": quantiles(gaps),
        "late_callbacks": int(np.sum(gaps > 1.5 * block_ms)),
        "compute_ms": quantiles(compute),
        "empty_callback": {
            "gap_ms": quantiles(alone),
            "late_callbacks": int(np.sum(alone > 1.5 * block_ms)),
            "callbacks": len(alone) + 1,
        }
        if len(alone)
        else None,
        "histogram": {
            "edges_ms": [round(float(edge), 4) for edge in EDGES],
            "gap": _counts(gaps),
            "compute": _counts(compute),
            "empty_gap": _counts(alone),
        },
        "timeline": timeline,
    }


EDGES = np.geomspace(0.02, 200.0, 161)


def _counts(values: NDArray[np.float64]) -> list[int]:
    return np.histogram(np.clip(values, EDGES[0], EDGES[-1]), EDGES)[0].tolist()


def _timeline(block: SharedBlock, callbacks: int, runs: int, cells: int = 400) -> dict[str, list[float]]:
    """The worst gap and compute of each of ``cells`` stretches of time, and how many blocks were late in it."""
    calls = block.newest_rows(block.calls, block.state.callbacks, callbacks)
    works = calls if block.state.inside else block.newest_rows(block.works, block.state.runs, runs)
    start, end = int(calls["began"][0]), int(calls["began"][-1])
    edges = np.linspace(start, end, cells + 1)
    gap = np.diff(calls["began"], prepend=calls["began"][0]) / 1e6
    late = (calls["flags"] & FLAG_LATE) > 0
    place = np.clip(np.searchsorted(edges, calls["began"], "right") - 1, 0, cells - 1)
    where = np.clip(np.searchsorted(edges, works["began"], "right") - 1, 0, cells - 1)
    result = {key: np.zeros(cells) for key in ("gap_ms", "compute_ms", "late")}
    np.maximum.at(result["gap_ms"], place, gap)
    np.add.at(result["late"], place, late)
    np.maximum.at(result["compute_ms"], where, (works["ended"] - works["began"]) / 1e6)
    seconds = (edges[:-1] - start) / 1e9
    return {"seconds": np.round(seconds, 3).tolist()} | {key: np.round(v, 4).tolist() for key, v in result.items()}


def quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    """p50, p99, p99.9 and max of times in ms."""
    return {name: round(float(np.percentile(values, p)), 4) for name, p in _PERCENTILES.items()}
