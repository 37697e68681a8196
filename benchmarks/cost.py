"""What a model's file tells about its cost: how many weights it has, and how many products a hop takes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np


def parameters(path: Path) -> int | None:
    """Float values stored in an ONNX file: the trained parameters and few constants. None without package onnx."""
    try:
        import onnx
    except ModuleNotFoundError:
        return None
    tensors = onnx.load(str(path)).graph.initializer
    return sum(math.prod(tensor.dims) for tensor in tensors if tensor.data_type == onnx.TensorProto.FLOAT)


def multiply_adds(path: Path) -> int | None:
    """Multiply-adds a hop of the products with weights in a graph, counted by running it once. None without onnx.

    What goes element by element is left out: the depthwise taps of ours add about one in a hundred.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        return None
    import onnxruntime

    model = onnx.load(str(path))
    weights = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:  # of weights that are used twice the exporter hands one on under another name
        if node.op_type == "Identity" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]
    if strange := [node.name for node in products if node.input[1] not in weights]:
        raise ValueError(f"{path.name}: the weights of {', '.join(strange)} are no initializers.")
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in products)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {value.name: np.zeros(value.shape, np.float32) for value in session.get_inputs()})
    return sum(math.prod(out.shape[:-1]) * weights[node.input[1]] for out, node in zip(found, products, strict=True))
