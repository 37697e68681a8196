"""Modules to ONNX graphs: traced, with the modules of `Phases` as branches."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from rtsep.engine.compiled.record_writer import are_halves
from training.network.phases import BRANCHES, Phases

OPSET = 17
LEAST_HALF = 4096  # numbers in an initialiser: fewer are not worth a node


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph in order, those within branches after the node that they belong to."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from all_nodes(attribute.g)


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Every float32 initialiser by its name.

    Of those that are alike the exporter keeps one, and hands it on under the names of the others.
    """
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in all_nodes(model.graph):
        if node.op_type in ("Identity", "Cast") and node.input[0] in found:
            value = found[node.input[0]]
            found[node.output[0]] = value.astype(np.float32) if value.dtype == np.float16 else value
    return {name: value for name, value in found.items() if value.dtype == np.float32}


def to_onnx(
    module: nn.Module, inputs: tuple[Tensor, ...], names: tuple[Sequence[str], Sequence[str]]
) -> onnx.ModelProto:
    """The graph of `module` for inputs of these shapes, constants folded; `names` of the inputs and the outputs."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the TorchScript exporter is deprecated, but its graphs have fewer nodes
        torch.onnx.export(
            module.eval(),
            inputs,
            buffer,  # type: ignore[arg-type]
            input_names=list(names[0]),
            output_names=list(names[1]),
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    phases = [part for part in module.modules() if isinstance(part, Phases)]
    places = [node for node in model.graph.node if node.op_type == BRANCHES]
    for node, part in zip(places, phases, strict=True):
        _branch(model, node, part)
    kept = [each for each in model.opset_import if each.domain != "rtsep"]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def keep_half(model: onnx.ModelProto) -> None:
    """Float32 initialisers that are float16 numbers throughout are kept as such, half as long; a `Cast` widens them.

    No value changes. What is fixed by design, a bank of filters, can be rounded for it; what was learnt hardly ever is.
    """
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < LEAST_HALF:
            continue
        value = numpy_helper.to_array(tensor)
        if are_halves(value):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}/half"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _branch(model: onnx.ModelProto, place: onnx.NodeProto, phases: Phases) -> None:
    """Puts an `If` a phase, one inside the other, in the place of a node; the branches' weights lie in `model`."""
    *outer, phase = place.input
    inputs = tuple(torch.zeros(shape) for shape in phases.shapes)
    graphs = []
    for number, branch in enumerate(phases.branches):
        named = [f"input{index}" for index in range(len(inputs))]
        made = onnx.compose.add_prefix(to_onnx(branch, inputs, (named, ["next"])), f"{place.output[0]}/{number}/")
        given = dict(zip((value.name for value in made.graph.input), outer, strict=True))
        for node in made.graph.node:  # what a branch takes in it finds around it
            node.input[:] = [given.get(name, name) for name in node.input]
        model.graph.initializer.extend(made.graph.initializer)
        graphs.append(helper.make_graph(made.graph.node, f"phase {number}", [], made.graph.output))
    rest = graphs.pop()
    for number, graph in reversed(list(enumerate(graphs))):
        nodes = _if(model, place, phase, number, graph, rest)
        output = helper.make_tensor_value_info(nodes[-1].output[0], onnx.TensorProto.FLOAT, inputs[-1].shape)
        rest = helper.make_graph(nodes, f"phase {number} or later", [], [output])
    rest.node[-1].output[0] = place.output[0]
    at = list(model.graph.node).index(place)
    nodes = [*model.graph.node[:at], *rest.node, *model.graph.node[at + 1 :]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _if(
    model: onnx.ModelProto,
    place: onnx.NodeProto,
    phase: str,
    number: int,
    then_graph: onnx.GraphProto,
    else_graph: onnx.GraphProto,
) -> list[onnx.NodeProto]:
    name = f"{place.output[0]}/{number}/"
    model.graph.initializer.append(numpy_helper.from_array(np.array(number, np.int64), name + "number"))
    test = helper.make_node("Equal", [phase, name + "number"], [name + "now"])
    chosen = helper.make_node(
        "If", [name + "now"], [name + "following"], then_branch=then_graph, else_branch=else_graph
    )
    return [test, chosen]
