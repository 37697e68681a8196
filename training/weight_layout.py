"""Where the weights of a network lie in its step graph, so that training can go on from an ONNX file.

The exporter slices, transposes and renames. So the network is exported once more with its weights numbered: wherever a
number turns up among the constants of the graph, the weight of that number stands in the real one. What is found is
written into the file, for each weight `[axis, runs]`, runs `[first, last, constant, offset, strides]`: `first` to
`last` − 1 along that axis stand in that constant; which one of its values each is, `offset` and the strides say, that
along the axis first.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import numpy as np
import onnx
import torch

from training.checkpoints import load_weights, named_weights
from training.network import Network
from training.onnx_graph import constants

FIRST = 4096  # number of the first weight: no other constant of a graph is that large


def find(network: Network, graph_of: Callable[[Network], onnx.ModelProto]) -> str:
    """The layout of the weights in `graph_of(network)`, as JSON; empty if it cannot be told.

    It can't where weights have gone into each other, as batch norms do, where something was made of them at export, or
    where they are more than float32 can count.
    """
    weights = named_weights(network)
    ends = FIRST + np.cumsum([weight.numel() for weight in weights.values()])
    if ends[-1] >= 1 << 24 or network.spec.norm != "frame":
        return ""
    begins = dict(zip(weights, [FIRST, *ends[:-1]], strict=True))
    numbered = copy.deepcopy(network)
    counted = {
        name: (begins[name] + torch.arange(weight.numel(), dtype=torch.float32)).view(weight.shape)
        for name, weight in weights.items()
    }
    load_weights(numbered, counted)
    place = np.full((ends[-1], 2), -1)  # of each number: which constant, and which of its values
    there = sorted(constants(graph_of(numbered)).items(), key=lambda each: each[1].size)
    names = [name for name, _ in there]
    for index, (_, values) in enumerate(there):  # what stands twice is found in the larger one, where all of it may be
        numbers = values.ravel().astype(np.int64)
        weights_at = np.flatnonzero(numbers >= FIRST)
        place[numbers[weights_at], 0], place[numbers[weights_at], 1] = index, weights_at
    found = {}
    for name, numbers in counted.items():
        places = place[numbers.numpy().astype(np.int64)]
        if (places < 0).any():
            return ""
        for axis in range(numbers.ndim):
            if runs := _runs(np.moveaxis(places, axis, 0)):
                found[name] = [axis, [[begin, end, names[index], *where] for begin, end, index, *where in runs]]
                break
        else:
            return ""
    return json.dumps(found, separators=(",", ":"))


def _runs(places: np.ndarray) -> list[tuple[int, int, int, int, list[int]]]:
    """`places` `[rows, ..., 2]` (constant, value) → rows from and to, constant, offset, strides; empty if irregular."""
    rows, shape = places.reshape(len(places), -1, 2), places.shape[1:-1]
    heads, values = rows[:, 0], places[..., 1]
    inner = np.zeros((len(places), len(shape)), np.int64)  # strides within each row
    for axis, size in enumerate(shape):
        if size > 1:
            inner[:, axis] = values.take(1, axis + 1).reshape(len(places), -1)[:, 0] - heads[:, 1]
    expected = heads[:, 1:] + inner @ np.indices(shape).reshape(len(shape), rows.shape[1])
    if (rows[..., 0] != heads[:, :1]).any() or (rows[..., 1] != expected).any():
        return []
    steps = np.diff(heads[:, 1])
    alike = (np.diff(heads[:, 0]) == 0) & (np.diff(inner, axis=0) == 0).all(1)
    found: list[tuple[int, int, int, int, list[int]]] = []
    begin = 0
    while begin < len(heads):
        end = begin + 1
        while end < len(heads) and alike[end - 1] and steps[end - 1] == steps[begin]:
            end += 1
        step = int(steps[begin]) if end > begin + 1 else 0
        source, first = map(int, heads[begin])
        found.append((begin, end, source, first, [step, *map(int, inner[begin])]))
        begin = end
    return found


def read(layout: str, model: onnx.ModelProto, network: Network) -> dict[str, torch.Tensor]:
    """The weights by their names. Raises ValueError if `layout`, or the graph, does not fit the network."""
    found, there = {}, constants(model)
    try:
        runs = json.loads(layout)
        for name, weight in named_weights(network).items():
            values = np.empty(tuple(weight.shape), np.float32)
            axis, pieces = runs[name]
            rows = np.moveaxis(values, axis, 0)
            for begin, end, constant, offset, strides in pieces:
                grid = np.indices((end - begin, *rows.shape[1:]))
                rows[begin:end] = there[constant].ravel()[offset + np.tensordot(np.array(strides), grid, 1)]
            found[name] = torch.from_numpy(values)
    except (KeyError, IndexError, TypeError, ValueError):
        raise ValueError("Its layout of the weights does not fit its graph.") from None
    return found
