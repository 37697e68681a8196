"""`rtsep bench step`: the latency of the very Stream, by a probe, and what a hop costs.

Nothing here is added up from the model's metadata: latency is where a probe comes out, compute is what a clock says.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import RtsepError
from rtsep.model import Model
from rtsep.report.machine import machine

_WARM_UP = 200  # hops before the clock counts
_LEVEL = 0.03  # RMS of the test noise, full scale 1
_PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}


def measure_step(model: Model, seconds: float = 30.0) -> dict[str, Any]:
    """All of `bench step`: latencies in samples and ms, compute in microseconds, cold start in ms.

    seconds: sound to run through the stream hop by hop (30 s are 11,250 hops of the default model).
    """
    spec = model.spec
    latency = probe_latency(model)
    reach = probe_reach(model)
    return {
        "model": {"name": spec.name, "version": spec.version, "weights_sha256": spec.weights_sha256},
        "sample_rate": spec.sample_rate,
        "hop": spec.hop,
        "latency": {
            "stream_samples": latency,
            "promised_samples": model.stream().latency,
            "whole_hops_samples": probe_latency(model, spec.hop),
            "reach_samples": reach,
            "algorithmic_samples": latency + 1,
            "algorithmic_ms": 1000 * (latency + 1) / spec.sample_rate,
        },
        "compute": measure_compute(model, seconds),
        "cold_start": measure_cold_start(str(model.path), model.backend),
        "machine": machine(),
    }


def probe_latency(model: Model, block_multiple: int = 1) -> int:
    """Delay of a stream in samples at the model's rate: where in the output the probe reappears, bit for bit.

    The probe is noise on the way that strength 0 leaves open; that dry way is what wet and dry are mixed on, so the
    model's own output is aligned with it (see probe_reach for the wet way).

    Raises RtsepError when the probe does not come out once.
    """
    hop = model.spec.hop
    stream = model.stream(strength=0.0, block_multiple=block_multiple)
    probe = _noise(16 * hop)
    length = len(probe) + 64 * hop + stream.latency
    length += -length % block_multiple
    sound = np.zeros(length, np.float32)
    sound[: len(probe)] = probe
    # Lengths of blocks that divide nothing, so that no lucky alignment hides a delay
    size = block_multiple if block_multiple > 1 else 37
    out = np.concatenate([stream.process(sound[at : at + size]) for at in range(0, length, size)])
    spectrum = np.fft.rfft(out, 2 * length) * np.conj(np.fft.rfft(sound, 2 * length))
    lag = int(np.argmax(np.fft.irfft(spectrum)[:length]))
    if not np.array_equal(out[lag : lag + len(probe)], probe):
        raise RtsepError("The probe did not come out of the stream as it went in; this is a bug in rtsep.")
    return lag


def probe_reach(model: Model) -> int:
    """Future samples that the model's own output depends on: the wet way's latency without its one current sample.

    Two sounds that differ from sample t on go through two streams, one sample a block; for every place of t in the
    hop the first output that differs is noted. Output n belongs to input n - latency, so it has seen
    latency - (n - t) samples beyond its own. The largest of these is the algorithmic latency - 1.

    Raises RtsepError when an output changes before the input that it is made of has arrived.
    """
    hop = model.spec.hop
    start = 4 * hop
    length = start + model.stream().latency + 2 * hop  # a change at t shows by t + latency
    sound, other = _noise(length), _noise(length, seed=2)
    base, latency = _run(model, sound)
    reach = 0
    for t in range(start, start + hop):
        changed, _ = _run(model, np.concatenate([sound[:t], other[t:]]))
        differs = np.flatnonzero(changed != base)
        if len(differs):
            if differs[0] < t:
                raise RtsepError(
                    f"Output {differs[0]} depends on input {t}, which comes later; this is a bug in rtsep."
                )
            reach = max(reach, latency - int(differs[0] - t))
    return reach


def _run(model: Model, sound: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    stream = model.stream()
    return stream.process(sound), stream.latency


def measure_compute(model: Model, seconds: float) -> dict[str, Any]:
    """Time of Stream.process for each hop of noise, on one thread: microseconds, % of the hop, hops over budget."""
    spec = model.spec
    stream = model.stream(block_multiple=spec.hop)
    hops = max(1000, round(seconds * spec.sample_rate / spec.hop))
    noise = _noise(64 * spec.hop).reshape(64, spec.hop)
    out = np.empty(spec.hop, np.float32)
    times = np.empty(hops, np.int64)
    for index in range(_WARM_UP):
        stream.process(noise[index % 64], out)
    clock, process = time.perf_counter_ns, stream.process
    for index in range(hops):
        block = noise[index % 64]
        start = clock()
        process(block, out)
        times[index] = clock() - start
    budget = 1e9 * spec.hop / spec.sample_rate
    quantiles = {name: float(np.percentile(times, p)) for name, p in _PERCENTILES.items()}
    return {
        "hops": hops,
        "hop_us": budget / 1e3,
        "microseconds": {name: value / 1e3 for name, value in quantiles.items()},
        "percent_of_hop": {name: 100 * value / budget for name, value in quantiles.items()},
        "real_time_factor": float(times.sum() / (hops * budget)),
        "over_budget_share": float((times > budget).mean()),
    }


_FIRST_SOUND = """
import json, sys, time
began = time.perf_counter()
import rtsep
imported = time.perf_counter()
model = rtsep.load(sys.argv[1], sys.argv[2])
loaded = time.perf_counter()
import numpy
stream = model.stream()
stream.process(numpy.zeros(model.spec.hop * 2, numpy.float32))
sounded = time.perf_counter()
print(json.dumps({"import_ms": 1e3 * (imported - began), "load_ms": 1e3 * (loaded - imported),
    "stream_ms": 1e3 * (sounded - loaded), "clock": time.time()}))
"""


def measure_cold_start(model_path: str, backend: str) -> dict[str, float]:
    """ms from starting a fresh Python to the first block out of a stream, in all and in parts.

    numba's compiled kernels are taken from its cache, which this process has filled: the very first run after an
    installation takes longer.
    """
    began = time.time()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _FIRST_SOUND, model_path, backend],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
    except subprocess.SubprocessError as error:
        raise RtsepError(f"The cold start could not be measured: {error}.") from None
    parts = json.loads(done.stdout)
    return {"total_ms": 1e3 * (parts.pop("clock") - began), **parts}


def _noise(length: int, seed: int = 1) -> NDArray[np.float32]:
    return (_LEVEL * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)
