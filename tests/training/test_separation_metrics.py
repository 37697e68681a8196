"""Measures of separation against hand-worked cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.evaluation import separation_metrics as metrics
from training.evaluation.speech_metrics import silence_energies

RATE = 8000


def tone(hertz: float, seconds: float = 4.0, level: float = 0.1) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE)


def noise(seed: int, seconds: float = 4.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(int(RATE * seconds)) * 0.1


def test_interference_alone() -> None:
    """Estimate = s₁ + s₂ / 10 of equal power: SDR, SIR and SI-SDR are 20 dB, no artefacts to speak of."""
    one, two = noise(1), noise(2)
    two *= np.sqrt(np.mean(one**2) / np.mean(two**2))
    scores = metrics.score({"one": one, "two": two}, {"one": one + 0.1 * two, "two": two}, RATE)["one"]
    assert scores["sdr"] == pytest.approx(20, abs=0.1) and scores["sir"] == pytest.approx(20, abs=0.7)
    assert scores["sar"] > 30 and scores["isr"] > 30
    assert scores["si_sdr"] == pytest.approx(20, abs=0.3) and scores["si_sdri"] == pytest.approx(20, abs=0.5)


def test_artefacts_alone() -> None:
    one, two, strange = noise(1), noise(2), noise(3)
    strange *= 0.1 * np.sqrt(np.mean(one**2) / np.mean(strange**2))
    scores = metrics.score({"one": one, "two": two}, {"one": one + strange, "two": two}, RATE)["one"]
    assert scores["sdr"] == pytest.approx(20, abs=0.1) and scores["sar"] == pytest.approx(20, abs=1.0)
    assert scores["sir"] > 28


def test_a_gain_is_a_spatial_error() -> None:
    """Half as loud: an error of half the source, 6 dB, that is the filter's and neither interference nor artefact."""
    one, two = noise(1), noise(2)
    scores = metrics.score({"one": one, "two": two}, {"one": 0.5 * one, "two": two}, RATE)["one"]
    assert scores["sdr"] == pytest.approx(6.02, abs=0.01) and scores["isr"] == pytest.approx(6.02, abs=0.1)
    assert scores["sir"] > 40 and scores["si_sdr"] > 100


def test_any_order() -> None:
    sources = {name: noise(index) for index, name in enumerate("abcd")}
    truth = list(sources.values())
    assert metrics.best_order(truth, [truth[i] for i in (2, 0, 3, 1)]) == [1, 3, 0, 2]
    assert metrics.best_order(truth[:3], [truth[2]]) == [-1, -1, 0]
    turned = dict(zip("wxyz", [truth[i] for i in (2, 0, 3, 1)], strict=True))
    assert all(each["si_sdr"] > 100 for each in metrics.score(sources, turned, RATE, any_order=True).values())


def test_precision_and_recall_by_hand() -> None:
    ideal = np.array([[True, True, False, False]])
    found = np.array([[True, False, True, True]])
    assert metrics.precision_recall(ideal, found) == (pytest.approx(1 / 3), pytest.approx(1 / 2))
    nothing = np.zeros((1, 4), bool)
    precision, recall = metrics.precision_recall(nothing, found)
    assert precision == 0 and math.isnan(recall) and math.isnan(metrics.precision_recall(ideal, nothing)[0])


def test_masks_of_tones() -> None:
    """Two tones in bins far apart: each mask holds the bins around its own, and what a mask misses is not recalled."""
    low, high = tone(1000), tone(3000)
    mask = metrics.binary_mask(low, high)
    assert mask[128, 5:-5].all() and not mask[384, 5:-5].any()
    scores = metrics.score({"low": low, "high": high}, {"low": low, "high": high}, RATE)
    assert scores["low"]["precision"] == 1 and scores["high"]["recall"] == 1
    swapped = metrics.score({"low": low, "high": high}, {"low": high, "high": low}, RATE)["low"]
    assert swapped["precision"] < 0.05 and swapped["recall"] < 0.05


@pytest.mark.parametrize("ratio", [True, False])
def test_ideal_masks_are_bounds(ratio: bool) -> None:
    sources = {"low": tone(1000), "high": tone(3000), "noise": 0.01 * noise(1)}
    bound = metrics.bounds(sources, ratio)
    for name in ("low", "high"):
        assert np.sum((bound[name] - sources[name]) ** 2) < 0.01 * np.sum(sources[name] ** 2)
    if ratio:  # of two sources shares of power sum to one
        two = {name: sources[name] for name in ("low", "noise")}
        bound, sources = metrics.bounds(two, ratio), two
        assert np.abs(sum(bound.values()) - sum(sources.values())).max() < 1e-5


def test_silence_of_either_by_hand() -> None:
    """1 s of s silent with ŝ = 0.01: 10·log10(8000 · 1e-4); 1 s of ŝ silent with s = 0.1: 10·log10(8000 · 1e-2)."""
    source = np.concatenate([np.zeros(RATE), np.full(RATE, 0.1), np.full(RATE, 0.1)])
    guess = np.concatenate([np.full(RATE, 0.01), np.zeros(RATE), np.full(RATE, 0.1)])
    rest = noise(1, 3.0)
    scores = metrics.score({"s": source, "rest": rest}, {"s": guess, "rest": rest}, RATE)["s"]
    assert scores["pes"] == pytest.approx(10 * math.log10(0.8)) and scores["eps"] == pytest.approx(10 * math.log10(80))
    assert (scores["pes"], scores["eps"]) == pytest.approx(silence_energies(source, guess, RATE))


def test_counting_and_means() -> None:
    assert metrics.counting_accuracy([1, 2, 3, 2], [1, 2, 2, 2]) == 0.75
    with pytest.raises(ValueError, match="As many counts"):
        metrics.counting_accuracy([1], [])
    rows = [dict.fromkeys(metrics.MEASURES, 1.0), dict.fromkeys(metrics.MEASURES, math.nan)]
    assert metrics.mean(rows) == dict.fromkeys(metrics.MEASURES, 1.0)
    assert math.isnan(metrics.mean(rows[1:])["sdr"])
