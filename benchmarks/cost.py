"""What a model's file tells about its cost: how many weights it has, and how many products a hop takes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np


def parameters(path: Path) -> int | None:
    """Float32 values stored in an ONNX file: the trained parameters, few constants. None without package onnx."""
    try:
        import onnx
    except ModuleNotFoundError:
        return None
    tensors = onnx.load(str(path)).graph.initializer
    return sum(math.prod(tensor.dims) for tensor in tensors if tensor.data_type == onnx.TensorProto.FLOAT)


def multiply_adds(path: Path) -> int | None:
    """Multiply-adds a hop of the products with weights in a graph, counted by running it once. None without onnx.

    What goes element by element is left out: the depthwise taps of ours add about one in a hundred. Of a graph that
    branches by the phase it is the mean over the hops.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        return None
    import onnxruntime

    model = onnx.load(str(path))
    weights = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:  # of weights that are used twice the exporter hands one on under another name
        if node.op_type in ("Identity", "Cast") and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]
    if strange := [node.name for node in products if node.input[1] not in weights]:
        raise ValueError(f"{path.name}: the weights of {', '.join(strange)} are no initializers.")
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in products)
    branches = sum(_branches(node, weights) for node in model.graph.node if node.op_type == "If")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    found = session.run(None, {each.name: np.zeros(each.shape, kinds[each.type]) for each in session.get_inputs()})
    always = sum(math.prod(out.shape[:-1]) * weights[node.input[1]] for out, node in zip(found, products, strict=True))
    return always + branches


def _branches(chosen: Any, weights: dict[str, int]) -> int:
    """Mean over the phases of the products of an `If`, and of the one in its second branch; all are of single rows."""
    costs, node = [], chosen
    while node is not None:
        graphs = {attribute.name: attribute.g for attribute in node.attribute}
        costs.append(_products(graphs["then_branch"], weights))
        node = next((each for each in graphs["else_branch"].node if each.op_type == "If"), None)
        if node is None:
            costs.append(_products(graphs["else_branch"], weights))
    return round(sum(costs) / len(costs))


def _products(graph: Any, weights: dict[str, int]) -> int:
    known = dict(weights)
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in known:
            known[node.output[0]] = known[node.input[0]]
    return sum(known[node.input[1]] for node in graph.node if node.op_type in ("MatMul", "Gemm"))
