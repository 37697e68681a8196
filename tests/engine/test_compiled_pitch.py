"""The operators of a search for the pitch period, all in one graph: a correlation, its peak, and the sound before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from graphs import Network
from onnx import numpy_helper, parser

import rtsep
from rtsep.engine.compiled.compiler import compile_model
from rtsep.engine.compiled.onnx_file import read
from rtsep.engine.compiled.step import CompiledStep
from rtsep.engine.many_streams import Engine
from tests.engine.test_compiled_kernels import spec_of
from tests.streams import noise

WINDOW, NEWEST, OLDEST = 512, 128, 256  # samples; periods from the second to the third are searched
LAGS, FRAME = OLDEST - NEWEST + 1, 32
HOPS = 40
# `past` [256] ends where the newest 128 samples begin. From the peak of the normalised correlation, moved by a parabola
# through its neighbours to the whole number nearest to the true maximum, one frame of sound is read.
GRAPH = """
<ir_version: 9, opset_import: ["" : 17]>
pitch (float[1,512] window) => (float[1,1,194] frames)
<float loud = {100}, float low = {-127}, float high = {127}, float one = {1}, float half = {0.5},
 int64[1] begin = {128}, int64[1] middle = {384}, int64[1] end = {512}, int64[1] zero = {0}, int64[2] front = {0, 1},
 int64[1] first = {1}, int64[1] last = {128}, int64[3] around = {0, 1, 2}, int64 a = {0}, int64 b = {1}, int64 c = {2},
 int64[1] all = {-1}, int64[3] frame = {1, 1, -1}>
{
    flat = Reshape(window, all)
    scaled = Mul(flat, loud)
    rounded = Round(scaled)
    whole = Clip(rounded, low, high)
    newest = Slice(whole, middle, end, zero)
    past = Slice(whole, begin, middle, zero)
    pattern = Unsqueeze(newest, front)
    line = Unsqueeze(past, front)
    product = Conv<dilations = [1], group = 1, kernel_shape = [128], pads = [0, 0], strides = [1]>(line, pattern)
    squares = Mul(line, line)
    energy = Conv(squares, ones)
    safe = Add(energy, one)
    ratio = Div(product, safe)
    ratios = Squeeze(ratio, front)
    score = Sub(ratios, bias)
    inner = Slice(score, first, last, zero)
    peak = ArgMax<axis = -1, keepdims = 0, select_last_index = 0>(inner)
    peaks = Unsqueeze(peak, zero)
    places = Add(peaks, around)
    neighbours = Gather<axis = 0>(score, places)
    left = Gather<axis = 0>(neighbours, a)
    top = Gather<axis = 0>(neighbours, b)
    right = Gather<axis = 0>(neighbours, c)
    rise = Sub(left, right)
    sum = Add(left, right)
    twice = Add(top, top)
    bend = Sub(sum, twice)
    bent = Sub(bend, one)
    slope = Div(rise, bent)
    moved = Mul(slope, half)
    place = Add(peak, b)
    number = Cast<to = 1>(place)
    single = Add(number, moved)
    exact = Unsqueeze(single, zero)
    nearest = Round(exact)
    start = Cast<to = 7>(nearest)
    indices = Add(start, samples)
    sound = Gather<axis = 0>(flat, indices)
    told = Cast<to = 1>(indices)
    found = Concat<axis = 0>(sound, told, exact)
    products = Squeeze(product, front)
    made = Concat<axis = 0>(found, products)
    frames = Reshape(made, frame)
}
"""
EXACT = 2 * FRAME  # the sound, the indices, then the place before it is rounded, then the products


def pitch_graph() -> onnx.ModelProto:
    model = parser.parse_model(GRAPH)
    constants = {
        "ones": np.ones((1, 1, NEWEST), np.float32),
        "bias": np.linspace(0, 0.05, LAGS, dtype=np.float32),
        "samples": np.arange(NEWEST, NEWEST + FRAME),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.checker.check_model(model)
    return model


def windows(count: int) -> np.ndarray:
    """Tones of periods inside and outside those that are searched, in noise; then noise, a pulse and silence."""
    draw = np.random.default_rng(3)
    found = 0.1 * draw.standard_normal((count, 1, WINDOW))
    periods = np.linspace(100, 300, count)[:, None, None]
    phase = 2 * np.pi * np.arange(WINDOW) / periods
    found[3:] += 0.4 * (np.sin(phase) + 0.5 * np.sin(2 * phase))[3:]
    found[1] = 0
    found[1, 0, 200] = 1
    found[2] = 0
    return found.astype(np.float32)


@pytest.fixture(scope="module")
def step(models: Any) -> CompiledStep:
    program = compile_model(read(pitch_graph().SerializeToString()), spec_of(EXACT + 1 + LAGS, models, WINDOW))
    return CompiledStep(program, HOPS)


def test_the_graph_equals_onnxruntime(step: CompiledStep) -> None:
    session = onnxruntime.InferenceSession(pitch_graph().SerializeToString(), providers=["CPUExecutionProvider"])
    starts = set()
    for window in windows(HOPS):
        expected = session.run(None, {"window": window})[0][0, 0]
        found = step.step(window)[0, 0]
        np.testing.assert_array_equal(found[:EXACT], expected[:EXACT])
        np.testing.assert_allclose(found[EXACT], expected[EXACT], rtol=1e-6)
        np.testing.assert_array_equal(found[EXACT + 1 :], expected[EXACT + 1 :])
        starts.add(found[FRAME])
    assert len(starts) > HOPS // 2


def test_many_hops_at_once_give_the_same_bits(step: CompiledStep) -> None:
    alone = np.stack([step.step(window).copy() for window in windows(HOPS)])
    np.testing.assert_array_equal(step.many(windows(HOPS)), alone)


@pytest.fixture(scope="module")
def path(models: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose first source gets the sound one period earlier added to it."""
    network = Network(analysis_window=WINDOW, synthesis_window=FRAME, state=5)
    model, part = onnx.load(models(network).path), pitch_graph()
    last = next(node for node in model.graph.node if "frames" in node.output)
    last.output[list(last.output).index("frames")] = "without"
    used = {name for node in model.graph.node for name in (*node.input, *node.output)} - {"window"}
    used |= {constant.name for constant in model.graph.initializer}
    nodes = [node for node in part.graph.node if not {"told", "made", "frames"} & set((*node.input, *node.output))]
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [name if name in ("window", "") else f"pitch.{name}" for name in names]
    assert not used & {name for node in nodes for name in node.output}
    for constant in part.graph.initializer:
        constant.name = f"pitch.{constant.name}"
    model.graph.initializer.extend(part.graph.initializer)
    shape = numpy_helper.from_array(np.array([1, 1, FRAME], np.int64), "pitch.shape")
    model.graph.initializer.append(shape)
    nodes.append(onnx.helper.make_node("Reshape", ["pitch.sound", "pitch.shape"], ["pitch.early"]))
    nodes.append(onnx.helper.make_node("Add", ["without", "pitch.early"], ["frames"]))
    model.graph.node.extend(nodes)
    file = tmp_path_factory.mktemp("pitch") / "pitch.onnx"
    onnx.save(model, file)
    return file


