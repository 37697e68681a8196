"""What must always hold of a Stream: exact latency, the same bits in any cut, causality, recovery, silence."""

from __future__ import annotations

import gc
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from graphs import Network
from hypothesis import given
from hypothesis import strategies as st

import rtsep
from rtsep import InputError
from rtsep.engine.resample import Converter
from rtsep.engine.stream import latency_of
from tests.streams import CUTS, IDENTITY, NETWORKS, RATES, in_pieces, noise

# 1. Any partition gives the same bits.


@given(
    name=st.sampled_from(list(NETWORKS)),
    rate=st.sampled_from(RATES),
    channels=st.integers(1, 3),
    cuts=CUTS,
    strength=st.sampled_from([None, 0.0, 12.0]),
    sources=st.booleans(),
)
def test_any_partition_gives_the_same_bits(models, name, rate, channels, cuts, strength, sources):
    network = NETWORKS[name]
    channels = min(channels, 2) if network.channels == 2 else channels
    stream = models(network).stream(rate, channels, strength)
    x = noise(2000, channels)
    whole = stream.process(x, sources=sources)
    stream.reset()
    np.testing.assert_array_equal(in_pieces(stream, x, cuts, sources=sources), whole)


@given(cuts=CUTS, at=st.integers(1, 1999), rate=st.sampled_from([44100, 48000]))
def test_a_ramp_of_strength_does_not_depend_on_blocks(models, cuts, at, rate):
    x = noise(3000)
    results: list[np.ndarray] = []
    none: list[int] = []
    for where in (none, cuts):
        stream = models(NETWORKS["plain"]).stream(rate, strength=6.0)
        before = in_pieces(stream, x[:at], where)
        stream.strength = 40.0
        between = in_pieces(stream, x[at : at + 300], where)
        stream.strength = None  # in the middle of the first ramp
        results.append(np.concatenate([before, between, in_pieces(stream, x[at + 300 :], where)]))
    np.testing.assert_array_equal(results[0], results[1])


def test_blocks_of_one_and_of_65536(models):
    stream = models(NETWORKS["plain"]).stream(44100)
    x = noise(65536 + 50)
    whole = in_pieces(stream, x, [65536])
    stream.reset()
    np.testing.assert_array_equal(in_pieces(stream, x, list(range(50))), whole)


# 2. Streaming equals the sequence form.


@pytest.mark.parametrize("form", ["step", "flat"])
@pytest.mark.parametrize("name", NETWORKS)
def test_stream_equals_the_sequence(models, name, form):
    network = NETWORKS[name]
    if form == "flat" and network.condition:
        network = Network(lookahead=20, state=3)
    x = noise(100 * network.hop, network.channels)
    stream = models(network, form).stream(channels=network.channels)
    expected, activity = network.sequence(x.T)
    block = x if network.channels > 1 else x[:, 0]
    result = in_pieces(stream, block, [7, 450, 451], sources=True)
    late = stream.latency
    expected = expected.transpose(0, 2, 1)[:, : len(x) - late].reshape(result[:, late:].shape)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(result[:, late:], expected, rtol=0, atol=1e-5)
    stream.reset()
    np.testing.assert_array_equal(stream.process(block), result[0])
    if activity is not None and form == "step":
        assert stream.activity == pytest.approx(activity[-1, 0], abs=1e-5)
    else:
        assert stream.activity is None


@pytest.mark.parametrize("form", ["step", "flat"])
def test_120_seconds_equal_the_sequence(models, form):
    network = Network(hop=128, analysis_window=256, synthesis_window=256, state=4, dilations=(1, 8, 32))
    x = noise(1, 120 * 48000)
    stream = models(network, form).stream()
    expected, _ = network.sequence(x)
    error = stream.process(x[0])[stream.latency :] - expected[0, 0, : -stream.latency]
    assert np.abs(error).max() < 1e-4


# 3. Causality.


@given(t=st.integers(1, 1500), rate=st.sampled_from(RATES), name=st.sampled_from(list(NETWORKS)))
def test_what_comes_changes_nothing_that_went_out(models, t, rate, name):
    stream = models(NETWORKS[name]).stream(rate)
    x = noise(1600)
    before = stream.process(x)
    x[t:] = noise(1600 - t, seed=1)
    stream.reset()
    np.testing.assert_array_equal(stream.process(x)[:t], before[:t])


# 4. Silence, faults, recovery.


@pytest.mark.parametrize("rate", [48000, 44100, 8000])
@pytest.mark.parametrize("name", NETWORKS)
def test_silence_in_silence_out(models, name, rate):
    stream = models(NETWORKS[name]).stream(rate, strength=20.0)
    assert not stream.process(np.zeros(3000, np.float32)).any()
    assert not stream.process(np.zeros(3000, np.float32), sources=True).any()


