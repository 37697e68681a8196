"""Weights back out of an exported step graph, so that training can go on from a model that is shipped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnx

from rtsep.errors import RtsepError
from rtsep.model import load, shipped
from training import first_step_graphs, weight_layout
from training.checkpoints import load_weights, named_weights
from training.export import load_checkpoint
from training.network import Network
from training.recipe import parse_recipe


def read_beginning(name: str) -> dict[str, Any]:
    """A checkpoint, or what a step graph (.onnx) or a shipped model tells of one; raises ValueError with a sentence."""
    return read_shipped(name) if name.endswith(".onnx") or name in shipped() else load_checkpoint(Path(name))[2]


def read_shipped(name: str | Path) -> dict[str, Any]:
    """What a checkpoint holds, as far as a step graph tells: averaged weights, recipe, and what they were trained on.

    `name` is a path or a shipped model's name. There are no moments in it. Raises ValueError with one sentence if it
    is no step graph of `training.export`, or its batch norms were folded away, which nothing brings back.
    """
    try:
        model = load(name)
        recipe = parse_recipe(model.spec.recipe)
    except (RtsepError, ValueError) as error:
        raise ValueError(f"{name} is not a model to begin from: {error}") from None
    if model.spec.form != "step" or recipe.network.norm != "frame":
        raise ValueError(f"Training begins from step graphs with norms per frame, and {name} is none.")
    network = Network(recipe.network)
    graph = onnx.load(model.path)
    layout = next((each.value for each in graph.metadata_props if each.key == "rtsep.weights"), "")
    try:
        weights = weight_layout.read(layout, graph, network) if layout else first_step_graphs.read(graph, network)
        load_weights(network, weights)
    except ValueError as error:
        raise ValueError(f"The weights of {name} cannot be read back out of it. {error}") from None
    said, _, trained_on = model.spec.trained_on.partition("\n")
    counted = re.match(r"([\d.]+) hours of mixtures, (\d+) steps", said)
    hours, steps = (float(counted[1]), int(counted[2])) if counted else (0.0, 0)
    return {
        "average": named_weights(network),
        "optimizers": [],
        "recipe": model.spec.recipe,
        "trained_on": trained_on,
        "hours": hours,
        "step": steps,
    }
