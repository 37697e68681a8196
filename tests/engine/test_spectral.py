"""Separators that see whole segments: no seams, any pieces, any place, any rate, and a description that is checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rtsep
from rtsep.engine.enhance import enhance, new_enhancer
from rtsep.engine.segments import Segments
from rtsep.engine.song_enhancer import SongEnhancer
from rtsep.errors import InputError
from rtsep.model import SpectralModel
from tests.recordings import noisy
from tests.spectral_graphs import SIZES, SpectralNetwork


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("spectral")


@pytest.fixture(scope="module")
def model(folder) -> SpectralModel:
    loaded = rtsep.load(SpectralNetwork().save(folder / "tiny.onnx"))
    assert isinstance(loaded, SpectralModel)
    return loaded


def sources(model: SpectralModel, sound: np.ndarray, rate: int, cuts: list[int]) -> np.ndarray:
    enhancer = SongEnhancer(model, rate, sound.shape[1])
    pieces = [enhancer.process_sources(piece) for piece in np.split(sound, cuts)]
    return np.concatenate([*pieces, enhancer.flush_sources()], axis=1)


@given(
    st.lists(st.integers(0, 30000), min_size=1, max_size=9), st.sampled_from([44100, 48000, 8000]), st.integers(1, 2)
)
def test_any_pieces_give_the_same_bits_and_the_sources_sum_to_the_song(model, sizes, rate, channels) -> None:
    sound = noisy(rate, channels, 0.7)
    whole = sources(model, sound, rate, [])
    assert whole.shape == (2, *sound.shape)
    assert np.array_equal(whole, sources(model, sound, rate, list(np.cumsum(sizes))))
    vocals, accompaniment = whole
    assert np.array_equal(accompaniment, sound - vocals) and np.abs(vocals).max() > 1e-4
    assert np.array_equal(accompaniment, enhance(sound, rate, model))


@pytest.mark.parametrize("samples", [0, 1, 500, 4032, 4033, 7000])
def test_short_songs_are_as_long_as_they_were(model, samples) -> None:
    sound = noisy(44100, 2, 1.0)[:samples]
    assert enhance(sound, 44100, model).shape == sound.shape


@pytest.mark.parametrize("rate", [44100, 48000, 22050])
def test_there_is_no_seam(folder, rate) -> None:
    """With a mask of ones the vocals are the song: what a border does to them would be all that is left."""
    ones = rtsep.load(SpectralNetwork(mask=1.0).save(folder / "ones.onnx"))
    time = np.arange(rate) / rate
    tone = np.stack([0.5 * np.sin(2 * np.pi * 440 * time), 0.3 * np.cos(2 * np.pi * 700 * time)], 1).astype(np.float32)
    left = np.abs(enhance(tone, rate, ones))
    inside = left[rate // 20 : -rate // 20]
    assert inside.max() < (2e-6 if rate == 44100 else 2e-4)


def test_a_segment_fades_into_the_next_and_the_weights_sum_to_one(model) -> None:
    """Segments that are all ones join to ones; those that say their number, to numbers that only go up."""
    grid = Segments(model.spec, 44100)
    assert np.allclose(grid.joined(0, 20000, lambda k, a, b: np.ones((1, b - a, 1), np.float32)), 1, atol=1e-6)
    numbers = grid.joined(0, 20000, lambda k, a, b: np.full((1, b - a, 1), k, np.float32))[0, :, 0]
    steps = np.diff(numbers)
    assert numbers[0] == 0 and steps.min() >= 0 and steps.max() < 1.1 / grid.fade and numbers[-1] > 5


@given(st.integers(0, 25000), st.integers(0, 9000))
def test_a_stretch_is_the_same_wherever_one_begins(model, at, count) -> None:
    sound, spec = noisy(44100, 2, 0.8), model.spec
    grid, separator = Segments(spec, 44100), model.segment_separator(44100)
    made = {k: separator.separate(sound[k * grid.step : k * grid.step + grid.length]) for k in range(12)}
    some = grid.joined(at, count, lambda k, a, b: made[k][:, a:b])
    whole = grid.joined(0, at + count, lambda k, a, b: made[k][:, a:b])
    assert np.array_equal(some, whole[:, at:])
    needed = {k for place in range(at, at + count, 50) for k in grid.needed(place)}
    assert grid.ready(at, count, made.__contains__) == count
    for number in needed:
        short = grid.ready(at, count, lambda k, number=number: k != number)
        assert short < count or count == 0
        assert number in grid.needed(at + short)


@pytest.mark.parametrize(("above", "kept"), [("follow", 0.0), ("target", 1.0)])
def test_what_lies_above_the_ceiling_follows_the_octave_below_or_stays(folder, above, kept) -> None:
    """A tone at 15 kHz beside one at 8 kHz, which the mask takes; the graph sees up to 11 kHz."""
    ones = rtsep.load(SpectralNetwork(mask=1.0, above=above).save(folder / f"{above}.onnx"))
    time = np.arange(44100) / 44100
    low, high = (np.sin(2 * np.pi * hertz * time).astype(np.float32) for hertz in (8000, 15000))
    left = enhance(np.stack([low + high] * 2, 1), 44100, ones)[5000:-5000]
    assert np.abs(left - kept * high[5000:-5000, None]).max() < 0.01


def test_complex_spectra_in_and_out_are_the_same_as_masks(folder) -> None:
    sound = noisy(44100, 2, 0.5)
    made = [
        enhance(sound, 44100, SpectralNetwork(mask=0.25, complex_spectra=c).save(folder / f"{c}.onnx"))
        for c in (False, True)
    ]
    assert np.allclose(made[0], made[1], atol=1e-6) and np.allclose(
        made[0][500:-500], 0.75 * sound[500:-500], atol=1e-5
    )


def test_strength_and_sources_are_as_of_other_models(model) -> None:
    sound = noisy(48000, 2, 0.5)
    assert np.array_equal(enhance(sound, 48000, model, strength=0.0), sound)
    wet, half = enhance(sound, 48000, model), enhance(sound, 48000, model, strength=6.0)
    gain = 10 ** (-6 / 20)
    assert np.allclose(half, (1 - gain) * wet + gain * sound, atol=1e-6)
    enhancer = new_enhancer(model, 48000, 2, source="vocals")
    assert np.allclose(np.concatenate([enhancer.process(sound), enhancer.flush()]), sound - wet, atol=1e-7)
    with pytest.raises(InputError, match="no source 'drums'"):
        new_enhancer(model, 48000, 2, source="drums")
    with pytest.raises(InputError, match="1 or 2 channels, not 3"):
        new_enhancer(model, 48000, 3)


def test_it_is_none_for_sound_that_is_still_being_made(model) -> None:
    for refused in (model.stream, model.step):
        with pytest.raises(InputError, match="separates songs in files"):
            refused()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format", "2", "must be 1"),
        ("target", "drums", "one of two or more sources"),
        ("sources", '["accompaniment"]', "two or more"),
        ("hop", "128", "at most a quarter"),
        ("bins", "200", "at least the 200 bins"),
        ("overlap", "32", "less than half"),
        ("input", "sound", "magnitudes or spectra"),
        ("output", "separated", "no output 'separated'"),
        ("above", "nothing", "follow or target"),
        ("frames", "65", "has shape"),
        ("window", None, "rtsep.window is missing"),
        ("weights_sha256", "x", "sha256"),
    ],
)
def test_a_description_that_cannot_be_is_refused_by_its_key(tmp_path, key, value, words) -> None:
    path = SpectralNetwork().save(tmp_path / "wrong.onnx", **{key: value})
    with pytest.raises(InputError, match=words):
        rtsep.load(path)


def test_the_sizes_of_the_tests_are_such_that_segments_overlap() -> None:
    assert SIZES["overlap"] * SIZES["hop"] > SIZES["window"]
