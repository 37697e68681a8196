"""Strength: the dry path is delayed to the sample, mixed by the promised gain, and ramps without a click."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.streams import CUTS, IDENTITY, NETWORKS, RATES, in_pieces, noise


@given(
    name=st.sampled_from(list(NETWORKS)),
    rate=st.one_of(st.sampled_from(RATES), st.integers(8000, 192000)),
    channels=st.integers(1, 2),
    cuts=CUTS,
)
def test_strength_0_is_the_delayed_input_bit_for_bit(models, name, rate, channels, cuts):
    stream = models(NETWORKS[name]).stream(rate, channels, strength=0)
    x = noise(1500, channels)
    x[::7] *= 1e-41 / 0.3
    x[::11] = -0.0
    y = np.concatenate([in_pieces(stream, x, cuts), stream.flush().reshape(-1, channels)])
    assert y[stream.latency :].tobytes() == x.tobytes()
    assert not y[: stream.latency].any()


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_strength_mixes_wet_and_delayed_dry(models, rate):
    model, x = models(NETWORKS["plain"]), noise(3000)
    wet = model.stream(rate).process(x)
    dry = model.stream(rate, strength=0).process(x)
    g = 10 ** (-12 / 20)
    np.testing.assert_allclose(model.stream(rate, strength=12).process(x), (1 - g) * wet + g * dry, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000, 96000])
def test_dry_and_wet_do_not_comb(models, rate):
    """With a network that changes nothing, half dry and half wet is the input again: no notch, no shift."""
    t = np.arange(6000) / rate
    x = sum(np.sin(2 * np.pi * f * t + f) for f in (50.0, 1000.0, 3100.0)).astype(np.float32) / 3
    stream = models(IDENTITY).stream(rate, strength=6.0)
    y = stream.process(x)
    np.testing.assert_allclose(y[stream.latency :][500:], x[500 : -stream.latency], atol=3e-4)


def test_above_the_models_band_only_dry_passes(models):
    x = np.sin(2 * np.pi * 30_000 / 96_000 * np.arange(9000)).astype(np.float32)
    for strength, level in ((None, 0.0), (20.0, 0.1)):
        y = models(IDENTITY).stream(96_000, strength=strength).process(x)[2000:]
        assert np.abs(y).max() == pytest.approx(level, abs=1e-3)


@pytest.mark.parametrize("rate", [48000, 16000])
def test_strength_ramps_without_a_click(models, rate):
    """A model whose target is silence, a constant input: the output is the gain itself."""
    stream = models(IDENTITY, target="noise").stream(rate)
    one = np.ones(rate // 10, np.float32)
    assert np.abs(stream.process(one)).max() < 1e-6
    stream.strength = 6.0
    g, length = 10 ** (-6 / 20), round(0.02 * rate)
    up = stream.process(one)
    np.testing.assert_allclose(up[:length], g * np.arange(1, length + 1) / length, atol=1e-6)
    assert (up[length:] == np.float32(g)).all()
    stream.strength = 0
    stream.process(one[: length // 2])
    middle = stream.process(one[:1])[0]
    stream.strength = None  # turns round where it is
    down = stream.process(one)
    assert abs(down[0] - middle) < 1.1 / length and (np.diff(down) <= 0).all()
    assert not down[length:].any() and stream.strength is None
