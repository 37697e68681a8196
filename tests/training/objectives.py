"""Objectives as recipes build them, from entries as they stand in YAML."""

from __future__ import annotations

from typing import Any

from training.losses import LOSSES, Objective, Setup, read_losses

SPEECH, SONGS = ("speech", "noise"), ("accompaniment", "vocals")

SPEECH_LOSSES: list[dict[str, Any]] = [
    {"loss": "snr", "of": "speech", "weight": 0.1},
    {"loss": "snr", "of": "noise", "weight": 0.03},
    {"loss": "compressed_spectrum", "of": "speech", "weight": 8.0},
    {"loss": "one_minus_estoi", "of": "speech", "weight": 0.5},
]

SONG_LOSSES: list[dict[str, Any]] = [
    {"loss": "snr", "of": "accompaniment", "weight": 0.1},
    {"loss": "snr", "of": "vocals", "weight": 0.05},
    {
        "loss": "compressed_spectrum",
        "of": ["accompaniment", "vocals"],
        "weight": 5.0,
        "windows": [2048, 512],
        "overlap": 0.0,
    },
]


def objective(entries: list[dict[str, Any]], sources: tuple[str, ...] = SPEECH, **setup: Any) -> Objective:
    """`setup` are fields of `Setup`; references are the sources unless it says otherwise."""
    return Objective(read_losses(entries, LOSSES), Setup(sources, **({"references": sources} | setup)))
