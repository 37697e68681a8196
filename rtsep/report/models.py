"""What a model is, in plain values."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from rtsep.engine.enhance import BACKEND
from rtsep.engine.segments import Segments
from rtsep.model import SpectralModel, load, look_at


def describe(name_or_path: str | Path) -> dict[str, Any]:
    """The facts of one model from its metadata: rate in Hz, latency in samples and ms, size in MB (10^6 bytes).

    Raises InputError when there is no such model.
    """
    model = look_at(name_or_path)
    spec = model.spec
    return {
        "name": spec.name,
        "version": spec.version,
        "target": spec.target,
        "sources": list(spec.sources),
        "form": spec.form,
        "sample_rate": spec.sample_rate,
        "channels": spec.channels,
        "hop": spec.hop,
        "algorithmic_latency": spec.algorithmic_latency,
        "algorithmic_latency_ms": 1000 * spec.algorithmic_latency / spec.sample_rate,
        "megabytes": 0.0 if spec.form == "baseline" else model.path.stat().st_size / 1e6,
        "licence": spec.licence,
        "trained_on": spec.trained_on,
        "weights_sha256": spec.weights_sha256,
        "path": str(model.path),
    }


def share_of_core(name_or_path: str | Path, hops: int = 100) -> float:
    """Time that one hop of one stream takes here over the time that it lasts; the median of ``hops``.

    Of a separator of songs: a segment, over what it brings the song forward.

    Raises InputError when there is no such model.
    """
    model = load(name_or_path, BACKEND)
    if isinstance(model, SpectralModel):
        return _share_of_segments(model)
    spec, step = model.spec, model.step()
    window = np.random.default_rng(1).standard_normal((spec.channels, spec.analysis_window)).astype(np.float32)
    took = []
    for _ in range(20 + hops):
        begin = time.perf_counter()
        step.step(window)
        took.append(time.perf_counter() - begin)
    return float(np.median(took[20:])) * spec.sample_rate / spec.hop


def _share_of_segments(model: SpectralModel) -> float:
    rate, separator = model.spec.sample_rate, model.segment_separator(model.spec.sample_rate)
    shape = (separator.length, model.spec.channels)
    sound = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    took = []
    for _ in range(2):  # the first run takes longer
        begin = time.perf_counter()
        separator.separate(sound)
        took.append(time.perf_counter() - begin)
    return min(took) * rate / Segments(model.spec, rate).step
