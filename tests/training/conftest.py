"""Fixtures on the tiny manifest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.tiny import RECIPE, TINY
from training.data.manifest import Row, read_manifest
from training.data.speech_mixer import Mixer, MixSpec


@pytest.fixture(scope="module", autouse=True)
def small_valid_batches() -> Iterator[None]:
    """A run of a few steps is validated on 8 mixtures: the usual 64 would be most of its work."""
    from training.tasks import events, speech

    with pytest.MonkeyPatch.context() as patch:
        for module in (speech, events):
            patch.setattr(module, "VALID_BATCHES", 2)
            patch.setattr(module, "VALID_SIZE", 4)
        yield


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