@pytest.mark.parametrize("rate", [48000, 44100, 192000])
@pytest.mark.parametrize("fault", ["nan", "inf", "-inf", "1e30", "1e-42", "square"])
def test_faults_stay_finite_and_pass(models, fault, rate):
    """After the receptive field and the latency, the stream knows nothing of what went wrong before."""
    network = NETWORKS["plain"]
    model = models(network)
    bad = np.sign(np.sin(np.arange(4000) / 7)) if fault == "square" else np.full(4000, float(fault))
    bad = np.where(np.arange(4000) % 3 == 0, noise(4000), bad) if fault != "square" else bad
    x = noise(20000)
    stream, fresh = model.stream(rate), model.stream(rate)
    assert np.isfinite(stream.process(bad.astype(np.float32))).all()
    fresh.process(np.zeros_like(bad))  # to the same place between two hops
    result, expected = stream.process(x), fresh.process(x)
    forgotten = stream.latency + 400 + int(np.ceil(model.spec.receptive_field * rate / 48000))
    assert np.isfinite(result).all() and np.abs(expected).max() > 0.1
    np.testing.assert_allclose(result[forgotten:], expected[forgotten:], rtol=0, atol=1e-6)
    assert np.abs(result - expected)[: stream.latency].max() > 0 or fault == "1e-42"


def test_bad_samples_count_as_zero_and_loud_ones_are_clamped(models):
    x = np.array([0.5, np.nan, np.inf, -np.inf, 9.0, -1e30, 8.0, -0.0], np.float32)
    stream = models(NETWORKS["plain"]).stream(strength=0)
    stream.process(x)
    np.testing.assert_array_equal(stream.flush()[-len(x) :][: len(x)], [0.5, 0, 0, 0, 8, -8, 8, 0])


# 5. Latency, to the sample.


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    "network", [IDENTITY, Network(identity=True, hop=128, analysis_window=1024, synthesis_window=256)]
)
def test_a_probe_measures_the_latency(models, network, rate):
    """A pulse within the band comes back `latency` samples later: the same pulse, not a fraction before or after."""
    stream = models(network).stream(rate)
    late, width = stream.latency, 2 * max(1.0, rate / 48000)
    for at in (400, 777, 1234):
        stream.reset()
        pulse = np.exp(-0.5 * ((np.arange(2000 + late) - at) / width) ** 2).astype(np.float32)
        y = stream.process(pulse)
        assert np.argmax(y) == at + late
        np.testing.assert_allclose(y[late:], pulse[:2000], atol=2e-4)
    if rate == 48000:
        assert late + 1 == stream.spec.algorithmic_latency
    else:  # both filters, and at most a sample or two of each clock for the grid
        both = stream._inward.after / rate + stream._outward.after / 48000
        assert late / rate <= network.synthesis_window / 48000 + both + 2 / rate


