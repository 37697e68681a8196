"""Before records are made of a graph: what is needed, what may go together, and what must go hop by hop."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.compiled.onnx_file import Graph, Node

DEPTHWISE = "Depthwise"  # a node of ours: newest row -> convolution over it and the layer's past, and a PReLU


def taken(node: Node) -> list[str]:
    """Names that a node takes; those that the branches of an `If` take from around them, too."""
    names = [name for name in node.inputs if name]
    for value in node.attributes.values():
        if isinstance(value, Graph):
            made = {name for inner in value.nodes for name in inner.outputs} | set(value.initialisers)
            names += [name for inner in value.nodes for name in taken(inner) if name not in made]
            names += [output.name for output in value.outputs if output.name not in made]
    return names


def needed(nodes: list[Node], wanted: list[str]) -> list[Node]:
    """Those of `nodes` that `wanted` values come of, in order."""
    names, kept = set(wanted), []
    for node in reversed(nodes):
        if names.intersection(node.outputs):
            kept.append(node)
            names.update(taken(node))
    return kept[::-1]


def hop_by_hop(nodes: list[Node], sources: set[str], sinks: set[str]) -> tuple[list[Node], list[Node], list[Node]]:
    """Nodes before, within and after what goes from hop to hop: on a way from `sources` to `sinks`, or a branch.

    Those before and after may run for many hops at once.
    """
    after, branches = set(sources), set(sinks)
    for node in nodes:
        if after.intersection(taken(node)):
            after.update(node.outputs)
            if node.op in ("If", "Where"):
                branches.update(node.outputs)
    before = set(branches)
    for node in reversed(nodes):
        if before.intersection(node.outputs):
            before.update(taken(node))
    within = [node for node in nodes if after.intersection(node.outputs) and before.intersection(node.outputs)]
    rest = [node for node in nodes if not any(node is each for each in within)]
    late = [node for node in rest if after.intersection(node.outputs)]
    return [node for node in rest if not any(node is each for each in late)], within, late


@dataclass
class _Layer:
    nodes: list[Node]
    result: Node


def join_depthwise(
    graph: Graph, constants: dict[str, NDArray[Any]], layers: int, reach: int, hidden: int
) -> list[Node] | None:
    """The nodes, where each layer's convolution has become one node `Depthwise`; None if it is written otherwise.

    As training.network writes it: products of all taps at once, summed, + bias, split by layer; then for each layer the
    newest row × its weights + that, and mostly a PReLU. The newest rows together are the output `column`.
    """
    nodes = graph.nodes
    maker = {name: node for node in nodes for name in node.outputs}
    uses = Counter(name for node in nodes for name in taken(node))
    uses.update(output.name for output in graph.outputs)
    takers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in taken(node):
            takers.setdefault(name, []).append(node)

    def only_taker(name: str, op: str) -> Node | None:
        found = takers.get(name, [])
        return found[0] if uses[name] == 1 and found[0].op == op else None

    def fixed(node: Node, shape: tuple[int, ...]) -> NDArray[Any] | None:
        """The constant among the two inputs of a node, if it fits `shape`."""
        for name in node.inputs:
            if name in constants and np.broadcast_shapes(constants[name].shape, shape) == shape:
                return np.broadcast_to(constants[name], shape)
        return None

    times = only_taker("taps", "Mul")
    summed = only_taker(times.outputs[0], "ReduceSum") if times else None
    shifted = only_taker(summed.outputs[0], "Add") if summed else None
    parted = only_taker(shifted.outputs[0], "Split") if shifted else None
    column = maker.get("column")
    if not (times and summed and shifted and parted and column):
        return None
    weights, bias = fixed(times, (layers, reach, hidden)), fixed(shifted, (layers, hidden))
    axes = constants.get(summed.inputs[1]) if len(summed.inputs) > 1 else None
    sizes = constants.get(parted.inputs[1]) if len(parted.inputs) > 1 else None
    if weights is None or bias is None or axes is None or axes.tolist() not in ([1], [-2]) or sizes is None:
        return None
    if summed.attributes.get("keepdims", 1) or parted.attributes.get("axis", 0) or sizes.tolist() != [1] * layers:
        return None
    if column.op != "Concat" or column.attributes.get("axis") != 0 or len(column.inputs) != layers:
        return None

    gone = {id(node) for node in (times, summed, shifted, parted)}
    found: dict[int, Node] = {}
    for layer, (past, newest) in enumerate(zip(parted.outputs, column.inputs, strict=True)):
        added = only_taker(past, "Add")
        other = next((maker.get(name) for name in added.inputs if name != past), None) if added else None
        if not added or not other or other.op != "Mul" or newest not in other.inputs or uses[other.outputs[0]] != 1:
            return None
        now = fixed(other, (1, hidden))
        activated = only_taker(added.outputs[0], "PRelu")
        slope = constants.get(activated.inputs[1]) if activated else None
        last = activated if activated and slope is not None and slope.size == 1 else added
        if now is None:
            return None
        joined = {"layer": layer, "weights": np.concatenate([weights[layer], now]), "bias": bias[layer]}
        joined["slope"] = float(slope.reshape(-1)[0]) if last is activated and slope is not None else 1.0
        gone.update((id(other), id(added)))
        found[id(last)] = Node(DEPTHWISE, [newest], list(last.outputs), joined)
    return [found.get(id(node), node) for node in nodes if id(node) in found or id(node) not in gone]
