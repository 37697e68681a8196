"""The recipes of the methods: each can be trained, and every weight of it learns from its losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.network import Network
from training.recipe import read_recipe
from training.recipe_checks import build_objective
from training.tasks import TASKS

RECIPES = sorted((Path(__file__).parents[2] / "training/recipes/methods").glob("*.yaml"))
PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_step_of_the_recipe(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a network of the recipe's form, narrow, on noise: the loss is finite and reaches every output."""
    recipe = read_recipe(file)
    assert capsys.readouterr().err == "" and recipe.name == file.stem
    objective = build_objective(recipe)
    spec = recipe.network
    torch.manual_seed(0)
    network = Network(replace(spec, channels=8, hidden=8))
    task = TASKS[recipe.task]
    places = (2,) if spec.audio_channels == 2 else ()
    samples = round(1.0 * spec.sample_rate / spec.hop) * spec.hop
    sources = torch.randn(2, len(task.sources), *places, samples) * 0.1
    estimates, activity = network.estimate(sources.sum(1))
    loss, parts = objective(estimates, sources, activity=activity)
    loss.backward()
    assert loss.isfinite() and len(parts) == len(recipe.losses)
    assert network.head.project.weight.grad is not None
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in network.parameters())
    touched = network.head.project.weight.grad.abs().sum(1) > 0
    assert touched.float().mean() > 0.9


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_the_recipe_is_documented(file: Path) -> None:
    assert f"training/recipes/methods/{file.name}" in PAGE.read_text("utf-8")
