"""The way to a GPU, without one: what is missing is one sentence, and what runs is the provider that was asked for."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from graphs import Network

import rtsep
from rtsep import InputError, RtsepError
from rtsep.engine import cuda
from tests.program import assert_one_sentence, spawn, write
from tests.streams import noise

without_cuda = pytest.mark.skipif(
    cuda.PROVIDER in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA"
)


@without_cuda
def test_without_the_provider_there_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("a.wav")
    done = spawn("denoise", "a.wav", "--device", "cuda", text=True)
    assert done.returncode == 1
    assert_one_sentence(done, "no CUDA provider", "rtsep[cuda]")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    with pytest.raises(RtsepError, match="no CUDA provider"):
        rtsep.load("denoise", backend="cuda")


@without_cuda
def test_a_provider_that_cannot_start_is_one_sentence(models, monkeypatch):
    """onnxruntime goes on by itself on the processor, which is not what was asked for."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [cuda.PROVIDER, "CPUExecutionProvider"])
    with pytest.warns(UserWarning), pytest.raises((RtsepError, InputError), match="CUDA could not be started"):
        rtsep.load(models(Network()).path, backend="cuda")


def test_the_session_is_that_of_the_provider_and_its_sound_that_of_onnxruntime(models, monkeypatch):
    monkeypatch.setattr(cuda, "PROVIDER", "CPUExecutionProvider")
    path = models(Network(state=5, activity=True)).path
    model, x = rtsep.load(path, backend="cuda"), noise(3000)
    assert model.backend == "cuda"
    np.testing.assert_array_equal(model.stream().process(x), rtsep.load(path).stream().process(x))
    with pytest.raises(RtsepError, match="not compiled"):
        model.native_step()


def test_the_device_is_one_of_two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("a.wav")
    done = spawn("denoise", "a.wav", "--device", "tpu", text=True)
    assert done.returncode == 2
    assert_one_sentence(done, "cpu or cuda")
