"""The moving average of the weights, which is what is validated and exported, and the steps that must not move any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor

from tests.training.tiny import RECIPE, SMALL
from training.checkpoints import load_weights
from training.data.manifest import Row
from training.network import Network
from training.recipe import Recipe, parse_recipe
from training.run_logger import RunLogger
from training.run_state import RunState
from training.tasks import TASKS
from training.train import train
from training.weight_ema import WeightEma

DEVICE = torch.device("cpu")


def test_an_average_follows_by_its_decay() -> None:
    network = Network(SMALL)
    average = WeightEma(network, 0.9)
    first = [weight.clone() for weight in network.parameters()]
    with torch.no_grad():
        for weight in network.parameters():
            weight += 1.0
    average.update(network, 1)  # (1 + 1) / (10 + 1) is less than 0.9: in the beginning it follows faster
    for before, now in zip(first, average.network.parameters(), strict=True):
        torch.testing.assert_close(now, before + 9 / 11, rtol=0, atol=1e-6)
    average.update(network, 1000)
    for before, now in zip(first, average.network.parameters(), strict=True):
        torch.testing.assert_close(now, before + 1 - 0.1 * 2 / 11 - (0.9 - 0.1) * 2 / 11, rtol=0, atol=1e-6)


def short_run(rows: list[Row], folder: Path, steps: int) -> tuple[Recipe, RunState, Callable[[], None]]:
    """A run of the tiny recipe, and what trains it for so many steps in all."""
    hours = steps * 2 * 1.28 / 3600
    text = RECIPE.replace("hours: 0.004", f"hours: {hours - 1e-7}")
    recipe = parse_recipe(text)
    assert recipe.training.hours == pytest.approx(hours, rel=1e-3)
    task = TASKS[recipe.task](recipe, [row for row in rows if row.split != "test"], None, DEVICE)
    state = RunState(recipe, "", DEVICE, Console(quiet=True))
    fabric = Fabric(accelerator="cpu", devices=1)

    def go() -> None:
        with RunLogger(folder, Console(quiet=True)) as logger:
            train(recipe, task, folder, state, None, fabric, logger)

    return recipe, state, go


def test_what_is_kept_is_the_average_and_not_the_last_step(rows: list[Row], tmp_path: Path) -> None:
    _, state, go = short_run(rows, tmp_path, 3)
    go()
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    last, average = Network(SMALL), Network(SMALL)
    load_weights(last, kept["weights"])
    load_weights(average, kept["average"])
    pairs = list(zip(last.parameters(), average.parameters(), strict=True))
    assert any((one - other).abs().max() > 1e-4 for one, other in pairs)
    for mine, kept_weight in zip(state.average.network.parameters(), average.parameters(), strict=True):
        assert torch.equal(mine, kept_weight)


def test_the_average_of_a_run_that_goes_on_from_a_trained_network_does_not_begin_anew(
    rows: list[Row], tmp_path: Path
) -> None:
    """After 100,000 steps before it, two more move the average by a thousandth of the way each."""
    _, state, go = short_run(rows, tmp_path, 2)
    state.before = (500.0, 100_000)
    begun = [weight.clone() for weight in state.average.network.parameters()]
    go()
    decay = state.recipe.training.ema
    assert decay > 0.9
    for before, average, last in zip(
        begun, state.average.network.parameters(), state.network.parameters(), strict=True
    ):
        farthest = (last - before).abs().max()  # of two steps in about the same direction
        assert (average - before).abs().max() <= 2 * (1 - decay) * farthest + 1e-7


def test_a_gradient_that_is_not_finite_moves_no_weight(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, state, go = short_run(rows, tmp_path, 2)
    before = [weight.clone() for weight in state.network.parameters()]
    calm = state.objective.forward

    def spoilt(estimates: Tensor, *rest: object, **more: object) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = calm(estimates, *rest, **more)  # type: ignore[arg-type]
        # Zero, with a gradient of zero times infinity.
        return loss + (estimates * 0).square().sum().sqrt(), parts

    monkeypatch.setattr(state.objective, "forward", spoilt)
    go()
    assert state.step == 2
    for weight, kept in zip(state.network.parameters(), before, strict=True):
        assert torch.equal(weight, kept)
