"""The compiled backend: equal to onnxruntime's and to the sequence, the same bits in any cut, and as a C function."""

from __future__ import annotations

import ctypes
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile
import soxr
from graphs import Network
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import rtsep
from rtsep import InputError, RtsepError
from rtsep.engine.compiled.step import CompiledStep
from tests.engine.test_inference import NETWORKS as STEPS
from tests.engine.test_inference import overlapped
from tests.streams import CUTS, NETWORKS, in_pieces, noise

DATA = Path(__file__).parents[1] / "data"
SHIPPED = ["denoise", "denoise-small", "denoise-ahead", "karaoke"]

Compiled = Callable[[Network], rtsep.Model]


@pytest.fixture(scope="session")
def compiled(models) -> Compiled:
    """``compiled(network)``: the network written to disk and loaded with the compiled backend, once a session."""
    loaded: dict[str, rtsep.Model] = {}

    def model(network: Network) -> rtsep.Model:
        key = repr(network)
        if key not in loaded:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # none may fall back
                loaded[key] = rtsep.load(models(network).path, backend="compiled")
        return loaded[key]

    return model


def a_minute(spec: rtsep.ModelSpec) -> np.ndarray:
    """60 s [samples, channels]: speech in noise, full-scale noise, pauses of nothing, square waves, a voice aside."""
    sound, own = soundfile.read(DATA / "demo.noisy.flac", dtype="float32")
    sound = soxr.resample(sound, own, spec.sample_rate).astype(np.float32)
    rate = spec.sample_rate
    sound = np.resize(sound, 60 * rate)
    sound[20 * rate : 25 * rate] = noise(5 * rate, level=1.0)
    sound[30 * rate : 33 * rate] = 0
    sound[40 * rate : 41 * rate] = np.sign(np.sin(np.arange(rate) * 0.02))
    sound[45 * rate : 46 * rate] *= 1e-6
    return np.stack([sound, 0.6 * np.roll(sound, 37)], 1)[:, : spec.channels]


# Equal to onnxruntime, and to the sequence form.


@pytest.mark.parametrize("name", SHIPPED)
def test_a_minute_is_that_of_onnxruntime(name: str) -> None:
    model, reference = rtsep.load(name, backend="compiled"), rtsep.load(name)
    assert (model.backend, reference.backend) == ("compiled", "onnxruntime")
    x = a_minute(model.spec)
    streams = [each.stream(channels=model.spec.channels) for each in (model, reference)]
    for begin in range(0, len(x), 48_000):
        found, expected = (stream.process(x[begin : begin + 48_000], sources=True) for stream in streams)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
        assert streams[0].activity == pytest.approx(streams[1].activity, abs=1e-5)
        assert np.abs(expected).max() > 0.01 or not x[begin - 4800 : begin + 48_000].any() or begin >= 45 * 48_000


@pytest.mark.parametrize("name", STEPS)
def test_every_kind_of_network_equals_the_sequence(compiled: Compiled, name: str) -> None:
    network = STEPS[name]
    x = np.random.default_rng(1).standard_normal((network.channels, 60 * network.hop)) * 0.3
    step = compiled(network).step()
    assert isinstance(step, CompiledStep)
    complete = x.shape[1] - network.synthesis_window - network.lookahead
    expected, activity = network.sequence(x)
    result = overlapped(network, step, x)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(result[..., :complete], expected[..., :complete], rtol=0, atol=1e-5)
    if activity is not None:
        np.testing.assert_allclose(step.activity, activity[-1], atol=1e-5)
    step.reset()
    np.testing.assert_array_equal(overlapped(network, step, x), result)


def test_a_condition_reaches_the_network_and_survives_reset(compiled: Compiled) -> None:
    network = Network(condition=3)
    x = np.random.default_rng(1).standard_normal((1, 320))
    step: Any = compiled(network).step()
    np.testing.assert_allclose(overlapped(network, step, x)[..., :288], network.sequence(x)[0][..., :288], atol=1e-5)
    step.condition[:] = hint = np.array([2.0, -1.0, 0.5])
    step.reset()
    np.testing.assert_allclose(
        overlapped(network, step, x)[..., :288], network.sequence(x, hint)[0][..., :288], atol=1e-5
    )


# What holds of every backend by itself.


