"""What a program might hand over by mistake: one sentence as InputError, and never wrong sound."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import rtsep
from tests.recordings import noisy


@pytest.mark.parametrize("name", [b"denoise", None, 3, "", "a\0b", "a\0b.onnx", ["denoise"]])
def test_what_names_no_model(name):
    with pytest.raises(rtsep.InputError):
        rtsep.load(name)


@pytest.mark.parametrize("x", [None, "a.wav", [[0.0], [1.0, 2.0]], np.zeros(9, complex), np.zeros((2, 2, 2))])
def test_what_is_no_sound(tiny_path, x):
    with pytest.raises(rtsep.InputError):
        rtsep.enhance(x, 48000, str(tiny_path))


def test_models_pickle_and_copy_as_what_they_were_loaded_from(tiny_path, monkeypatch):
    sound = noisy(48000, 2, 0.5)
    monkeypatch.chdir(tiny_path.parent)
    model, baseline = rtsep.load(tiny_path.name), rtsep.load("mid-side")
    pickled, copied = pickle.dumps([model, baseline]), copy.deepcopy([model, baseline])
    expected = [rtsep.enhance(sound, 48000, one) for one in (model, baseline)]
    monkeypatch.chdir("/")
    for made in (pickle.loads(pickled), copied):
        for before, after, wanted in zip([model, baseline], made, expected, strict=True):
            assert after.spec == before.spec
            assert np.array_equal(rtsep.enhance(sound, 48000, after), wanted)


def test_a_stream_says_that_it_cannot_be_pickled(tiny_path):
    with pytest.raises(TypeError, match="pickle its model"):
        pickle.dumps(rtsep.load(tiny_path).stream())


def test_out_is_the_block_or_apart_from_it(tiny_path):
    stream = rtsep.load(tiny_path).stream()
    memory = noisy(48000, 1, 0.5)[:, 0].copy()
    expected = stream.process(memory[:-1].copy())
    stream.reset()
    for block, out in ((memory[:-1], memory[1:]), (memory[1:], memory[:-1]), (memory[:400], memory[:400][::-1])):
        with pytest.raises(rtsep.InputError, match="shares a part"):
            stream.process(block, out=out)
    with pytest.raises(rtsep.InputError, match="must be a writable float32 array"):
        stream.process(memory, out=[0.0] * len(memory))
    block = memory[:-1]
    assert np.array_equal(stream.process(block, out=block), expected)  # in place, and a refusal changed nothing


def test_two_channels_of_one_array_are_apart(tiny_path):
    stream = rtsep.load(tiny_path).stream()
    both = noisy(48000, 2, 0.5).copy()
    left, right = both[:, 0].copy(), both[:, 1]
    expected = stream.process(left)
    stream.reset()
    stream.process(both[:, 0], out=right)
    assert np.array_equal(both[:, 1], expected) and np.array_equal(both[:, 0], left)
