"""A run's folder keeps the best and the last, and lets one process in."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from rtsep.errors import InputError
from training.checkpoints import exclusive_lock, save_checkpoint


def steps(run: Path) -> tuple[int, int]:
    """Of the last checkpoint and of the best."""
    last, best = (torch.load(run / name, weights_only=True)["step"] for name in ("checkpoint.pt", "best.pt"))
    return last, best


def test_the_best_stays_when_the_last_gets_worse(tmp_path: Path) -> None:
    best = math.inf
    for step, (loss, expected) in enumerate(((2.0, 0), (1.0, 1), (math.nan, 1), (1.5, 1), (-1.0, 4), (-0.5, 4))):
        best = save_checkpoint(tmp_path, {"step": step}, loss, best)
        assert steps(tmp_path) == (step, expected)
    assert best == -1.0
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["best"] == -1.0  # a run that goes on knows it
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best.pt", "checkpoint.pt"]


def test_nothing_finite_is_no_best(tmp_path: Path) -> None:
    assert save_checkpoint(tmp_path, {"step": 0}, math.nan, math.inf) == math.inf
    assert not (tmp_path / "best.pt").exists()


def test_a_second_process_is_turned_away(tmp_path: Path) -> None:
    with (
        exclusive_lock(tmp_path),
        pytest.raises(InputError, match="Another process is training in"),
        exclusive_lock(tmp_path),
    ):
        raise AssertionError("entered")
    with exclusive_lock(tmp_path):  # and is let in when the first has gone
        pass