@given(
    name=st.sampled_from([*NETWORKS, *SHIPPED]),
    rate=st.sampled_from([None, 44100, 16000]),
    channels=st.integers(1, 3),
    cuts=CUTS,
    sources=st.booleans(),
)
def test_any_partition_gives_the_same_bits(compiled: Compiled, name, rate, channels, cuts, sources) -> None:
    model = compiled(NETWORKS[name]) if name in NETWORKS else rtsep.load(name, backend="compiled")
    channels = min(channels, 2) if model.spec.channels == 2 else channels
    stream = model.stream(rate, channels)
    x = noise(3000, channels)
    whole = stream.process(x, sources=sources)
    assert np.abs(whole).max() > 1e-3
    stream.reset()
    np.testing.assert_array_equal(in_pieces(stream, x, cuts, sources=sources), whole)


@given(
    name=st.sampled_from([*NETWORKS, *SHIPPED]),
    rate=st.sampled_from([None, 44100, 16000, 96000]),
    channels=st.integers(1, 3),
    hops=st.integers(2, 9),
    cuts=CUTS,
    sources=st.booleans(),
)
def test_several_hops_at_once_give_the_same_bits(compiled: Compiled, name, rate, channels, hops, cuts, sources) -> None:
    model = compiled(NETWORKS[name]) if name in NETWORKS else rtsep.load(name, backend="compiled")
    channels = min(channels, 2) if model.spec.channels == 2 else channels
    one, several = model.stream(rate, channels), model.stream(rate, channels, hops=hops)
    x = noise(8000, channels)
    whole = one.process(x, sources=sources)
    np.testing.assert_array_equal(in_pieces(several, x, cuts, sources=sources), whole)
    assert several.latency == one.latency and several.activity == one.activity
    np.testing.assert_array_equal(several.flush(), one.flush())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_file_has_the_bits_of_a_stream_and_is_that_of_onnxruntime(name: str) -> None:
    model = rtsep.load(name, backend="compiled")
    x = a_minute(model.spec)[15 * 48_000 : 35 * 48_000]
    x = x[:, 0] if model.spec.channels == 1 else x
    stream = model.stream(channels=model.spec.channels)
    streamed = np.concatenate([stream.process(x), stream.flush()])[stream.latency :]
    enhanced = rtsep.enhance(x, 48_000, name)
    np.testing.assert_array_equal(enhanced, streamed)
    np.testing.assert_allclose(rtsep.enhance(x, 48_000, rtsep.load(name)), enhanced, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SHIPPED)
def test_streams_of_a_model_do_not_meet(name: str) -> None:
    model = rtsep.load(name, backend="compiled")
    x, other = noise(9000), noise(9000, seed=5)
    alone, one, two = model.stream().process(x), model.stream(), model.stream()
    pieces = []
    for begin in range(0, 9000, 700):
        pieces.append(one.process(x[begin : begin + 700]))
        two.process(other[begin : begin + 700])
    np.testing.assert_array_equal(np.concatenate(pieces), alone)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).stream().process(x), alone)


@pytest.mark.parametrize("name", SHIPPED)
def test_silence_stays_silence_and_faults_pass(name: str) -> None:
    model = rtsep.load(name, backend="compiled")
    stream = model.stream()
    assert not stream.process(np.zeros(20_000, np.float32)).any()
    broken = noise(20_000)
    broken[3000:3200], broken[5000:6000], broken[7000:9000] = np.nan, 1e30, 1e-41
    assert np.isfinite(stream.process(broken)).all()
    assert np.isfinite(stream.process(noise(20_000))).all()


@given(t=st.integers(1, 1500), name=st.sampled_from(list(NETWORKS)))
def test_what_comes_changes_nothing_that_went_out(compiled: Compiled, t: int, name: str) -> None:
    stream = compiled(NETWORKS[name]).stream()
    x = noise(1600)
    before = stream.process(x)
    x[t:] = noise(1600 - t, seed=1)
    stream.reset()
    np.testing.assert_array_equal(stream.process(x)[:t], before[:t])


# As a C function.

FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)