def tones(streams: int, samples: int) -> np.ndarray:
    """[streams, samples, 1] float32: each of a pitch of its own, in noise."""
    periods = np.linspace(130, 250, streams)[:, None]
    sound = 0.4 * np.sin(2 * np.pi * np.arange(samples) / periods) + 0.05 * noise(samples, streams).T
    return sound.astype(np.float32)[..., None]


def test_a_network_with_it_equals_onnxruntime_in_any_number_of_hops(path: Path) -> None:
    compiled, reference = rtsep.load(path, backend="compiled"), rtsep.load(path)
    assert compiled.backend == "compiled"
    x = tones(1, 6000)[0]
    expected, found = reference.stream().process(x), compiled.stream().process(x)
    assert np.abs(expected).max() > 0.3
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(compiled.stream(hops=7).process(x), found)


def test_streams_of_an_engine_have_the_bits_that_they_have_alone(path: Path) -> None:
    model = rtsep.load(path, backend="compiled")
    hop, streams = model.spec.hop, 5
    x = tones(streams, 60 * hop)
    alone = np.stack([model.stream(channels=1, block_multiple=hop).process(sound) for sound in x])
    engine = Engine(model, streams)
    for _ in range(streams):
        engine.join()
    together = [engine.process(np.ascontiguousarray(x[:, at : at + hop])) for at in range(0, 60 * hop, hop)]
    np.testing.assert_array_equal(np.concatenate(together, 1), alone)
    assert np.abs(alone).max() > 0.3
