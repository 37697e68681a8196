"""Fixtures on the tiny manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.tiny import RECIPE, TINY
from training.data.manifest import Row, read_manifest
from training.data.speech_mixer import Mixer, MixSpec


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    return read_manifest(TINY)


@pytest.fixture(scope="session")
def mixer(rows: list[Row]) -> Mixer:
    from training.data.clip_store import build_banks

    train = [row for row in rows if row.split == "train"]
    banks = [build_banks([row for row in train if row.kind == kind], {}, 1.0) for kind in ("speech", "noise")]
    return Mixer(*banks, {}, MixSpec(seconds=1.28), seed=3)


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    return file
