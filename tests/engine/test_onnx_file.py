"""The reader of ONNX files against package onnx, on shipped and odd files, whole and broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import Network
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from rtsep.engine.compiled.onnx_file import Graph, OnnxError, read
from rtsep.model import shipped


def assert_same(found: Graph, expected: onnx.GraphProto) -> None:
    assert [node.op for node in found.nodes] == [node.op_type for node in expected.node]
    for node, other in zip(found.nodes, expected.node, strict=True):
        assert (node.inputs, node.outputs) == (list(other.input), list(other.output))
        assert set(node.attributes) == {attribute.name for attribute in other.attribute}
        for attribute in other.attribute:
            value: Any = helper.get_attribute_value(attribute)
            mine = node.attributes[attribute.name]
            if isinstance(value, onnx.GraphProto):
                assert_same(mine, value)
            elif isinstance(value, onnx.TensorProto):
                assert_equal(mine, numpy_helper.to_array(value))
            elif isinstance(value, bytes):
                assert mine == value.decode()
            else:
                assert mine == value
    assert set(found.initialisers) == {tensor.name for tensor in expected.initializer}
    for tensor in expected.initializer:
        assert_equal(found.initialisers[tensor.name], numpy_helper.to_array(tensor))


def assert_equal(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("path", shipped().values(), ids=lambda path: path.stem)
def test_models_are_read_as_onnx_reads_them(path: Path) -> None:
    model, found = onnx.load(path), read(path.read_bytes())
    assert_same(found.graph, model.graph)
    assert found.metadata == {entry.key: entry.value for entry in model.metadata_props}
    assert found.opset == model.opset_import[0].version
    for values, infos in ((found.graph.inputs, model.graph.input), (found.graph.outputs, model.graph.output)):
        assert [value.name for value in values] == [info.name for info in infos]
        shapes = [[dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in infos]
        assert [value.shape for value in values] == shapes
    assert {value.type for value in found.graph.inputs} <= {"tensor(float)", "tensor(int64)"}


def test_every_way_to_write_a_tensor() -> None:
    tensors = [
        helper.make_tensor("floats", TensorProto.FLOAT, [2, 2], [1.5, -2.0, 0.0, 3e-9]),
        helper.make_tensor("whole", TensorProto.INT64, [3], [1, -5, 2**40]),
        helper.make_tensor("small", TensorProto.INT32, [2], [7, -1]),
        helper.make_tensor("truth", TensorProto.BOOL, [3], [True, False, True]),
        helper.make_tensor("doubles", TensorProto.DOUBLE, [2], [0.1, -1e300]),
        helper.make_tensor("scalar", TensorProto.FLOAT, [], [0.25]),
        numpy_helper.from_array(np.zeros((0, 3), np.float32), "empty"),
        numpy_helper.from_array(np.array([[0.1, -65504.0, 6e-8]], np.float16), "halves"),
        helper.make_tensor("bits of halves", TensorProto.FLOAT16, [2], [-0.25, 3.5]),
    ]
    node = helper.make_node("Identity", ["floats"], ["y"], ints=[1, -2], floats=[0.5], text="word", number=-3)
    graph = helper.make_graph([node], "odd", [], [helper.make_tensor_value_info("y", 1, ["free", 2])], tensors)
    found = read(helper.make_model(graph).SerializeToString())
    assert_same(found.graph, graph)
    assert found.graph.outputs[0].shape == [-1, 2]


def test_what_is_not_read_is_refused() -> None:
    words = numpy_helper.from_array(np.array(["a", "b"], object), "text")
    foreign = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")
    for graph, said in (
        (helper.make_graph([], "g", [], [], [words]), "text"),
        (helper.make_graph([foreign], "g", [], []), "com.microsoft"),
    ):
        with pytest.raises(OnnxError, match=said):
            read(helper.make_model(graph).SerializeToString())


@given(data=st.binary(max_size=200))
def test_garbage_is_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(OnnxError):
        read(data)


@given(share=st.floats(0, 0.999))
def test_a_file_cut_short_is_refused(share: float) -> None:
    data = Network().step_graph().SerializeToString()
    with pytest.raises(OnnxError):
        read(data[: int(share * len(data))])
