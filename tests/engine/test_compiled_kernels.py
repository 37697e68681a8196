"""Every operator that is compiled against its twin in numpy and against onnxruntime, on views of all kinds."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from graphs import Network
from onnx import TensorProto, helper, numpy_helper

from rtsep.engine.compiled.compiler import UnsupportedError, compile_model, pack
from rtsep.engine.compiled.onnx_file import read
from rtsep.engine.compiled.operators import OPERATORS
from rtsep.engine.compiled.processor import widens_halves
from rtsep.engine.compiled.step import CompiledStep
from rtsep.model_spec import ModelSpec

SIZE = 240  # of the window
Nodes = list[tuple[str, list[Any], dict[str, Any]]]
rng = np.random.default_rng(0)


def values(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def halves(*shape: int) -> np.ndarray:
    """float32 that float16 has, very small ones too."""
    return (values(*shape) * 10.0 ** rng.uniform(-7, 0, shape)).astype(np.float16).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def graph_of(nodes: Nodes) -> tuple[onnx.ModelProto, int]:
    """A model: the nodes one after the other, `"x"` being what the one before made, then all in one row as `frames`."""
    made, constants = [], []
    last = "window"
    for number, (op, inputs, attributes) in enumerate([*nodes, ("Reshape", ["x", whole(1, 1, -1)], {})]):
        names = []
        for place, value in enumerate(inputs):
            if isinstance(value, np.ndarray):
                constants.append(numpy_helper.from_array(value, f"c{number}_{place}"))
                names.append(constants[-1].name)
            else:
                names.append(last if value == "x" else value)
        last = "frames" if number == len(nodes) else f"y{number}"
        made.append(
            helper.make_node(op, names, [last, *(f"more{number}_{i}" for i in range(attributes.pop("more", 0)))])
        )
        made[-1].attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
    window = helper.make_tensor_value_info("window", TensorProto.FLOAT, [1, SIZE])
    free = helper.make_tensor_value_info("frames", TensorProto.FLOAT, [1, 1, "size"])
    graph = helper.make_graph(made, "one", [window], [free], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return model, session.run(None, {"window": np.zeros((1, SIZE), np.float32)})[0].size


def spec_of(size: int, models: Any, window: int = SIZE) -> ModelSpec:
    plain = models(Network(hop=16, analysis_window=64, synthesis_window=32, sources=("speech",))).spec
    return replace(plain, hop=size, analysis_window=window, synthesis_window=size, dilations=(), hidden=0)


def in_numpy(model: onnx.ModelProto, window: np.ndarray) -> np.ndarray:
    graph = read(model.SerializeToString()).graph
    known: dict[str, Any] = {"": None, "window": window, **graph.initialisers}
    for node in graph.nodes:
        with np.errstate(divide="ignore"):
            found = OPERATORS[node.op](*(known[name] for name in node.inputs), **node.attributes)
        known |= dict(zip(node.outputs, found, strict=True))
    return known["frames"]


TURNED: Nodes = [("Reshape", ["x", whole(4, 6, 10)], {}), ("Transpose", ["x"], {"perm": [2, 0, 1]})]
BACKWARDS: Nodes = [("Slice", ["x", whole(-1), whole(-(2**63) + 1), whole(1), whole(-1)], {})]
EVERY_THIRD: Nodes = [("Slice", ["x", whole(1), whole(2**63 - 1), whole(1), whole(3)], {})]
EVERY_SECOND: Nodes = [("Slice", ["x", whole(0), whole(SIZE), whole(1), whole(2)], {})]
ROWS: Nodes = [("Reshape", ["x", whole(8, 30)], {})]
VIEWS = {"as it is": [], "turned": TURNED, "backwards": BACKWARDS, "every third": EVERY_THIRD, "rows": ROWS}
FLAT: Nodes = [("Reshape", ["x", whole(-1)], {})]
LINE: Nodes = [("Reshape", ["x", whole(1, 1, SIZE)], {})]
INTEGERS: Nodes = [("Mul", ["x", np.array(10, np.float32)], {}), ("Cast", ["x"], {"to": TensorProto.INT64})]
TO_FLOAT: Nodes = [("Cast", ["x"], {"to": TensorProto.FLOAT})]
INSIDE: Nodes = [
    *INTEGERS,
    ("Max", ["x", whole(-SIZE)], {}),
    ("Min", ["x", whole(SIZE - 1)], {}),
]  # indices of a window
POSITIVE: Nodes = [("Mul", ["x", "x"], {}), ("Add", ["x", np.array(1e-3, np.float32)], {})]

CASES: dict[str, Nodes] = {}
for name, view in VIEWS.items():
    for op in ("Sigmoid", "Tanh", "Exp", "Neg", "Relu", "Abs", "Round"):
        CASES[f"{op}, {name}"] = [*view, (op, ["x"], {})]
    for op in ("Log", "Sqrt", "Reciprocal"):
        CASES[f"{op}, {name}"] = [*POSITIVE, *view, (op, ["x"], {})]
    for op in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
        CASES[f"{op} of a number, {name}"] = [*view, (op, ["x", np.array(1.25, np.float32)], {})]
    CASES[f"Clip, {name}"] = [*view, ("Clip", ["x", np.array(-0.5, np.float32), np.array(0.75, np.float32)], {})]
    CASES[f"PRelu, {name}"] = [*view, ("PRelu", ["x", np.array([0.3], np.float32)], {})]
    CASES[f"Mul by itself, {name}"] = [*view, ("Mul", ["x", "x"], {})]
    CASES[f"Div of 1, {name}"] = [*POSITIVE, *view, ("Div", [np.ones(1, np.float32), "x"], {})]
CASES |= {
    "Mul along the last axis": [*TURNED, ("Mul", ["x", values(6)], {})],
    "Add along a middle axis": [*TURNED, ("Add", ["x", values(4, 1)], {})],
    "Sub along the first axis": [*TURNED, ("Sub", [values(10, 1, 1), "x"], {})],
    "PRelu, a slope a channel": [*ROWS, ("PRelu", ["x", values(30)], {})],
    "outer sum": [*ROWS, ("Slice", ["x", whole(0), whole(1), whole(0)], {}), ("Add", ["x", values(5, 1)], {})],
    "LayerNormalization": [("LayerNormalization", ["x", values(SIZE), values(SIZE)], {"epsilon": 1e-3})],
    "LayerNormalization of rows": [*ROWS, ("LayerNormalization", ["x", values(30), values(30)], {})],
    "LayerNormalization, turned, no offset": [*TURNED, ("LayerNormalization", ["x", values(6)], {"axis": -1})],
    "ReduceSum of two": [("Reshape", ["x", whole(2, 120)], {}), ("ReduceSum", ["x", whole(0)], {"keepdims": 0})],
    "ReduceSum of a middle axis": [*TURNED, ("ReduceSum", ["x", whole(1)], {"keepdims": 1})],
    "ReduceSum of two axes": [("Reshape", ["x", whole(2, 30, 4)], {}), ("ReduceSum", ["x", whole(0, -1)], {})],
    "ReduceSum of many": [*ROWS, ("ReduceSum", ["x", whole(1)], {"keepdims": 0})],
    "ReduceSum of many, turned": [*TURNED, ("ReduceSum", ["x", whole(0)], {"keepdims": 1})],
    "ReduceSum of all": [*ROWS, ("ReduceSum", ["x"], {})],
    "ReduceSum of one": [("Unsqueeze", ["x", whole(0)], {}), ("ReduceSum", ["x", whole(0)], {"keepdims": 0})],
    **{
        f"ReduceSum of {count} neighbours": [
            ("Reshape", ["x", whole(-1, count)], {}),
            ("ReduceSum", ["x", whole(1)], {"keepdims": count % 2}),
        ]
        for count in (2, 3, 5, 6, 8)
    },
    **{
        f"{op} of neighbours": [
            *[*EVERY_SECOND, ("Slice", ["window", whole(1), whole(SIZE), whole(1), whole(2)], {})],
            (op, ["y0", "x"], {}),
        ]
        for op in ("Add", "Sub", "Max", "Div")
    },
    **{
        f"{op} of one value and many": [
            ("Slice", ["x", whole(3), whole(4), whole(1)], {}),
            (op, ["x", "window"], {}),
        ]
        for op in ("Add", "Mul", "Sub", "Min")
    },
    "Concat": [*ROWS, ("Concat", ["x", values(2, 30), "x"], {"axis": 0})],
    "Concat of the last axis": [*TURNED, ("Concat", ["x", values(10, 4, 3)], {"axis": -1}), ("Neg", ["x"], {})],
    "Concat of pairs": [
        *[("Reshape", ["x", whole(2, 120)], {}), ("Transpose", ["x"], {"perm": [1, 0]})],
        ("Concat", ["x", values(120, 3), "x"], {"axis": 1}),
    ],
    "Concat of overlapping windows": [
        *[("Reshape", ["x", whole(24, 10)], {}), ("Slice", ["x", whole(0, 0), whole(23, 5)], {})],
        *[("Slice", ["y0", whole(0, 5), whole(23, 10)], {}), ("Slice", ["y0", whole(1, 0), whole(24, 5)], {})],
        *[("Concat", ["y1", "y2", "x"], {"axis": 1}), ("MatMul", ["x", values(15, 20)], {})],
    ],
    "Concat of neighbours, others and neighbours": [
        *[*ROWS, ("Split", ["x", whole(11, 4, 15)], {"axis": 1, "more": 2}), ("Neg", ["more1_0"], {})],
        ("Concat", ["y1", "more1_0", "x", "more1_0", "more1_1", "y1"], {"axis": -1}),
    ],
    "Concat of what was split": [
        *[*BACKWARDS, *FLAT, ("Split", ["x", whole(7, 33, 200)], {"more": 2})],
        *[("Concat", ["x", "more2_0", "more2_1"], {"axis": 0}), ("Exp", ["x"], {})],
    ],
    "Concat of rows, the other way round": [
        *[*ROWS, ("Split", ["x", whole(3, 5)], {"more": 1}), ("Concat", ["more1_0", "x"], {"axis": 0})],
    ],
    "Split": [*ROWS, ("Split", ["x", whole(11, 0, 19)], {"axis": 1, "more": 2}), ("Neg", ["x"], {})],
    "Gather": [*TURNED, ("Gather", ["x", np.array(-2, np.int64)], {"axis": 1}), ("Neg", ["x"], {})],
    "Gather of one value": [*FLAT, ("Gather", ["x", np.array(7, np.int64)], {}), ("Neg", ["x"], {})],
    "Squeeze": [("Squeeze", ["x", whole(0)], {}), ("Neg", ["x"], {})],
    "Expand": [("Reshape", ["x", whole(24, 1, 10)], {}), ("Expand", ["x", whole(24, 3, 10)], {}), ("Neg", ["x"], {})],
    "Flatten": [*TURNED, ("Flatten", ["x"], {"axis": 2})],
    "MatMul": [("MatMul", ["x", values(SIZE, 17)], {})],
    "MatMul of rows": [*ROWS, ("MatMul", ["x", values(30, 50)], {})],
    "MatMul, turned": [*TURNED, ("MatMul", ["x", values(6, 65)], {})],
    "MatMul, backwards": [*BACKWARDS, ("MatMul", ["x", values(SIZE, 129)], {})],
    "MatMul by halves": [("MatMul", ["x", halves(SIZE, 70)], {})],
    "MatMul of rows by halves": [*ROWS, ("MatMul", ["x", halves(30, 50)], {})],
    "MatMul of two rows": [("Reshape", ["x", whole(2, 120)], {}), ("MatMul", ["x", values(120, 65)], {})],
    "MatMul of three rows by halves": [("Reshape", ["x", whole(3, 80)], {}), ("MatMul", ["x", halves(80, 129)], {})],
    "MatMul by halves, a sum and a PRelu": [
        *[*TURNED, ("MatMul", ["x", halves(6, 65)], {}), ("Add", [values(65), "x"], {})],
        ("PRelu", ["x", np.array([[0.25]], np.float32)], {}),
    ],
    "MatMul and a sum": [("MatMul", ["x", values(SIZE, 40)], {}), ("Add", ["x", values(40)], {})],
    "MatMul, a sum and a PRelu": [
        *ROWS,
        ("MatMul", ["x", values(30, 40)], {}),
        ("Add", [values(1, 40), "x"], {}),
        ("PRelu", ["x", np.array([[-0.2]], np.float32)], {}),
    ],
    "MatMul and a residual": [("MatMul", ["x", values(SIZE, SIZE)], {}), ("Add", ["window", "x"], {})],
    "Gemm": [("Gemm", ["x", values(SIZE, 33), values(33)], {"alpha": 0.5, "beta": -2.0})],
    "Gemm, weights turned": [*ROWS, ("Gemm", ["x", values(48, 30), values(48)], {"transB": 1})],
    "Gemm, one bias, a PRelu": [
        ("Gemm", ["x", values(SIZE, 100), values(1)], {}),
        ("PRelu", ["x", np.array([0.1], np.float32)], {}),
    ],
    "Gemm, a bias and a residual": [
        ("Gemm", ["x", values(SIZE, SIZE), values(SIZE)], {}),
        ("Add", ["x", "window"], {}),
    ],
    "Gemm and a sum of another shape": [("Gemm", ["x", values(SIZE, 8)], {}), ("Add", ["x", values(3, 8)], {})],
    "Round of halves": [
        *[("Mul", ["x", np.array(2, np.float32)], {}), ("Round", ["x"], {})],
        *[("Mul", ["x", np.array(0.5, np.float32)], {}), ("Round", ["x"], {})],
    ],
    "Clip from below": [("Clip", ["x", np.array(0.1, np.float32)], {})],
    "Clip from above": [("Clip", ["x", "", np.array(0.1, np.float32)], {})],
    "Cast and back": [*INTEGERS, *TO_FLOAT],
    "Cast to int32, from int64 and turned": [*INTEGERS, *TURNED, ("Cast", ["x"], {"to": TensorProto.INT32}), *TO_FLOAT],
    "Cast of float to float": [*TO_FLOAT],
    "Cast leaves one zero": [
        *[*INTEGERS, ("Neg", ["x"], {}), *TO_FLOAT, ("Reciprocal", ["x"], {})],
        ("Clip", ["x", np.array(-2, np.float32), np.array(2, np.float32)], {}),
    ],
    "Add, Sub, Mul, Min and Max of integers": [
        *INTEGERS,
        *[("Add", ["x", whole(3)], {}), ("Sub", [whole(*range(SIZE)), "x"], {}), ("Mul", ["x", whole(-7)], {})],
        *[("Min", ["x", whole(900)], {}), ("Max", ["x", np.array(-900, np.int64)], {}), ("Abs", ["x"], {}), *TO_FLOAT],
    ],
    "Add of int32": [
        ("Cast", ["x"], {"to": TensorProto.INT32}),
        ("Add", ["x", np.array([2**24 - 100], np.int32)], {}),
        *[("Sub", ["x", np.array([2**24 - 100], np.int32)], {}), *TO_FLOAT],
    ],
    "Concat of integers": [*INTEGERS, ("Concat", ["x", whole(1, 2, 3).reshape(1, 3), "x"], {"axis": 1}), *TO_FLOAT],
    "ReduceSum of integers": [*INTEGERS, ("ReduceSum", ["x"], {}), *TO_FLOAT],
    "ArgMax": [("ArgMax", ["x"], {"axis": -1}), *TO_FLOAT],
    "ArgMax of the only axis": [
        *FLAT,
        ("ArgMax", ["x"], {"keepdims": 0}),
        ("Unsqueeze", ["x", whole(0)], {}),
        *TO_FLOAT,
    ],
    "ArgMax of a scalar's neighbours": [
        *[*FLAT, ("ArgMax", ["x"], {"axis": 0, "keepdims": 1}), ("Squeeze", ["x", whole(0)], {})],
        *[("Add", ["x", whole(-1, 0, 1)], {}), *TO_FLOAT],
    ],
    "ArgMax of rows": [*ROWS, ("ArgMax", ["x"], {"axis": 1, "keepdims": 0}), *TO_FLOAT],
    "ArgMax, turned": [*TURNED, ("ArgMax", ["x"], {"axis": -1, "keepdims": 1}), *TO_FLOAT],
    "ArgMax of equals": [("Round", ["x"], {}), *ROWS, ("ArgMax", ["x"], {"axis": -1}), *TO_FLOAT],
    "ArgMax of integers": [*INTEGERS, *BACKWARDS, ("ArgMax", ["x"], {"axis": 1}), *TO_FLOAT],
    "Gather of the last axis": [*INSIDE, ("Gather", ["window", "x"], {"axis": 1})],
    "Gather by a scalar": [
        *[*FLAT, ("ArgMax", ["x"], {"keepdims": 0}), ("Gather", ["y0", "x"], {}), ("Neg", ["x"], {})],
    ],
    "Gather of what lies backwards": [
        *[*FLAT, ("Slice", ["x", whole(-1), whole(-(2**63) + 1), whole(0), whole(-1)], {})],
        *[("Neg", ["window"], {}), *INSIDE, *TURNED, ("Gather", ["y1", "x"], {"axis": 0})],
    ],
    "Gather out of a table": [*INSIDE, ("Gather", [values(SIZE), "x"], {})],
    "Gather out of a table of integers": [*INSIDE, ("Gather", [whole(*range(3, SIZE + 3)), "x"], {}), *TO_FLOAT],
    "Gather of integers": [*INSIDE, *FLAT, ("Gather", ["x", "x"], {}), *TO_FLOAT],
    "Conv": [*LINE, ("Conv", ["x", values(1, 1, 100)], {})],
    "Conv as it is exported": [
        *LINE,
        *[("Conv", ["x", values(1, 1, 180)], {"dilations": [1], "group": 1, "kernel_shape": [180], "pads": [0, 0]})],
    ],
    "Conv of few lags": [*LINE, ("Conv", ["x", values(1, 1, SIZE - 14)], {"strides": [1]})],
    "Conv of one lag": [*LINE, ("Conv", ["x", values(1, 1, SIZE)], {})],
    "Conv of one tap": [*LINE, ("Conv", ["x", values(1, 1, 1)], {})],
    **{
        f"Conv of {taps} ones": [*LINE, ("Conv", ["x", np.ones((1, 1, taps), np.float32)], {})]
        for taps in (1, 2, 7, 128, SIZE)
    },
    "Conv by its own end": [
        *[*LINE, ("Slice", ["x", whole(110), whole(SIZE), whole(2)], {}), ("Conv", ["y0", "x"], {})],
    ],
    "Conv of what lies backwards by every third": [
        *[*LINE, ("Slice", ["x", whole(0), whole(SIZE), whole(2), whole(3)], {})],
        *[("Slice", ["y0", whole(-1), whole(-(2**63) + 1), whole(2), whole(-1)], {}), ("Conv", ["x", "y1"], {})],
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_a_node_gives_what_numpy_and_onnxruntime_give(models: Any, name: str) -> None:
    model, size = graph_of([(op, inputs, dict(attributes)) for op, inputs, attributes in CASES[name]])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    step = CompiledStep(compile_model(read(model.SerializeToString()), spec_of(size, models)), hops=3)
    for scale in (1.0, 0.01, 30.0):
        window = (scale * values(1, SIZE)).clip(-80, 80)  # exp: where infinity begins, two may differ by a bit
        expected = session.run(None, {"window": window})[0]
        found = step.step(window)
        bound = 2e-6 * max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(in_numpy(model, window), expected, rtol=1e-5, atol=bound)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=bound)
        others = values(3, 1, SIZE)
        others[1] = window
        np.testing.assert_array_equal(step.many(others)[1], step.step(window))


def test_weights_are_read_as_halves_where_they_are_and_where_the_processor_widens_them(
    models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rtsep.engine.compiled import compiler

    def program(weights: np.ndarray) -> Any:
        model, size = graph_of([("MatMul", ["x", weights], {})])
        return compile_model(read(model.SerializeToString()), spec_of(size, models))

    window = values(1, SIZE)
    few = halves(SIZE, 64)
    few[3, 5] = 0.0  # and what float16 would make a zero of is no half
    small = few.copy()
    small[3, 5] = 1e-9
    off, large = few.copy(), few.copy()
    off[7, 9], large[7, 9] = 1 + 2**-11, 1e5  # float16 has neither
    with np.errstate(all="raise"):
        sizes = [program(weights).weights.nbytes for weights in (few, off, large, small)]
    full = few.nbytes
    assert full <= sizes[1] == sizes[2] == sizes[3]
    here = CompiledStep(program(few)).step(window).copy()
    monkeypatch.setattr(compiler, "widens_halves", lambda: False)
    elsewhere = program(few)
    np.testing.assert_array_equal(CompiledStep(elsewhere).step(window), here)
    assert elsewhere.weights.nbytes == sizes[1]
    if widens_halves():
        assert sizes[1] - sizes[0] == full // 2


@pytest.fixture(scope="module")
def kernels() -> ModuleType:
    """Where it is first asked for, as it is compiled when it is imported: not by every process that collects tests."""
    from rtsep.engine.compiled import kernels

    return kernels


def test_functions_over_all_they_meet(kernels: ModuleType) -> None:
    x = np.concatenate([np.linspace(-120, 120, 200_001), [0.0, -0.0, np.nan, np.inf, -np.inf]]).astype(np.float32)
    exact = x.astype(np.float64)
    with np.errstate(all="ignore"):
        for function, expected in (
            (kernels.SIGMOID, 1 / (1 + np.exp(-exact))),
            (kernels.TANH, np.tanh(exact)),
        ):
            np.testing.assert_allclose(computed(kernels, function, x), expected, rtol=0, atol=3e-7)
        inside = (np.abs(x) < 87) | np.isnan(x)
        np.testing.assert_allclose(computed(kernels, kernels.EXP, x[inside]), np.exp(exact[inside]), rtol=3e-7)
        positive = np.exp(np.linspace(-87, 88, 100_001)).astype(np.float32)
        np.testing.assert_allclose(
            computed(kernels, kernels.LOG, positive), np.log(positive.astype(np.float64)), rtol=2e-7, atol=1e-7
        )
        ends = np.array([0.0, -1.0, np.nan, np.inf, 1.0], np.float32)
        np.testing.assert_array_equal(computed(kernels, kernels.LOG, ends), np.log(ends))
    assert computed(kernels, kernels.TANH, np.zeros(20, np.float32)).tolist() == [0.0] * 20


def computed(kernels: ModuleType, function: int, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    kernels.unary(function, x.ctypes.data, 1, y.ctypes.data, 1, len(x))
    return y


@pytest.mark.parametrize("depth", [1, 2, 129, 260])
@pytest.mark.parametrize("outputs", [1, 15, 16, 17, 33, 49, 64, 80, 129])
def test_a_product_has_the_same_bits_for_any_number_of_rows_and_for_halves(
    kernels: ModuleType, depth: int, outputs: int
) -> None:
    matrix, x = halves(depth, outputs), values(11, depth)
    vectors = -(-outputs // kernels.VECTOR)
    width = vectors * kernels.VECTOR

    def product(rows: np.ndarray, half: bool = False) -> np.ndarray:
        packed, y = pack(matrix, half), np.full((len(rows), width), np.nan, np.float32)
        (kernels.product_of_halves if half else kernels.product)(
            *(packed.ctypes.data, rows.ctypes.data, 1, depth, y.ctypes.data, width),
            *(len(rows), depth, vectors),
        )
        return y[:, :outputs]

    whole_ = product(x)
    assert 2 * pack(matrix, half=True).nbytes == pack(matrix).nbytes
    if widens_halves():
        np.testing.assert_array_equal(product(x, half=True), whole_)
    np.testing.assert_allclose(whole_, x.astype(np.float64) @ matrix, rtol=0, atol=1e-6 * depth)
    for count in range(1, 11):
        np.testing.assert_array_equal(product(np.ascontiguousarray(x[:count])), whole_[:count])


@pytest.mark.parametrize("reach", [1, 2, 3])
def test_a_depthwise_convolution_equals_its_twin(kernels: ModuleType, reach: int) -> None:
    hidden, dilation, hops, slope = 37, 3, 25, np.float32(0.2)
    x, weights, bias = values(hops, hidden), values(reach + 1, hidden), values(hidden)
    history, y = np.zeros((reach * dilation, hidden), np.float32), np.empty((hops, hidden), np.float32)
    for hop in range(hops):
        kernels.depthwise(
            *(x[hop].ctypes.data, weights.ctypes.data, bias.ctypes.data, y[hop].ctypes.data, slope),
            *(history.ctypes.data, dilation, reach, hop, hidden),
        )
    past = np.concatenate([np.zeros((reach * dilation, hidden), np.float32), x])
    summed = bias + sum(past[tap * dilation :][:hops] * weights[tap] for tap in range(reach + 1))
    np.testing.assert_allclose(y, np.where(summed >= 0, summed, summed * slope), rtol=0, atol=2e-6)


@pytest.mark.parametrize("taps", [1, 2, 33, 128])
@pytest.mark.parametrize("lags", [1, 15, 16, 17, 35, 63, 64, 65, 87, 129])
def test_a_correlation_equals_its_twin_and_keeps_to_its_place(kernels: ModuleType, lags: int, taps: int) -> None:
    x, weights = values(lags + taps - 1), values(taps)
    y = np.full(lags + 2, np.nan, np.float32)
    kernels.correlate(x.ctypes.data, weights.ctypes.data, y[1:].ctypes.data, lags, taps)
    exact = np.correlate(x.astype(np.float64), weights.astype(np.float64), "valid")
    np.testing.assert_allclose(y[1:-1], exact, rtol=0, atol=1e-6 * taps)
    assert np.isnan(y[[0, -1]]).all()


def test_a_gather_reads_nothing_outside_whatever_the_index(kernels: ModuleType) -> None:
    around = np.concatenate([[np.nan], np.arange(5), [np.nan]]).astype(np.float32)
    asked = {0: 0, 4: 4, -1: 4, -5: 0, 5: 4, -6: 0, 1e30: 4, -1e30: 0, np.inf: 4, -np.inf: 0, np.nan: 0, 2**63: 4}
    index = np.array(list(asked), np.float32)
    y = np.full(len(index), np.nan, np.float32)
    kernels.gather(around[1:].ctypes.data, 1, 5, index.ctypes.data, y.ctypes.data, len(index))
    assert y.tolist() == list(asked.values())


def test_the_largest_is_the_first_of_equals_and_always_there(kernels: ModuleType) -> None:
    for line in ([1, 3, 2, 3], [-np.inf] * 3, [2], [0.0, -0.0, -1], [1, np.nan, 4], [np.nan, np.nan]):
        x = np.array(line, np.float32)
        found = kernels.largest(x.ctypes.data, 1, len(x))
        assert 0 <= found < len(x)
        assert np.isnan(x).any() or found == np.argmax(x)
        twice = np.repeat(x, 2)
        assert kernels.largest(twice.ctypes.data, 2, len(x)) == found


def conv(weights: np.ndarray, *more: np.ndarray, **attributes: Any) -> Nodes:
    return [*LINE, ("Conv", ["x", weights, *more], attributes)]


FEW = values(1, 1, 9)
ONE_CHANNEL = "operator Conv is compiled for one channel, without bias, padding, stride or dilation"
REFUSED: list[tuple[str, Nodes]] = [
    ("operator Softmax", [("Softmax", ["x"], {})]),
    ("fixed weights", [*ROWS, ("MatMul", [values(5, 8), "x"], {})]),
    ("several indices", [("Gather", ["x", whole(3, 1)], {"axis": 1})]),
    ("last axis", [*ROWS, ("LayerNormalization", ["x", values(8, 30)], {"axis": 0})]),
    (ONE_CHANNEL, conv(FEW, pads=[1, 1])),
    (ONE_CHANNEL, conv(FEW, strides=[2])),
    (ONE_CHANNEL, conv(FEW, dilations=[2])),
    (ONE_CHANNEL, conv(FEW, auto_pad="SAME_UPPER")),
    (ONE_CHANNEL, conv(FEW, values(1))),
    (ONE_CHANNEL, conv(values(2, 1, 9))),
    (ONE_CHANNEL, [("Reshape", ["x", whole(1, 2, -1)], {}), ("Conv", ["x", values(1, 2, 9)], {})]),
    (ONE_CHANNEL, [("Reshape", ["x", whole(1, 2, -1)], {}), ("Conv", ["x", values(2, 1, 9)], {"group": 2})]),
    (ONE_CHANNEL, [("Reshape", ["x", whole(1, 1, 2, -1)], {}), ("Conv", ["x", values(1, 1, 2, 9)], {})]),
    ("operator ArgMax is compiled for the last axis", [*ROWS, ("ArgMax", ["x"], {"axis": 0}), *TO_FLOAT]),
    ("first of equal values", [("ArgMax", ["x"], {"axis": 1, "select_last_index": 1}), *TO_FLOAT]),
    ("values of one axis", [*INSIDE, *FLAT, ("Min", ["x", whole(3)], {}), ("Gather", [values(4, 2), "x"], {})]),
    ("operator Div of integers", [*INTEGERS, ("Div", ["x", whole(3)], {}), *TO_FLOAT]),
    ("operator Div of integers", [*INTEGERS, ("Max", [whole(1), "x"], {}), ("Div", [whole(9), "x"], {}), *TO_FLOAT]),
    ("operator MatMul of integers", [*INTEGERS, ("MatMul", ["x", np.ones((SIZE, 3), np.int64)], {}), *TO_FLOAT]),
    ("integers of 2\\^24 and more", [*INTEGERS, ("Add", ["x", whole(2**24)], {}), *TO_FLOAT]),
    ("integers of 2\\^24 and more", [*INTEGERS, ("Mul", ["x", whole(-(2**63))], {}), *TO_FLOAT]),
    (
        "operator Cast is compiled for float32, int32 and int64",
        [("Cast", ["x"], {"to": TensorProto.DOUBLE}), *TO_FLOAT],
    ),
    (
        "by what changes",
        [*INSIDE, *FLAT, *[("Slice", ["x", whole(0), whole(1)], {}), ("Slice", ["y0", whole(0), "x"], {})]],
    ),
]


@pytest.mark.parametrize(("words", "nodes"), REFUSED)
def test_what_is_not_compiled_is_named(models: Any, words: str, nodes: Nodes) -> None:
    model, size = graph_of([(op, inputs, dict(attributes)) for op, inputs, attributes in nodes])
    with pytest.raises(UnsupportedError, match=words):
        compile_model(read(model.SerializeToString()), spec_of(size, models))


PHASES = """
<ir_version: 9, opset_import: ["" : 17]>
phases (float[1,240] window, int64 phase) => (float[1,1,240] frames)
<int64 now = {1}, int64[3] frame = {1, 1, -1}, int64[1] one = {1}>
{
    test = Equal(phase, now)
    integers = Cast<to = 7>(window)
    made = BRANCH
    other = OPERATOR(made, one)
    number = Cast<to = 1>(other)
    frames = Reshape(number, frame)
}
"""
WHERE = "Where(test, integers, one)"
IF = """If(test) <
    then_branch = yes () => (int64[1,240] taken) { taken = Add(integers, one) },
    else_branch = no () => (int64[1,240] negative) { negative = Neg(integers) }
>"""


@pytest.mark.parametrize("branch", [WHERE, IF])
def test_integers_that_depend_on_the_phase_are_integers(models: Any, branch: str) -> None:
    spec = replace(spec_of(SIZE, models), slow_rate=2)
    text = PHASES.replace("BRANCH", branch)
    model = onnx.parser.parse_model(text.replace("OPERATOR", "Sub"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    step = CompiledStep(compile_model(read(model.SerializeToString()), spec))
    for phase in (0, 1, 0, 1):
        window = 30 * values(1, SIZE)
        expected = session.run(None, {"window": window, "phase": np.array(phase, np.int64)})[0]
        np.testing.assert_array_equal(step.step(window), expected)
    refused = onnx.parser.parse_model(text.replace("OPERATOR", "Div")).SerializeToString()
    with pytest.raises(UnsupportedError, match="operator Div of integers"):
        compile_model(read(refused), spec)
