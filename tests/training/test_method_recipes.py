"""The recipes of the methods: each can be trained, and every weight of it learns from its losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.losses.codec import CodecNetwork
from training.losses.event_classifier import EventClassifier
from training.network import Network
from training.recipe import read_recipe
from training.recipe_checks import build_objective
from training.tasks import TASKS
from training.tasks.events import ESC10

RECIPES = sorted((Path(__file__).parents[2] / "training/recipes/methods").glob("*.yaml"))
PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


@pytest.fixture
def frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks that two of the recipes listen through, where they look for them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    torch.save(EventClassifier(ESC10, 48000, width=2).packed(), "runs/event-classifier.pt")
    torch.save(CodecNetwork(4, 2).packed("opus", 16), "runs/codec-network.pt")


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
@pytest.mark.usefixtures("frozen")
def test_a_step_of_the_recipe(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a network of the recipe's form, narrow, on noise: the loss is finite and reaches every output."""
    recipe = read_recipe(file)
    assert capsys.readouterr().err == "" and recipe.name == file.stem
    spec = replace(recipe.network, channels=8, hidden=8)
    objective = build_objective(replace(recipe, network=spec))
    torch.manual_seed(0)
    network = Network(spec)
    task = TASKS[recipe.task]
    places = (2,) if spec.audio_channels == 2 else ()
    samples = round(1.0 * spec.sample_rate / spec.hop) * spec.hop
    sources = torch.randn(2, len(task.sources), *places, samples) * 0.1
    estimates, activity, trunk = network.estimate(sources.sum(1))
    loss, parts = objective(estimates, sources, activity=activity, trunk=trunk)
    loss.backward()
    own = objective.own_weights
    assert bool(own) == (recipe.name == "deep-clustering")  # critics and frozen networks do not learn with the network
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in own)
    assert loss.isfinite() and len(parts) == len(recipe.losses)
    assert network.head.project.weight.grad is not None
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in network.parameters())
    touched = network.head.project.weight.grad.abs().sum(1) > 0
    assert touched.float().mean() > 0.9


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_the_recipe_is_documented(file: Path) -> None:
    assert f"training/recipes/methods/{file.name}" in PAGE.read_text("utf-8")
