"""The step graph as a C function: the bits of a Stream, and no harm from what is faulty."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from streams import NETWORKS, noise

import rtsep
from rtsep.engine.native import onnxruntime_library
from rtsep.engine.native.step import FAILED, NOT_FINITE, WELL, FramedStep
from rtsep.errors import InputError, RtsepError
from rtsep.model import shipped

HOPS = 60
_SAMPLES = ctypes.POINTER(ctypes.c_float)


@pytest.fixture(scope="module", params=NETWORKS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> rtsep.Model:
    path = tmp_path_factory.mktemp("native") / "network.onnx"
    NETWORKS[request.param].save(path)
    return rtsep.load(path)


def streamed(model: rtsep.Model, x: np.ndarray) -> np.ndarray:
    return model.stream(channels=x.shape[1], block_multiple=model.spec.hop).process(x)


def channel_numbers(model: rtsep.Model) -> tuple[int, ...]:
    return (1, 2, 3) if model.spec.channels == 1 else (1, model.spec.channels)


def test_bits_of_a_stream_of_every_kind_of_network(model):
    for channels in channel_numbers(model):
        x = noise(HOPS * model.spec.hop, channels, seed=channels)
        y, faulty = model.native_step(channels).process(x)
        np.testing.assert_array_equal(y, streamed(model, x))
        assert faulty == 0 and np.abs(y).max() > 0


@pytest.mark.parametrize("name", shipped())
def test_bits_of_a_stream_of_shipped_models(name):
    model = rtsep.load(name)
    x = noise(400 * model.spec.hop, model.spec.channels)
    y, faulty = model.native_step(model.spec.channels).process(x)
    np.testing.assert_array_equal(y, streamed(model, x))
    assert faulty == 0


def test_a_reset_step_is_as_new(model):
    x = noise(HOPS * model.spec.hop, 1)
    step = model.native_step()
    first, _ = step.process(x)
    again, _ = step.process(x)
    assert not np.array_equal(first, again)
    step.reset()
    np.testing.assert_array_equal(step.process(x)[0], first)


def test_steps_of_one_model_do_not_know_of_each_other(model):
    one, other = model.native_step(), model.native_step()
    x = noise(HOPS * model.spec.hop, 1)
    other.process(noise(7 * model.spec.hop, 1, seed=9))
    np.testing.assert_array_equal(one.process(x)[0], streamed(model, x))


def test_faulty_samples_do_not_reach_the_network(model):
    x = noise(HOPS * model.spec.hop, 1)
    x[5 * model.spec.hop :][:7, 0] = [np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-42, np.nan][: len(x[:7])]
    y, faulty = model.native_step().process(x)
    assert faulty == 0 and np.isfinite(y).all()
    np.testing.assert_array_equal(y, streamed(model, x))


@pytest.mark.parametrize("kind", [kind for kind, network in NETWORKS.items() if network.activity])
def test_activity_is_that_of_the_stream(kind, tmp_path):
    model = rtsep.load(NETWORKS[kind].save(tmp_path / "network.onnx"))
    x = noise(HOPS * model.spec.hop, model.spec.channels)
    step, stream = model.native_step(model.spec.channels), model.stream(channels=model.spec.channels)
    step.process(x)
    stream.process(x)
    assert step.activity == stream.activity and stream.activity


def hop(step: FramedStep, x: np.ndarray) -> tuple[np.ndarray, int]:
    """One hop, and what the function returned, by way of ctypes."""
    out = np.full_like(x, 3.0)  # whatever lay there before
    code = step._function.ctypes(step.context, x.ctypes.data_as(_SAMPLES), out.ctypes.data_as(_SAMPLES))
    return out, code


def test_a_network_that_puts_out_nan_is_silent_and_recovers(model):
    step = model.native_step()
    x = noise(model.spec.hop, 1)
    assert hop(step, x)[1] == WELL
    step._made[:] = np.nan
    out, code = hop(step, x)
    if model.spec.synthesis_window + model.spec.lookahead > model.spec.hop:
        assert code == NOT_FINITE and not out.any()
    for _ in range(-(-model.spec.algorithmic_latency // model.spec.hop) + 1):
        out, code = hop(step, x)
    assert code == WELL and np.isfinite(out).all()


def test_a_run_that_fails_is_silent_and_the_next_one_is_heard(model):
    step = model.native_step()
    x = noise(model.spec.hop, 1)
    network = step._networks[0]
    before = network._context["input_names"].copy()
    network._context["input_names"] = network._session.names(["nonsense"] * 8)
    for _ in range(3):
        out, code = hop(step, x)
        assert code == FAILED and not out.any()
    network._context["input_names"] = before
    for _ in range(3):
        out, code = hop(step, x)
    assert code == WELL and out.any()


def test_what_has_no_native_step_says_so(monkeypatch, tmp_path):
    with pytest.raises(RtsepError, match="worker only"):
        rtsep.load("mid-side").native_step()
    path = tmp_path / "flat.onnx"
    NETWORKS["plain"].save(path, "flat")
    with pytest.raises(RtsepError, match="form flat"):
        rtsep.load(path).native_step()
    with pytest.raises(InputError, match="takes 1 or 2"):
        rtsep.load("karaoke").native_step(3)
    monkeypatch.setattr(onnxruntime_library, "_NAMES", ("nothing*",))
    with pytest.raises(RtsepError, match="holds no C library"):
        rtsep.load("denoise-small").native_step()


def test_a_library_that_is_none_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "libonnxruntime.so.1"
    path.write_bytes(b"nothing")
    monkeypatch.setattr(onnxruntime_library, "library_path", lambda: Path(path))
    with pytest.raises(RtsepError, match="cannot be loaded"):
        rtsep.load("denoise-small").native_step()


def test_a_graph_that_the_library_refuses_is_refused(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(RtsepError, match="ONNX Runtime refused"):
        onnxruntime_library.NativeSession(path)
