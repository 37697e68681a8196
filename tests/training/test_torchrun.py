"""`torchrun` with two processes on CPU: each hears mixtures of its own, gradients are averaged, one writes the run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from tests.training.program import HOME
from tests.training.tiny import RECIPE, TINY
from training.checkpoints import exclusive_lock
from training.data.rows import gather_rows
from training.recipe import read_recipe
from training.run_state import RunState
from training.tasks import TASKS

PROCESSES, BATCH, SECONDS = 2, 2, 1.28


def distributed(recipe: Path, run: Path) -> subprocess.CompletedProcess[str]:
    """What a user types who has two processors or GPUs."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(PROCESSES)]
    words = ["-m", "--", "training.train", str(recipe), "--run", str(run), "--data", str(TINY), "--threads", "1"]
    return subprocess.run([*torchrun, *words], cwd=HOME, capture_output=True, text=True, timeout=300)


def gradients(recipe_file: Path, rank: int) -> dict[int, Any]:
    """Of the first step, were `rank` alone."""
    recipe = read_recipe(recipe_file, [])
    task = TASKS[recipe.task](recipe, gather_rows(TINY, [], [], [], 1), None, torch.device("cpu"))
    state = RunState(recipe, "", torch.device("cpu"), Console())
    sources, condition = next(task.batches(0, BATCH, rank, PROCESSES))
    estimates, activity, trunk = state.network.estimate(sources.sum(1), condition)
    loss, _ = state.objective(estimates, sources, state.objective.due(0, 0.0), activity, trunk)
    loss.backward()
    weights = [weight for group in state.optimizers[0].param_groups for weight in group["params"]]
    return {index: weight.grad for index, weight in enumerate(weights)}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """One step of both, whose gradients are not clipped."""
    file = tmp_path / "tiny.yaml"
    hours = f"hours: {PROCESSES * BATCH * SECONDS / 3600}, clip: 1.0e9"
    file.write_text(RECIPE.replace("hours: 0.004", hours), encoding="utf-8")
    return file


def test_two_processes_train_as_one(recipe: Path, tmp_path: Path) -> None:
    done = distributed(recipe, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == [1]
    kept = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert kept["hours"] == pytest.approx(PROCESSES * BATCH * SECONDS / 3600)
    one, two = (gradients(recipe, rank) for rank in range(PROCESSES))
    for index, moments in kept["optimizers"][0]["state"].items():
        mean = (one[index] + two[index]) / 2
        # AdamW's first moment after one step is a tenth of the gradient.
        torch.testing.assert_close(moments["exp_avg"] * 10, mean, rtol=1e-3, atol=1e-6)
        assert not torch.allclose(one[index], two[index], rtol=1e-3, atol=1e-6) or not mean.any()


def test_a_run_that_is_being_trained_is_left_alone_by_all(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text("theirs", encoding="utf-8")
    with exclusive_lock(run):
        done = distributed(recipe, run)
        assert (run / ".lock").exists()
    assert done.returncode != 0 and "Another process is training in" in done.stderr
    assert (run / "recipe.yaml").read_text("utf-8") == "theirs" and not (run / "about.json").exists()