def in_hops(native: Any, x: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Whole hops of `x` [samples, channels] through the function itself, in place, and what it returned."""
    function, out, told = FUNCTION(native.address), x.astype(np.float32, copy=True), []
    for begin in range(0, len(x), native.hop):
        place = out[begin:].ctypes.data
        told.append(function(native.context, place, place))
    return out, told


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("name", [*NETWORKS, *SHIPPED])
def test_the_native_step_gives_the_bits_of_a_stream(compiled: Compiled, name: str, channels: int) -> None:
    model = compiled(NETWORKS[name]) if name in NETWORKS else rtsep.load(name, backend="compiled")
    if model.spec.channels == 2 and channels == 3:
        with pytest.raises(InputError, match="takes 1 or 2"):
            model.native_step(3)
        return
    hop = model.spec.hop
    x = noise(90 * hop, channels)
    x[5 * hop + 3, 0], x[9 * hop : 10 * hop], x[12 * hop] = np.nan, 1e9, 1e-20
    stream, native = model.stream(channels=channels, block_multiple=hop), model.native_step(channels)
    expected = stream.process(x)
    found, told = in_hops(native, x)
    np.testing.assert_array_equal(found, expected)
    assert native.activity == stream.activity and set(told) == {0}
    native.reset()
    np.testing.assert_array_equal(in_hops(native, x)[0], found)


def test_the_native_step_from_python_takes_any_memory_and_the_right_length_only(compiled: Compiled) -> None:
    network = NETWORKS["plain"]
    native, x = compiled(network).native_step(), noise(20 * network.hop, 2)[:, 0]
    assert not x.flags.c_contiguous
    straight = [native.step(np.ascontiguousarray(hop))[0] for hop in x.reshape(-1, network.hop)]
    native.reset()
    strided = [native.step(x[at : at + network.hop])[0] for at in range(0, len(x), network.hop)]
    native.reset()
    doubles = [native.step(hop.astype(np.float64))[0] for hop in x.reshape(-1, network.hop)]
    np.testing.assert_array_equal(strided, straight)
    np.testing.assert_array_equal(doubles, straight)
    assert np.abs(straight).max() > 1e-3 and doubles[0].dtype == np.float32
    for wrong in (x[: network.hop - 1], x[: 2 * network.hop]):
        with pytest.raises(InputError, match=f"it must be {network.hop} × 1"):
            native.step(wrong)


def test_a_faulty_step_is_silent_says_so_and_recovers(compiled: Compiled) -> None:
    network = NETWORKS["plain"]
    model = compiled(network)
    native, x = model.native_step(), noise(200 * network.hop, 1)
    sound, _ = in_hops(native, x)
    native.reset()
    weights = model._program.weights
    kept = weights.copy()
    weights[:] = np.nan
    out, told = in_hops(native, x[: 4 * network.hop])
    weights[:] = kept
    assert set(told) == {1} and not out.any()
    out, told = in_hops(native, x[4 * network.hop :])
    assert set(told) == {0} and np.isfinite(out).all()
    np.testing.assert_allclose(out[60 * network.hop :], sound[64 * network.hop :], atol=1e-6)


# What cannot be compiled.


def test_a_model_is_compiled_without_numba() -> None:
    """Loading it takes longer than all else at the start of a process that has kept code."""
    program = "import sys, rtsep.engine.compiled.compiler, rtsep.engine.compiled.step; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_unknown_operator_falls_back_to_onnxruntime_with_a_sentence(tmp_path: Path, models) -> None:
    network = Network()
    model = onnx.load(models(network).path)
    last = next(node for node in model.graph.node if "frames" in node.output)
    last.output[0] = "before"
    model.graph.node.append(helper.make_node("HardSwish", ["before"], ["frames"]))
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.warns(UserWarning, match=r"odd.onnx runs in onnxruntime: operator HardSwish is not compiled\.$"):
        loaded = rtsep.load(tmp_path / "odd.onnx", backend="compiled")
    assert loaded.backend == "onnxruntime"
    with pytest.raises(InputError, match="HardSwish is not compiled"):
        loaded.native_step()
    x = noise(1000)
    np.testing.assert_array_equal(loaded.stream().process(x), rtsep.load(tmp_path / "odd.onnx").stream().process(x))


def test_who_has_no_native_step_says_so() -> None:
    with pytest.raises(InputError, match="load it with backend='compiled'"):
        rtsep.load("denoise").native_step()
    with pytest.raises(RtsepError, match="mid-side is no network, and runs in a worker only"):
        rtsep.load("mid-side", backend="compiled").native_step()


def test_the_flat_form_falls_back_too(models) -> None:
    with pytest.warns(UserWarning, match="form flat is not compiled"):
        assert rtsep.load(models(Network(), "flat").path, backend="compiled").backend == "onnxruntime"


def test_what_is_no_model_is_refused_as_ever(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"bad.onnx is not an ONNX model"):
        rtsep.load(tmp_path / "bad.onnx", backend="compiled")
    with pytest.raises(InputError, match="cannot be read"):
        rtsep.load(tmp_path / "none.onnx", backend="compiled")
    with pytest.raises(InputError, match="no backend 'torch'"):
        rtsep.load("denoise", backend="torch")
