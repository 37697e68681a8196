"""The models that pages choose from."""

from __future__ import annotations

from typing import Any

from rtsep.errors import RtsepError
from rtsep.karaoke.song_parts import FALLBACK, TARGET
from rtsep.live import choices
from rtsep.model import installed, load, shipped


def speech_models() -> list[dict[str, Any]]:
    """The shipped models for speech: name, algorithmic latency in ms, rate in Hz, whether they can move a gate."""
    return _models(choices.TARGET, list(shipped()))


def song_models() -> list[dict[str, Any]]:
    """The models that take vocals out of songs; ``live``: whether they can do it with what is playing elsewhere."""
    return _models(TARGET, [*shipped(), *installed(), FALLBACK])


def _models(target: str, names: list[str]) -> list[dict[str, Any]]:
    found = []
    for name in names:
        try:
            model = load(name)
        except RtsepError:  # one that was added and is broken; `rtsep models` says how
            continue
        spec = model.spec
        if spec.target == target:
            latency = 1000 * spec.algorithmic_latency / spec.sample_rate
            gates = bool(getattr(spec, "activity", None))
            found.append({"name": name, "ms": latency, "rate": spec.sample_rate, "gates": gates, "live": model.streams})
    return found