@given(
    rate=st.sampled_from(RATES),
    hop=st.integers(1, 40),
    extra=st.integers(0, 60),
    lookahead=st.integers(0, 30),
    grain=st.integers(1, 40),
)
def test_latency_is_the_smallest_that_is_always_met(models, rate, hop, extra, lookahead, grain):
    """Counted out block end by block end: with one sample less, some output would be asked for too early."""
    spec = replace(models(NETWORKS["plain"]).spec, hop=hop, synthesis_window=hop + extra, lookahead=lookahead)
    inward, outward = Converter(rate, 48000), Converter(48000, rate)
    grain = math.gcd(hop, grain) if rate == 48000 else 1
    worst = 0
    for ends in range(grain, 4 * hop * max(1, rate // 8000) * max(8, inward.down) + 400, grain)[:60_000]:
        complete = (inward.ready(ends) // hop + 1) * hop - spec.algorithmic_latency
        position = (complete - 1 - outward.after + 1) * outward.up  # floor(p) + after < complete  <=>  p < this
        worst = max(worst, ends - 1 - (-(-position // outward.down) - 1))
    latency = latency_of(spec, inward, outward, grain)
    assert worst <= latency
    if inward.down * hop < 60_000:  # a whole period was counted
        assert worst == latency


@pytest.mark.parametrize(("multiple", "latency"), [(1, 255), (2, 254), (32, 224), (480, 224), (128, 128), (256, 128)])
def test_block_multiple_lowers_the_latency(models, multiple, latency):
    network = Network(identity=True, hop=128, analysis_window=512, synthesis_window=256)
    stream = models(network).stream(block_multiple=multiple)
    assert stream.latency == latency
    x = noise(8 * multiple * (1 + 1000 // multiple))
    y = in_pieces(stream, x, list(range(multiple, len(x), multiple)))
    np.testing.assert_allclose(y[latency:], x[:-latency], atol=1e-6)
    np.testing.assert_allclose(stream.flush(), x[-latency:], atol=1e-6)
    if multiple > 1:
        with pytest.raises(InputError, match=f"multiples of {multiple}"):
            stream.process(x[: multiple + 1])


@pytest.mark.parametrize("form", ["step", "flat"])
def test_look_ahead_counts(models, form):
    stream = models(Network(identity=True, lookahead=24), form).stream()
    x = noise(1000)
    assert stream.latency == 32 - 1 + 24
    np.testing.assert_allclose(stream.process(x)[stream.latency :], x[: -stream.latency], atol=1e-6)


def test_flat_audio_is_what_a_stream_of_whole_hops_puts_out(models):
    """The contract of the flat form: its latency is that of block_multiple = hop."""
    network = Network(lookahead=7, state=3)
    x = noise(40 * network.hop)
    stream = models(network).stream(block_multiple=network.hop)
    step = models(network, "flat").step()
    hops = np.pad(x, (network.analysis_window - network.hop, 0))
    flat = [
        step.step(hops[None, at : at + network.analysis_window])[0, 0].copy() for at in range(0, len(x), network.hop)
    ]
    np.testing.assert_allclose(np.concatenate(flat), stream.process(x), atol=1e-6)


# flush, reset, sources, activity, channels.


@pytest.mark.parametrize("rate", [48000, 44100, 8000, 192000])
@pytest.mark.parametrize("name", NETWORKS)
def test_flush_gives_the_rest_and_leaves_a_new_stream(models, name, rate):
    stream = models(NETWORKS[name]).stream(rate, strength=9.0)
    x = noise(1501)
    whole = stream.process(np.concatenate([x, np.zeros(stream.latency, np.float32)]))
    stream.reset()
    stream.strength = 30.0
    stream.process(x[:100])
    stream.strength = 9.0  # still on the way back at the reset
    stream.reset()
    np.testing.assert_array_equal(np.concatenate([stream.process(x), stream.flush()]), whole)
    np.testing.assert_array_equal(np.concatenate([stream.process(x), stream.flush()]), whole)
    assert len(stream.flush()) == stream.latency and not stream.flush().any()


def test_flush_of_all_sources_and_channels(models):
    stream = models(NETWORKS["plain"]).stream(channels=3)
    x = noise(500, 3)
    whole = stream.process(np.concatenate([x, np.zeros((stream.latency, 3), np.float32)]), sources=True)
    stream.reset()
    parts = [stream.process(x, sources=True), stream.flush(sources=True)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_channels_of_a_mono_model_are_independent(models):
    model, x = models(NETWORKS["recurrent"]), noise(900, 8)
    stream = model.stream(44100, channels=8)
    result = stream.process(x)
    alone = [model.stream(44100) for _ in range(8)]
    for channel, one in enumerate(alone):
        np.testing.assert_array_equal(result[:, channel], one.process(x[:, channel]))
    assert stream.activity == max(one.activity for one in alone)


# What may be handed in.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 7999}, "sample_rate is 7999"),
        ({"sample_rate": 192001}, "sample_rate is 192001"),
        ({"sample_rate": 44100.5}, "sample_rate is 44100.5"),
        ({"sample_rate": float("nan")}, "sample_rate is nan"),
        ({"sample_rate": "48000"}, "sample_rate is 48000"),
        ({"channels": 0}, "channels is 0"),
        ({"channels": 9}, "channels is 9"),
        ({"channels": True}, "channels is True"),
        ({"strength": -1}, "strength is -1"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"strength": float("inf")}, "strength is inf"),
        ({"strength": "max"}, "strength is 'max'"),
        ({"strength": True}, "strength is True"),
        ({"block_multiple": 0}, "block_multiple is 0"),
        ({"block_multiple": 1.5}, "block_multiple is 1.5"),
        ({"block_multiple": 16, "sample_rate": 44100}, "block_multiple needs the model's own rate of 48000 Hz"),
    ],
)
def test_a_wrong_setting_is_refused(models, options, message):
    with pytest.raises(InputError, match=message):
        models(NETWORKS["plain"]).stream(**options)


@pytest.mark.parametrize(
    ("channels", "block", "message"),
    [
        (1, np.zeros(10, np.int16), "int16; convert it to float32"),
        (1, np.zeros(10, bool), "bool; convert"),
        (1, np.zeros(10, np.float16), "float16; convert"),
        (1, np.zeros((10, 2), np.float32), r"shape \[10, 2\]; this stream takes \[samples\]\."),
        (1, np.float32(1.0), r"shape \[\]"),
        (2, np.zeros(10, np.float32), r"takes \[samples, 2\]\."),
        (2, np.zeros((2, 48000), np.float32), r"takes \[samples, 2\] \(transpose it\)"),
        (2, np.zeros((5, 2, 1), np.float32), r"shape \[5, 2, 1\]"),
    ],
)
def test_a_wrong_block_is_refused_and_changes_nothing(models, channels, block, message):
    stream = models(NETWORKS["plain"]).stream(channels=channels)
    x = noise(400, channels) if channels > 1 else noise(400)
    whole = stream.process(x)
    stream.reset()
    first = stream.process(x[:99])
    with pytest.raises(InputError, match=message):
        stream.process(block)
    for out in (np.zeros(98, np.float32), np.zeros(x[99:].shape), np.zeros((3, 3), np.float32)):
        with pytest.raises(InputError, match="out is float"):
            stream.process(x[99:], out)
    fixed = np.zeros(x[99:].shape, np.float32)
    fixed.flags.writeable = False
    with pytest.raises(InputError, match="read-only"):
        stream.process(x[99:], fixed)
    np.testing.assert_array_equal(np.concatenate([first, stream.process(x[99:])]), whole)


def test_layouts_of_blocks(models):
    """Doubles, strides, read-only memory, lists, [n, 1], nothing at all, in place: all the same to a stream."""
    stream = models(NETWORKS["plain"]).stream(44100, channels=2)
    x = noise(600, 2)
    expected = stream.process(x)
    fixed = x.copy()
    fixed.flags.writeable = False
    for block in (x.astype(np.float64), np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2], fixed):
        stream.reset()
        np.testing.assert_array_equal(stream.process(block), expected)
    stream.reset()
    assert stream.process(np.zeros((0, 2), np.float32)).shape == (0, 2)
    place = x.copy()
    assert stream.process(place, place) is place
    np.testing.assert_array_equal(place, expected)
    stream.reset()
    spread = np.zeros((2, 1200), np.float32).T[::2]
    assert stream.process(x, out=spread) is spread
    np.testing.assert_array_equal(spread, expected)
    mono = models(NETWORKS["plain"]).stream()
    result = mono.process(x[:, 0])
    mono.reset()
    np.testing.assert_array_equal(mono.process(x[:, :1]), result[:, None])
    mono.reset()
    np.testing.assert_array_equal(mono.process(x[:, 0].astype(np.float64).tolist()), result)


@pytest.mark.parametrize("rate", [48000, 44100])
def test_process_allocates_nothing(models, rate):
    """Into ``out``, a thousand blocks leave nothing behind, and never hold more than a few small Python objects."""
    stream = models(Network(hop=128, analysis_window=1024, synthesis_window=256)).stream(rate, channels=2)
    x, out = noise(480, 2), np.empty((480, 2), np.float32)
    gc.collect()
    rounds = []
    tracemalloc.start()
    try:
        for _ in range(200):  # what Python and onnxruntime keep for reuse is there by then
            stream.process(x, out)
        for _ in range(3):  # threads that other tests have left allocate too, now and then
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            for _ in range(1000):
                stream.process(x, out)
            after, peak = tracemalloc.get_traced_memory()
            rounds.append((peak - held, after - held))
    finally:
        tracemalloc.stop()
    peak, left = min(rounds)
    assert left < 2000  # two bytes a block
    assert peak < 2500  # views of arrays; a block alone is 3840 bytes


def test_another_step_may_make_the_frames(models):
    """Stream knows the Step protocol and nothing else."""
    spec = replace(models(NETWORKS["plain"]).spec, sample_rate=16000, hop=10, synthesis_window=10, sources=("speech",))

    class Halve:
        def __init__(self) -> None:
            self.spec = spec
            self.activity: np.ndarray | None = None

        def step(self, window: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(window[None, :, -10:] / 2)

        def reset(self) -> None:
            pass

    stream = rtsep.Stream(spec, Halve)
    x = noise(100)
    np.testing.assert_array_equal(stream.process(x)[9:], x[:91] / 2)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    ("turn", "what"),
    [
        (lambda frames: frames.astype(np.float64), "float64;"),
        (lambda frames: np.repeat(frames, 2, axis=-1)[..., ::2], "float32, not contiguous;"),
    ],
)
def test_frames_that_compiled_code_cannot_read_are_refused_at_once(models, several, turn, what):
    """Also those of several hops, where only these are wrong."""
    model = models(NETWORKS["plain"])
    right = np.zeros((len(model.spec.sources), model.spec.channels, model.spec.synthesis_window), np.float32)

    class Wrong:
        hops = 4

        def __init__(self) -> None:
            self.spec, self.activity = model.spec, None

        def step(self, window: np.ndarray) -> np.ndarray:
            return right if several else turn(right)

        def many(self, windows: np.ndarray) -> np.ndarray:
            return [turn(right) for _ in windows]

        def reset(self) -> None:
            pass

    with pytest.raises(TypeError, match=f"The frames of Wrong are {what} a stream needs contiguous float32."):
        rtsep.Stream(model.spec, Wrong, hops=4)
