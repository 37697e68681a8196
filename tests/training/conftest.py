"""A tiny manifest of real recordings, and a network small enough to train in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.data.manifest import Row, read_manifest
from training.data.mix import Mixer, MixSpec
from training.network import NetworkSpec

TINY = Path(__file__).parents[1] / "data" / "tiny" / "manifest.csv"

SMALL = NetworkSpec(analysis_window=512, channels=12, hidden=16, dilations=[1, 2, 4])


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    return read_manifest(TINY)


@pytest.fixture(scope="session")
def mixer(rows: list[Row]) -> Mixer:
    from training.data.bank import build_banks

    train = [row for row in rows if row.split == "train"]
    banks = [build_banks([row for row in train if row.kind == kind], {}, 1.0) for kind in ("speech", "noise")]
    return Mixer(*banks, {}, MixSpec(seconds=1.28), seed=3)


RECIPE = """
name: tiny
target: speech
network: {analysis_window: 512, channels: 12, hidden: 16, dilations: [1, 2, 4]}
data: {rooms: 2, mix: {seconds: 1.28}}
objective: {snr: 0.1, noise: 0.3, spectral: 8.0, intelligibility: 1.0}
training: {seed: 5, batch: 2, hours: 0.004, warmup_steps: 2, learning_rate: 1.0e-2}
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    return file
