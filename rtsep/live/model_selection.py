"""`--model auto`: the best shipped model that this machine sustains, by a short benchmark at the start."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rtsep.engine.enhance import BACKEND
from rtsep.errors import InputError
from rtsep.model import Model, ModelFile, load, look_at, shipped

_HOPS, _WARM_UP = 300, 10
_SHARE = 0.5  # of a hop that the slowest hundredth of the hops may take: the rest is for everything else
# The worker runs at real-time priority: what other programs took meanwhile is no part of its time. Elsewhere the
# system's figure is too coarse.
_clock = time.thread_time if sys.platform == "linux" else time.perf_counter


def choose(target: str = "speech", models: Mapping[str, Path] | None = None) -> str:
    """Name of the best model for ``target`` whose p99 is at most half a hop; if none is, of the quickest.

    Best is the one with the most multiply-adds a second: the shipped models are one design in several sizes. Models
    that need a condition or look ahead are left out. Raises InputError when no model for the target is shipped.
    """
    paths = shipped() if models is None else models
    files = {name: look_at(path) for name, path in paths.items()}
    able = {
        name: file
        for name, file in files.items()
        if file.streams and file.spec.target == target and not file.spec.condition and not file.spec.lookahead
    }
    shares: dict[str, float] = {}
    for name in sorted(able, key=lambda name: -work(able[name])):
        shares[name] = share_of_hop(load(able[name].path, BACKEND))
        if shares[name] <= _SHARE:
            return name
    if not shares:
        raise InputError(f"No model for {target} is shipped with this version; name an .onnx file with --model.")
    return min(shares, key=lambda name: shares[name])


def work(model: Model | ModelFile) -> float:
    """Multiply-adds a second, as far as the file tells: every weight, of 4 bytes, is used once a hop."""
    return model.path.stat().st_size / 4 * model.spec.sample_rate / model.spec.hop


def share_of_hop(model: Model, hops: int = _HOPS) -> float:
    """p99 of a hop's compute, as a share of the hop; of fewer hops where enough were too slow to say so."""
    spec = model.spec
    stream = model.stream(channels=spec.channels, block_multiple=spec.hop)
    sound = (0.03 * np.random.default_rng(0).standard_normal((spec.hop, spec.channels))).astype(np.float32)
    out = np.empty_like(sound)
    for _ in range(_WARM_UP):
        stream.process(sound, out)
    shares: list[float] = []
    while len(shares) < hops and sum(share > _SHARE for share in shares) <= hops / 100:
        begin = _clock()
        stream.process(sound, out)
        shares.append((_clock() - begin) * spec.sample_rate / spec.hop)
    return float(np.percentile(shares, 99))
