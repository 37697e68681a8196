"""A model of two channels through stream, enhance and files: one channel doubled, two taken, at any rate in place."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import soundfile as sf
from graphs import Network
from hypothesis import given
from hypothesis import strategies as st

import rtsep
from rtsep import InputError
from rtsep.audio_io.files import enhance_file
from rtsep.engine.enhance import Enhancer

SOURCES = ("accompaniment", "vocals")
NETWORKS = {
    "mixing": Network(channels=2, sources=SOURCES),
    "recurrent": Network(channels=2, sources=SOURCES, state=4, activity=True, seed=1),
    "look-ahead": Network(channels=2, sources=SOURCES, lookahead=20, analysis_window=80, seed=2),
}
SAME = Network(channels=2, sources=SOURCES, identity=True)
RATES = [8000, 16000, 22050, 44100, 48000, 88200, 96000, 192000]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def pulse(length: int, at: int, width: float) -> np.ndarray:
    return np.exp(-0.5 * ((np.arange(length) - at) / width) ** 2).astype(np.float32)


@given(
    name=st.sampled_from(list(NETWORKS)),
    rate=st.sampled_from(RATES),
    cuts=st.lists(st.integers(1, 1999), max_size=8),
    strength=st.sampled_from([None, 0.0, 12.0]),
    sources=st.booleans(),
)
def test_any_partition_gives_the_same_bits(models, name, rate, cuts, strength, sources):
    stream = models(NETWORKS[name]).stream(rate, 2, strength)
    x = noise(2000, 2)
    whole = stream.process(x, sources=sources)
    stream.reset()
    pieces = [stream.process(x[a:b], sources=sources) for a, b in pairwise([0, *sorted(cuts), len(x)])]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1 if sources else 0), whole)


@pytest.mark.parametrize("rate", RATES)
def test_each_channel_comes_back_in_its_place_at_any_rate(models, rate):
    """Different pulses left and right: neither moves against the other, nor reaches into the other channel."""
    stream = models(SAME).stream(rate, channels=2)
    late, width = stream.latency, 2 * max(1.0, rate / 48000)
    x = np.stack([pulse(1500, 500, width), -0.5 * pulse(1500, 911, width)], axis=1)
    y = np.concatenate([stream.process(x), stream.flush()])[late:]
    np.testing.assert_allclose(y, x, atol=2e-4)
    assert np.abs(y[700:1100, 0]).max() < 2e-4 and np.abs(y[300:700, 1]).max() < 2e-4
    np.testing.assert_allclose(rtsep.enhance(x, rate, models(SAME)), x, atol=2e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_hears_both_channels_and_they_in_their_order(models, name):
    """What is heard right changes what comes out left, and left and right are not exchanged on the way."""
    network = NETWORKS[name]
    stream = models(network).stream(channels=2)
    x = noise(960, 2)
    expected = network.sequence(x.T)[0].transpose(0, 2, 1)
    y = stream.process(x, sources=True)
    late = stream.latency
    np.testing.assert_allclose(y[:, late:], expected[:, :-late], atol=1e-5)
    other = x.copy()
    other[:, 1] = 0
    stream.reset()
    assert np.abs(stream.process(other)[..., 0] - y[0, :, 0]).max() > 1e-3


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", NETWORKS)
def test_one_channel_is_doubled_at_any_rate(models, name, rate):
    model, x = models(NETWORKS[name]), noise(1500)
    both = model.stream(rate, channels=2).process(np.stack([x, x], axis=1), sources=True)
    found = model.stream(rate).process(x, sources=True)
    np.testing.assert_allclose(found, both.mean(axis=2), atol=1e-6)
    np.testing.assert_array_equal(model.stream(rate).process(x), found[0])
    np.testing.assert_allclose(
        rtsep.enhance(x, rate, model), rtsep.enhance(np.stack([x, x], axis=1), rate, model).mean(axis=1), atol=1e-5
    )


@given(t=st.integers(1, 1400), rate=st.sampled_from(RATES), name=st.sampled_from(list(NETWORKS)))
def test_what_comes_in_one_channel_changes_nothing_that_went_out_of_either(models, t, rate, name):
    stream = models(NETWORKS[name]).stream(rate, 2)
    x = noise(1500, 2)
    before = stream.process(x)
    x[t:, 1] = noise(1500 - t, seed=1)
    stream.reset()
    np.testing.assert_array_equal(stream.process(x)[:t], before[:t])


@pytest.mark.parametrize("rate", [48000, 44100, 8000])
@pytest.mark.parametrize("channels", [1, 2])
def test_files_keep_their_channels(models, tmp_path, rate, channels):
    x = 0.5 * noise(3000, channels)
    sf.write(tmp_path / "song.wav", x, rate, subtype="FLOAT")
    model = models(NETWORKS["mixing"])
    enhance_file(tmp_path / "song.wav", tmp_path / "out.wav", model)
    y, got = sf.read(tmp_path / "out.wav", dtype="float32", always_2d=True)
    assert got == rate and y.shape == x.shape
    np.testing.assert_allclose(y, np.clip(rtsep.enhance(x, rate, model), -1, 1), atol=1e-6)


@pytest.mark.parametrize("channels", [3, 6, 8])
def test_more_than_two_channels_are_one_sentence(models, tmp_path, channels):
    model, sentence = models(NETWORKS["mixing"]), f"takes 1 or 2, not {channels}"
    sf.write(tmp_path / "song.wav", noise(1000, channels), 48000, subtype="FLOAT")
    with pytest.raises(InputError, match=sentence):
        model.stream(channels=channels)
    with pytest.raises(InputError, match=sentence):
        rtsep.enhance(noise(1000, channels), 48000, model)
    with pytest.raises(InputError, match=sentence):
        enhance_file(tmp_path / "song.wav", tmp_path / "out.wav", model)
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize("rate", [48000, 44100])
def test_sources_in_stereo_sum_to_the_input_where_the_model_says_so(models, rate):
    """The identity gives everything as accompaniment and nothing as vocals; either can be asked for."""
    x = noise(3000, 2)
    whole = [Enhancer(models(SAME), rate, 2, source=source) for source in SOURCES]
    found = [np.concatenate([enhancer.process(x), enhancer.flush()]) for enhancer in whole]
    np.testing.assert_allclose(found[0], rtsep.enhance(x, rate, models(SAME)), atol=1e-6)
    assert not found[1].any()
