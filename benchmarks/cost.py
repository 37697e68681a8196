"""What a model's file tells about its cost: how many weights it has, and how many products a hop takes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

CARRIED = ("Identity", "Cast", "Transpose", "Flatten", "Reshape")  # what leaves weights what they are


def parameters(path: Path) -> int | None:
    """Floats stored in an ONNX file, of 16 bits too: trained and fixed weights, few constants. None without onnx."""
    try:
        import onnx
    except ModuleNotFoundError:
        return None
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    tensors = onnx.load(str(path)).graph.initializer
    return sum(math.prod(tensor.dims) for tensor in tensors if tensor.data_type in floats)


def multiply_adds(path: Path) -> int | None:
    """Multiply-adds a hop of the products with weights in a graph, counted by running it once. None without onnx.

    What goes element by element is left out: the depthwise taps of ours add about one in a hundred. Of a graph that
    branches by the phase it is the mean over the hops.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        return None
    model = onnx.load(str(path))
    ways = _ways(model.graph.node)
    return round(sum(_products(model, nodes, path.name) for nodes in ways) / len(ways))


def _ways(nodes: Iterable[Any]) -> list[list[Any]]:
    """The nodes that run, for each way through the branches of a graph."""
    import onnx

    ways: list[list[Any]] = [[]]
    for node in nodes:
        if node.op_type != "If":
            continued: list[list[Any]] = [[node]]
        else:
            continued = []
            for branch in (attribute.g for attribute in node.attribute):
                end = onnx.helper.make_node("Identity", [branch.output[0].name], list(node.output))
                continued += [[*way, end] for way in _ways(branch.node)]
        ways = [[*way, *more] for way in ways for more in continued]
    return ways


def _products(model: Any, nodes: list[Any], name: str) -> int:
    """Multiply-adds of `nodes`, which are all that runs of `model`."""
    import onnx
    import onnxruntime

    weights = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    for node in nodes:
        if node.op_type == "Constant" and node.attribute[0].name == "value":  # of what is fixed
            weights[node.output[0]] = math.prod(node.attribute[0].t.dims)
        # Of weights that are used twice the exporter hands one on under another name.
        if node.op_type in CARRIED and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    products = [node for node in nodes if node.op_type in ("MatMul", "Gemm", "Conv")]
    for node in products:
        if node.op_type == "Conv":  # of one channel; what it is correlated with may be no weights
            kernel = next(each.ints for each in node.attribute if each.name == "kernel_shape")
            weights[node.input[1]] = math.prod(kernel)
    if strange := [node.name for node in products if node.input[1] not in weights]:
        raise ValueError(f"{name}: the weights of {', '.join(strange)} are no initializers.")
    flat = onnx.ModelProto()
    flat.CopyFrom(model)
    del flat.graph.node[:], flat.graph.output[:]
    flat.graph.node.extend(nodes)
    flat.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in products)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # weights of the other ways are not used, which is no news
    session = onnxruntime.InferenceSession(flat.SerializeToString(), options, ["CPUExecutionProvider"])
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    found = session.run(None, {each.name: np.zeros(each.shape, kinds[each.type]) for each in session.get_inputs()})
    return sum(
        (out.size if node.op_type == "Conv" else math.prod(out.shape[:-1])) * weights[node.input[1]]
        for out, node in zip(found, products, strict=True)
    )
