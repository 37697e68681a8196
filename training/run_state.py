"""Everything of a run that its checkpoints hold: weights, their average, moments, what was heard, how far it came."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from rich.console import Console
from torch import Tensor

from rtsep.errors import InputError
from training.bfloat16 import supports_bfloat16
from training.checkpoints import load_weights, named_weights
from training.export import training_amount
from training.losses import Objective
from training.network import Network
from training.network.slow_fast import SlowFast
from training.optimizers import build_optimizers, freeze_weights, loss_optimizers
from training.recipe import Recipe, parse_recipe
from training.recipe_checks import build_objective
from training.weight_ema import WeightEma
from training.weight_transfer import group_sizes, warm_moments, warm_start


def lookahead_dilation(recipe: str) -> int:
    """Of the network of a recipe, a YAML text: up to which dilation its blocks read a tap of the future."""
    return parse_recipe(recipe).network.max_lookahead_dilation


class RunState:
    """A run as it begins: the recipe's network with its optimisers and losses, on `device`.

    Attributes: `network`, `average`, `optimizers`, `objective`; `step` and `spent` (seconds of wall clock); `before`,
    hours and steps of the weights it began with; `trained_on`, what it hears, and heard before; `best` valid loss.
    """

    def __init__(
        self,
        recipe: Recipe,
        trained_on: str,
        device: torch.device,
        console: Console,
        begin: dict[str, Any] | None = None,
    ):
        """`begin` is the checkpoint whose weights and moments a new run goes on from, if there is one."""
        spec = recipe.training
        self.recipe, self.trained_on, self.console = recipe, trained_on, console
        self.step, self.spent, self.best, self.before = 0, 0.0, math.inf, (0.0, 0)
        torch.manual_seed(spec.seed)
        self.network = Network(recipe.network)
        freeze_weights(self.network, spec)
        self.network.mixed = spec.bfloat16 and supports_bfloat16(device)
        if spec.bfloat16 and not self.network.mixed:
            console.print("This processor knows no bfloat16: the separator trains in float32.")
        # The trunk that goes on from piece to piece, if there is one.
        self.trunk = cast(SlowFast, self.network.separator).slow if spec.carried_share else None
        if self.trunk:
            self.trunk.carried_share, self.trunk.draws = spec.carried_share, spec.seed << 32
        self.optimizers: list[Any] = build_optimizers(self.network, spec)
        if begin:
            self._begin_with(begin)
        self.objective: Objective = build_objective(recipe).to(device)
        self.optimizers += loss_optimizers(self.objective.own_weights, spec)
        self.average = WeightEma(self.network.to(device), spec.ema)

    def observe(self, mixtures: Tensor) -> None:
        """Gives the first mixtures, shaped as for the network, to a separator that begins with their statistics."""
        for network in (self.network, self.average.network):
            network.observe(mixtures)

    def _begin_with(self, begin: dict[str, Any]) -> None:
        self.before = training_amount(begin)
        self._add_trained_on(begin)
        old = lookahead_dilation(begin["recipe"])
        warm_start(self.network, begin["average"], old)
        if self._fits(begin):
            for optimizer, kept in zip(self.optimizers, begin["optimizers"], strict=False):
                warm_moments(optimizer, kept, self.network, old)

    def go_on(self, state: dict[str, Any]) -> None:
        """Takes over all of a checkpoint of this run; raises InputError where other weights learnt in it."""
        if not self._fits(state):
            raise InputError(
                "The run was begun with other weights that learn; use another folder and --begin its checkpoint.pt."
            )
        load_weights(self.network, state["weights"])
        load_weights(self.average.network, state["average"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=False):
            optimizer.load_state_dict(kept)
        # A loss may join a run that goes on. What metricgan has learnt was once called `perceptual`.
        learnt = {
            name.replace("perceptual.", "losses.metricgan speech.proxy.", 1)
            if name.startswith("perceptual.")
            else name: value
            for name, value in state.get("objective", {}).items()
        }
        self.objective.load_state_dict(learnt, strict=False)
        if self.trunk and "carried" in state:
            self.trunk.ends, self.trunk.draws = state["carried"]
        self.step, self.spent, self.before = state["step"], state["spent"], state.get("before", self.before)
        self._add_trained_on(state)
        self.console.print(f"Going on from step {self.step}, {self.spent / 60:.1f} min.")
        if parse_recipe(state["recipe"]).same_as(self.recipe):
            self.best = state.get("best", self.best)
        else:  # and its losses may be of another kind
            self.console.print(
                "The recipe differs from the one this run was begun with; the checkpoint will name the new one."
            )

    def checkpoint(self, hours: float, scores: dict[str, float]) -> dict[str, Any]:
        """What a checkpoint holds beside the best loss; `hours` of audio were heard, `scores` are the valid ones."""
        carried = {"carried": (self.trunk.ends, self.trunk.draws)} if self.trunk else {}
        return carried | {
            "weights": named_weights(self.network),
            "average": named_weights(self.average.network),
            "step": self.step,
            "spent": self.spent,
            "hours": hours,
            "before": self.before,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "objective": self.objective.state_dict(),
            "recipe": self.recipe.text,
            "trained_on": self.trained_on,
            "scores": scores,
        }

    def _fits(self, state: dict[str, Any]) -> bool:
        """Whether the moments in `state` are grouped as those of the optimisers here, behind which others may come."""
        here = [group_sizes(optimizer.state_dict()) for optimizer in self.optimizers]
        return [group_sizes(kept) for kept in state["optimizers"]][: len(here)] == here

    def _add_trained_on(self, state: dict[str, Any]) -> None:
        """What was heard before is listed too, licences and all."""
        self.trained_on = "\n".join(sorted({*state["trained_on"].splitlines(), *self.trained_on.splitlines()}))
