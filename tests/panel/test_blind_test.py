"""Blind tests: fair trials, chance by the binomial, and sounds that are equally loud."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest

from rtsep.errors import InputError
from rtsep.panel.blind_test import BlindTest, binomial_p
from rtsep.panel.loudness import PIECE, RATE, loudness


@pytest.mark.parametrize(
    ("correct", "trials", "p"),  # from tables of the binomial distribution
    [
        (0, 5, 1.0),
        (5, 5, 0.03125),
        (9, 10, 0.0107421875),
        (12, 16, 0.0384063721),
        (8, 16, 0.5981903076),
        (16, 16, 2**-16),
    ],
)
def test_p_is_that_of_the_binomial(correct: int, trials: int, p: float) -> None:
    assert binomial_p(correct, trials) == pytest.approx(p, rel=1e-9)


def test_p_is_what_scipy_says() -> None:
    stats = pytest.importorskip("scipy.stats")
    for trials in (5, 16, 60):
        for correct in range(trials + 1):
            expected = stats.binomtest(correct, trials, alternative="greater").pvalue
            assert binomial_p(correct, trials) == pytest.approx(expected, rel=1e-9)


def test_trials_are_fair() -> None:
    """Over many tests X is A as often as B, each version as often A, and each pair is asked equally often."""
    chance, seen = random.Random(1), Counter()
    for _ in range(200):
        test = BlindTest((0, 1, 2), 30, {}, chance)
        asked: Counter[tuple[int, ...]] = Counter()
        for trial in range(30):
            a, b, x = (test.version(trial, sound) for sound in "abx")
            assert a != b and x in (a, b)
            asked[tuple(sorted((a, b)))] += 1
            seen["x is a"] += x == a
            seen[f"a is {a}"] += 1
            test.answer(trial, "a")
        assert set(asked.values()) == {10}
    assert abs(seen["x is a"] - 3000) < 200 and all(abs(seen[f"a is {k}"] - 2000) < 200 for k in range(3))


def test_nothing_is_told_before_the_last_answer() -> None:
    test = BlindTest((1, 4), 5, {}, random.Random(2))
    for trial in range(5):
        state = test.state()
        assert (state["at"], state["over"], state["results"]) == (trial, False, [])
        assert set(state) == {"versions", "trials", "at", "over", "results"}
        with pytest.raises(InputError):
            test.version(trial + 1, "x")
        with pytest.raises(InputError):
            test.answer(trial + 1, "a")
        same = test.version(trial, "x") == test.version(trial, "a")
        test.answer(trial, "a" if same == (trial != 2) else "b")  # one is wrong
        with pytest.raises(InputError):
            test.answer(trial, "a")
    assert test.results() == [{"versions": [1, 4], "correct": 4, "trials": 5, "p": 6 / 32}]
    assert test.state()["over"]


def test_three_versions_have_a_result_a_pair() -> None:
    test = BlindTest((0, 1, 2), 6, {})
    for trial in range(6):
        test.answer(trial, "a" if test.version(trial, "x") == test.version(trial, "a") else "b")
    everything, *pairs = test.results()
    assert everything["correct"] == everything["trials"] == 6 and everything["p"] == 2**-6
    assert [(pair["versions"], pair["trials"], pair["p"]) for pair in pairs] == [
        ([0, 1], 2, 0.25),
        ([0, 2], 2, 0.25),
        ([1, 2], 2, 0.25),
    ]


@pytest.mark.parametrize(
    ("versions", "trials"), [((1,), 10), ((1, 1), 10), ((0, 1, 2, 3), 10), ((0, 1), 4), ((0, 1), 61)]
)
def test_what_is_no_test_is_refused(versions: tuple[int, ...], trials: int) -> None:
    with pytest.raises(InputError):
        BlindTest(versions, trials, {})


def tone(decibels: float, seconds: float, channels: int = 2) -> np.ndarray:
    """A sine of 1 kHz, [samples, channels]; decibels: of its peak, re full scale."""
    sine = 10 ** (decibels / 20) * np.sin(2 * np.pi * 1000 * np.arange(round(seconds * RATE)) / RATE)
    return np.repeat(sine[:, None], channels, 1).astype(np.float32)


def measured(sound: np.ndarray) -> float:
    return loudness(sound[at : at + PIECE] for at in range(0, len(sound), PIECE))


@pytest.mark.parametrize(
    ("sound", "lufs"),
    [  # cases 1, 2, 3 and 4 of EBU Tech 3341
        (tone(-23, 20), -23.0),
        (tone(-33, 20), -33.0),
        (np.concatenate([tone(-36, 10), tone(-23, 60), tone(-36, 10)]), -23.0),
        (np.concatenate([tone(-72, 10), tone(-36, 10), tone(-23, 60), tone(-36, 10), tone(-72, 10)]), -23.0),
        (tone(0, 5, channels=1), -3.01),  # BS.1770-4: a sine at full scale in one channel
    ],
)
def test_loudness_is_that_of_the_standard(sound: np.ndarray, lufs: float) -> None:
    assert measured(sound) == pytest.approx(lufs, abs=0.1)


def test_silence_has_no_loudness() -> None:
    assert measured(tone(-300, 2)) == measured(tone(0, 0.3)) == -math.inf
