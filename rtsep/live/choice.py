"""`--model auto`: the best shipped model that this machine sustains, by a short benchmark at the start."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rtsep.errors import InputError
from rtsep.model import Model, load, shipped

_HOPS = 300
_SHARE = 0.5  # of a hop that the slowest hundredth of the hops may take: the rest is for everything else


def choose(target: str = "speech", models: Mapping[str, Path] | None = None) -> str:
    """Name of the largest model for ``target`` whose p99 is at most half a hop; if none is, of the quickest.

    Raises InputError when no model for the target is shipped.
    """
    paths = shipped() if models is None else models
    candidates = sorted(paths.items(), key=lambda item: -item[1].stat().st_size)
    shares: dict[str, float] = {}
    for name, path in candidates:
        model = load(path)
        if model.spec.target != target:
            continue
        shares[name] = share_of_hop(model)
        if shares[name] <= _SHARE:
            return name
    if not shares:
        raise InputError(f"No model for {target} is shipped with this version; name an .onnx file with --model.")
    return min(shares, key=lambda name: shares[name])


def share_of_hop(model: Model, hops: int = _HOPS) -> float:
    """p99 of a hop's compute, as a share of the hop."""
    spec = model.spec
    stream = model.stream(block_multiple=spec.hop)
    sound = (0.03 * np.random.default_rng(0).standard_normal(spec.hop)).astype(np.float32)
    out = np.empty_like(sound)
    for _ in range(30):
        stream.process(sound, out)
    times = np.empty(hops)
    for index in range(hops):
        begin = time.perf_counter()
        stream.process(sound, out)
        times[index] = time.perf_counter() - begin
    return float(np.percentile(times, 99)) * spec.sample_rate / spec.hop
