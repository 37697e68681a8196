"""What a model is, in plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rtsep.model import load


def describe(name_or_path: str | Path) -> dict[str, Any]:
    """The facts of one model from its metadata: rate in Hz, latency in samples and ms, size in MB (10^6 bytes).

    Raises InputError when there is no such model.
    """
    model = load(name_or_path)
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
