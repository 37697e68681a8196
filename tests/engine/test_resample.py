"""The live converter: as good as it says, the same in any cut, exact for ever; soxr stays in step."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsep.engine.polyphase import convolve
from rtsep.engine.resample import Converter, WholeSignal

PAIRS = [
    (8000, 48000),
    (48000, 8000),
    (11025, 48000),
    (12345, 48000),
    (48000, 12345),
    (16000, 48000),
    (48000, 16000),
    (22050, 48000),
    (44100, 48000),
    (48000, 44100),
    (47999, 48000),
    (48000, 47999),
    (96000, 48000),
    (48000, 96000),
    (192000, 48000),
    (48000, 192000),
    (192000, 44100),
    (44100, 176400),
]


def convert(way: Converter, x: np.ndarray, first: int = 0, count: int | None = None) -> np.ndarray:
    """``x`` [samples] through ``way``, zeros before and after it; ``count`` outputs from ``first`` on."""
    count = way.ready(len(x)) - first if count is None else count
    length = 1 << (len(x) + way.span(count)).bit_length()
    ring = np.zeros((1, length), np.float32)
    ring[0, : len(x)] = x
    out = np.empty((1, count), np.float32)
    scratch = np.empty(way.span(count), np.float32)
    numbers = (way.before, way.up, way.down, first, count)
    convolve(ring, length - 1, way.table, *numbers, scratch, out, 0, (1 << 62) - 1)
    return out[0]


def decibels(error: np.ndarray) -> float:
    return 20 * np.log10(np.abs(error).max() + 1e-12)


def edges(way: Converter, source: int, target: int) -> tuple[float, float]:
    """Highest clean frequency and lowest stopped frequency: the transition lies around the lower Nyquist."""
    nyquist = min(source, target) / 2
    half = max(0.093 * nyquist, nyquist - 20_000, 2.683 * source / way.after / 2)
    return nyquist - half, nyquist + half


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_passband_is_clean_and_stopband_80_db_down(source, target):
    """A tone comes out as the same tone at the same time, with images, aliases and ripple at least 80 dB down."""
    way = Converter(source, target)
    clean, stopped = edges(way, source, target)
    n = int(0.1 * source)
    middle = slice(int(0.02 * target), int(0.08 * target))
    for frequency in (0.0, 0.1 * clean, 0.5 * clean, 0.9 * clean, clean):
        tone = np.cos(2 * np.pi * frequency * np.arange(n) / source + 0.3)
        result = convert(way, tone)
        expected = np.cos(2 * np.pi * frequency * np.arange(len(result)) / target + 0.3)
        assert decibels((result - expected)[middle]) < -74  # 80 dB each for images and for ripple may add up
    for frequency in np.linspace(stopped, source / 2, 5) if stopped < source / 2 else ():
        tone = np.cos(2 * np.pi * frequency * np.arange(n) / source)
        assert decibels(convert(way, tone)[middle]) < -80


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_linear_phase_and_at_most_2_ms(source, target):
    way = Converter(source, target)
    assert way.after / source <= 0.002
    assert way.table.shape == (min(way.up, 1024) + 1, way.before + way.after + 1)
    np.testing.assert_allclose(way.table[0, :-1], way.table[-1, 1:], atol=1e-7)
    np.testing.assert_allclose(way.table, way.table[::-1, ::-1], atol=1e-7)
    np.testing.assert_allclose(way.table.sum(axis=1), 1, atol=1e-6)


def test_audible_band_is_clean_at_music_rates():
    for source, target in ((44100, 48000), (48000, 44100), (96000, 48000), (48000, 192000)):
        way = Converter(source, target)
        assert edges(way, source, target)[0] > 19_990
        assert way.after / source < 0.0008


def test_equal_rates_are_the_signal_itself():
    x = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    way = Converter(44100, 44100)
    np.testing.assert_array_equal(convert(way, x), x)
    assert way.ready(17) == 17 and way.needed(17) == 17


@given(
    source=st.integers(8000, 192000),
    target=st.sampled_from([44100, 48000]),
    begin=st.sampled_from([-5, 0, 3, 10**9, 10**12]),
    count=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_convolve_against_its_numpy_twin(source, target, begin, count, seed):
    """Exact positions in Python's own integers, at the start of the stream and years into it."""
    way = Converter(source, target)
    ring = np.random.default_rng(seed).standard_normal((2, 1024)).astype(np.float32)
    out = np.full((3, 64), 7, np.float32)
    scratch = np.empty(way.span(count), np.float32)
    convolve(ring, 1023, way.table, way.before, way.up, way.down, begin, count, scratch, out, 60, 63)
    phases, taps = len(way.table) - 1, way.table.shape[1]
    for i in range(count):
        base, rest = divmod((begin + i) * way.down, way.up)
        row, share = divmod(rest * phases, way.up)
        weights = way.table[row].astype(np.float64)
        if share:
            weights += (way.table[row + 1] - weights) * (share / way.up)
        past = ring[:, [(base - way.before + t) % 1024 for t in range(taps)]]
        expected = past @ weights
        np.testing.assert_allclose(out[:, (60 + i) % 64], expected[[0, 1, 1]], atol=2e-5)
    assert (out[:, [(60 + i) % 64 for i in range(count, 64)]] == 7).all()


@given(
    pair=st.sampled_from(PAIRS),
    cuts=st.lists(st.integers(1, 299), max_size=8, unique=True).map(sorted),
)
def test_any_cut_gives_the_same_bits(pair, cuts):
    way = Converter(*pair)
    x = np.random.default_rng(0).standard_normal(way.needed(300))
    whole = convert(way, x)[:300]
    bounds = [0, *cuts, 300]
    pieces = [convert(way, x, a, b - a) for a, b in pairwise(bounds)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@given(source=st.integers(8000, 192000), target=st.integers(8000, 192000), outputs=st.integers(1, 10**9))
def test_ready_and_needed_agree(source, target, outputs):
    way = Converter(source, target)
    inputs = way.needed(outputs)
    assert way.ready(inputs) >= outputs > way.ready(inputs - 1)


@pytest.mark.parametrize(("source", "target"), [(44100, 48000), (48000, 12345), (8000, 48000), (192000, 48000)])
def test_whole_signal_is_aligned(source, target):
    """soxr's streaming output is in step with its input: sample k belongs to time k / rate."""
    frequency = 1000.0
    tone = np.sin(2 * np.pi * frequency * np.arange(source // 2) / source).astype(np.float32)[:, None]
    way = WholeSignal(source, target, 1)
    pieces = [way.process(tone[at : at + 777]) for at in range(0, len(tone), 777)]
    result = np.concatenate([*pieces, way.process(tone[:0], last=True)])[:, 0]
    assert abs(len(result) - target // 2) <= 1
    expected = np.sin(2 * np.pi * frequency * np.arange(len(result)) / target)
    middle = slice(target // 10, -target // 10)
    np.testing.assert_allclose(result[middle], expected[middle], atol=1e-3)
