"""Whole signals: aligned, as long as they were, the same in any pieces, refused with a sentence."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from graphs import Network
from hypothesis import given
from hypothesis import strategies as st

import rtsep
from rtsep import InputError
from rtsep.engine.enhance import Enhancer

PLAIN, IDENTITY, STEREO = Network(), Network(identity=True), Network(channels=2)
RATES = [8000, 12345, 16000, 22050, 44100, 48000, 96000, 192000]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def test_equals_the_stream_without_its_latency(models):
    model, x = models(PLAIN), noise(5000)
    stream = model.stream(strength=15.0)
    expected = np.concatenate([stream.process(x), stream.flush()])[stream.latency :]
    np.testing.assert_allclose(rtsep.enhance(x, 48000, model, strength=15.0), expected, atol=1e-6)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("strength", [None, 10.0])
def test_aligned_to_the_sample_at_any_rate(models, rate, strength):
    """A network that changes nothing gives back what lies in the band, in place."""
    t = np.arange(rate // 4 + 1) / rate
    ramp = np.minimum(1, 50 * np.minimum(t, t[-1] - t))
    x = sum(np.sin(2 * np.pi * f * t + f) * ramp for f in (60.0, 1000.0, 3000.0)).astype(np.float32) / 4
    y = rtsep.enhance(x, sample_rate=rate, model=models(IDENTITY), strength=strength)
    assert y.shape == x.shape and y.dtype == np.float32
    np.testing.assert_allclose(y, x, atol=2e-4)


@pytest.mark.parametrize("rate", [48000, 44100, 8000, 192000])
@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (300,), (0, 2), (1, 2), (5000, 2), (3000, 1), (400, 8)])
def test_shape_is_kept(models, rate, shape):
    y = rtsep.enhance(noise(*shape), rate, models(PLAIN))
    assert y.shape == shape and y.dtype == np.float32 and np.isfinite(y).all()


@given(
    cuts=st.lists(st.integers(1, 5_999), max_size=8),
    rate=st.sampled_from([44100, 48000, 8000]),
    strength=st.sampled_from([None, 12.0]),
)
def test_any_pieces_give_the_same_and_flush_starts_anew(models, cuts, rate, strength):
    x = noise(6_000, 2)
    whole = rtsep.enhance(x, rate, models(PLAIN), strength)
    enhancer = Enhancer(models(PLAIN), rate, 2, strength)
    for _ in range(2):
        pieces = [enhancer.process(x[a:b]) for a, b in pairwise([0, *sorted(cuts), len(x)])]
        result = np.concatenate([*pieces, enhancer.flush()])
        np.testing.assert_array_equal(result, whole)


@pytest.mark.parametrize("rate", RATES)
def test_strength_0_gives_the_signal_back(models, rate):
    x = noise(3000, 2)
    np.testing.assert_array_equal(rtsep.enhance(x, rate, models(PLAIN), strength=0), x)


def test_strength_is_mixed_at_the_signals_rate(models):
    """What lies above the model's band comes back with the dry share, and only with it."""
    x = np.sin(2 * np.pi * 30_000 / 96_000 * np.arange(20_000)).astype(np.float32)
    for strength, level in ((None, 0.0), (20.0, 0.1)):
        y = rtsep.enhance(x, 96_000, models(IDENTITY), strength)
        assert np.abs(y[2000:-2000]).max() == pytest.approx(level, abs=1e-3)


def test_memory_does_not_grow(models):
    """What is held back is bounded by the converters, not by the length of the file."""
    enhancer = Enhancer(models(PLAIN), 44100, 1, 6.0)
    owed = 0
    for i in range(60):
        block = noise(4410, 1, seed=i)
        owed += len(block) - len(enhancer.process(block))
        assert owed < 12_000
    assert len(enhancer.flush()) == owed


def test_a_source_can_be_asked_for(models):
    model, x = models(PLAIN), noise(2000, 1)
    stream = model.stream()
    expected = np.concatenate([stream.process(x[:, 0], sources=True), stream.flush(sources=True)], axis=1)
    for row, source in enumerate(model.spec.sources):
        enhancer = Enhancer(model, 48000, 1, source=source)
        result = np.concatenate([enhancer.process(x), enhancer.flush()])
        np.testing.assert_array_equal(result[:, 0], expected[row, stream.latency :])
    with pytest.raises(InputError, match="no source 'drums'; it has speech, noise"):
        Enhancer(model, 48000, 1, source="drums")


def test_a_stereo_model_takes_mono(models):
    assert rtsep.enhance(noise(900), 44100, models(STEREO)).shape == (900,)


def test_a_model_by_its_path(models, tiny_path):
    x = noise(500)
    expected = rtsep.enhance(x, 48000, rtsep.load(tiny_path, "compiled"))
    np.testing.assert_array_equal(rtsep.enhance(x, 48000, model=str(tiny_path)), expected)
    np.testing.assert_array_equal(rtsep.enhance(x.astype(np.float64), 48000, tiny_path), expected)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.zeros((2, 48000), np.float32), {}, r"\[2, 48000\].*hand over x.T"),
        (np.zeros((48000, 9), np.float32), {}, r"1 to 8 channels\]\.$"),
        (np.zeros((5, 5, 5), np.float32), {}, r"must be \[samples\] or"),
        (np.float32(0.5), {}, r"must be \[samples\] or"),
        (np.zeros(10, np.int16), {}, "int16; convert it to float32"),
        (np.array([0, 1, np.nan, 0], np.float32), {}, "not finite .number 2."),
        (np.array([0, np.inf]), {}, "not finite .number 1."),
        (np.array([[0, 0], [0, 1e300]]), {}, "not finite .number 1."),
        (np.zeros(10), {"sample_rate": 7000}, "sample_rate is 7000"),
        (np.zeros(10), {"sample_rate": None}, "sample_rate is None"),
        (np.zeros(10), {"strength": -3.0}, "strength is -3.0"),
        (np.zeros(10), {"model": "nonsense"}, "no model 'nonsense'"),
    ],
)
def test_refusals(models, x, options, message):
    with pytest.raises(InputError, match=message):
        rtsep.enhance(x, **({"sample_rate": 48000, "model": models(PLAIN)} | options))


def test_a_stereo_model_refuses_three_channels(models):
    with pytest.raises(InputError, match="takes 1 or 2, not 3"):
        rtsep.enhance(noise(100, 3), 48000, models(STEREO))


def test_an_enhancer_refuses_a_block_and_goes_on(models):
    x = noise(3000, 2)
    enhancer = Enhancer(models(PLAIN), 44100, 2)
    first = enhancer.process(x[:1000])
    for bad, message in ((x[:, :1], r"\[3000, 1\]"), (x[:, 0], r"\[3000\]"), (x * np.nan, "number 1000")):
        with pytest.raises(InputError, match=message):
            enhancer.process(bad)
    result = np.concatenate([first, enhancer.process(x[1000:]), enhancer.flush()])
    np.testing.assert_array_equal(result, rtsep.enhance(x, 44100, models(PLAIN)))
