"""Weights back out of an exported step graph, so that training can go on from a model that is shipped."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from rtsep.errors import RtsepError
from rtsep.model import load, shipped
from training.export import load_checkpoint, step_graph
from training.network import Network
from training.recipe import parse_recipe

FIRST = 4096  # number of the first weight: no other constant of a graph is that large


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
    network.load_state_dict(_weights(network, onnx.load(model.path), str(name)))
    said, _, trained_on = model.spec.trained_on.partition("\n")
    counted = re.match(r"([\d.]+) hours of mixtures, (\d+) steps", said)
    hours, steps = (float(counted[1]), int(counted[2])) if counted else (0.0, 0)
    return {
        "average": network.state_dict(),
        "optimizers": [],
        "recipe": model.spec.recipe,
        "trained_on": trained_on,
        "hours": hours,
        "step": steps,
    }


def _initialisers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """By name. Of those that are alike the exporter keeps one, and hands it on under the names of the others."""
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Identity" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def _weights(network: Network, model: onnx.ModelProto, name: str) -> dict[str, Tensor]:
    """The `state_dict` that the initialisers of `model` were made of.

    The exporter slices, transposes and renames. So the same network is exported once more with its weights numbered:
    wherever a number turns up there, the weight of that number stands in `model`.
    """
    numbered, total = {}, FIRST
    for key, value in network.state_dict().items():
        numbered[key] = torch.arange(total, total + value.numel(), dtype=torch.float32).view(value.shape)
        total += value.numel()
    if total >= 1 << 24:
        raise ValueError(f"{name} has too many weights to be told apart by float32 numbers.")
    network.load_state_dict(numbered)
    numbers, graph = _initialisers(step_graph(network)), _initialisers(model)
    if {key: value.shape for key, value in numbers.items()} != {key: value.shape for key, value in graph.items()}:
        raise ValueError(f"{name} was exported by another version of training.export, or of torch.")
    found = np.full(total, np.nan, np.float32)
    for key, values in numbers.items():
        if key not in ("weight", "offset") and values.dtype == np.float32:
            weights = values >= FIRST
            found[values[weights].astype(np.int64)] = graph[key][weights]
    # What StepForm makes of the first projection, the other way round.
    weight, offset = (graph[key].copy() for key in ("weight", "offset"))
    weight[:, : network.levels] /= 0.7 / math.log(10)
    offset -= 1.5 * weight[:, : network.levels].sum(1)
    for key, values in (("separator.bottleneck.weight", weight), ("separator.bottleneck.bias", offset)):
        found[numbered[key].numpy().astype(np.int64)] = values
    result = {key: torch.from_numpy(found[values.numpy().astype(np.int64)]) for key, values in numbered.items()}
    if lost := [key for key, value in result.items() if not value.isfinite().all()]:
        raise ValueError(f"{lost[0]} cannot be read back out of {name}.")
    return result
