"""What the network of each cell of the ablation costs, all on one machine in one run: weights do not matter for that.

    python -m benchmarks.cell_cost [--seconds S] [--rounds N] [--recipe R.yaml] [--results FOLDER]

Runs of the ablation come from many machines and hours, and their processor times cannot be compared. So the untrained
network of each cell is exported and streamed, all taking turns in short rounds, and the quickest round of each counts.
Writes benchmarks/results/ablation/cost.json, from which the ablation's tables and the window curve take these columns.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train", "bench")

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

import rtsep
from benchmarks.ablation import COST, RECIPE, RESULTS, plan, shape
from benchmarks.cost import multiply_adds
from benchmarks.machine import environment
from benchmarks.throughput import signal
from rtsep.errors import InputError
from training.checkpoints import named_weights
from training.evaluation.evaluate import write_json
from training.export import export
from training.network import Network
from training.one_sentence import one_sentence
from training.recipe import Recipe
from training.recipe_migration import VERSION


def untrained(recipe: Recipe, folder: Path) -> rtsep.Model:
    """The recipe's network as it begins, exported and loaded."""
    torch.manual_seed(0)
    state = {"average": named_weights(Network(recipe.network)), "recipe": recipe.text, "hours": 0.0, "step": 0}
    torch.save(state | {"trained_on": "nothing"}, folder / "checkpoint.pt")
    return rtsep.load(export(folder / "checkpoint.pt", folder / "model.onnx")[0])


def measure(recipes: dict[str, Recipe], seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """`macs_per_s` (products with weights) and `cpu_s_per_s`, the fewest CPU seconds a second of audio, of each recipe.

    The names are what the recipes are called by.
    """
    streams, found = {}, {}
    for name, recipe in recipes.items():
        with tempfile.TemporaryDirectory() as folder:
            model = untrained(recipe, Path(folder))
            spec = model.spec
            products = multiply_adds(model.path)
            assert products is not None  # package onnx is among the extras
            found[name] = {"macs_per_s": products * spec.sample_rate / spec.hop, "cpu_s_per_s": float("inf")}
            streams[name] = model.stream(block_multiple=spec.hop), spec
    for number in range(rounds + 1):
        for name, (stream, spec) in streams.items():
            hops = signal(spec.sample_rate, seconds + spec.hop / spec.sample_rate)
            hops = hops[: len(hops) // spec.hop * spec.hop].reshape(-1, spec.hop)
            begun = time.process_time()
            for hop in hops:
                stream.process(hop)
            taken = (time.process_time() - begun) / (hops.size / spec.sample_rate)
            if number:  # the first round warms up
                found[name]["cpu_s_per_s"] = min(found[name]["cpu_s_per_s"], taken)
    return found


def network_of(recipe: Recipe) -> dict[str, Any]:
    """By what a network is known in the results: its part of a recipe, and the version of that."""
    return {"recipe_version": VERSION, "network": recipe.network.to_dict()}


def main(
    seconds: Annotated[float, typer.Option(min=0.1, help="Sound of a round.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the quickest counts.")] = 10,
    recipe: Annotated[Path, typer.Option(help="The recipe that every cell starts from.")] = RECIPE,
    results: Annotated[Path, typer.Option(help="Folder of the ablation's results.")] = RESULTS,
) -> None:
    """Measure what each cell of the ablation costs."""
    with one_sentence():
        try:
            recipes = {shape(run.recipe): run.recipe for run in plan(1, 1.0, recipe)}  # many cells share a network
            results.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise InputError(str(error)) from None
        found = measure(recipes, seconds, rounds)
        content: dict[str, Any] = {
            "format": 1,
            **environment(),
            "seconds": seconds,
            "rounds": rounds,
            "networks": [{**network_of(recipes[name]), **cost} for name, cost in found.items()],
        }
        write_json(results / COST, content)
        for run in plan(1, 1.0, recipe):
            cost = found[shape(run.recipe)]
            Console().print(
                f"{run.cell}: {cost['macs_per_s'] / 1e9:.3f} GMAC/s, {cost['cpu_s_per_s']:.4f} CPU s a second"
            )


if __name__ == "__main__":
    typer.run(main)
