"""Feedback is a tone that stays: what counts as a tone, to the bin and the decibel, and what as staying."""

from __future__ import annotations

import numpy as np
import pytest

from rtsep.live.feedback_detector import FeedbackDetector

BIN = 48000 / 4096  # Hz


def tone(hertz: float, amplitude: float = 0.1) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(4096) / 48000)).astype(np.float32)


def level(decibels: float) -> float:
    """Amplitude so far over that of `tone`."""
    return float(0.1 * 10 ** (decibels / 20))


def stays(sound: np.ndarray) -> bool:
    """Whether it is feedback by the fourth look."""
    detector = FeedbackDetector()
    return [detector.detects(sound) for _ in range(4)][-1]


def test_a_tone_is_feedback_at_the_fourth_look_and_a_beep_is_not() -> None:
    """Three looks are 0.3 s, as long as a beep; what moves on, pauses or dies away begins anew."""
    detector = FeedbackDetector()
    assert [detector.detects(tone(1000)) for _ in range(5)] == [False, False, False, True, True]
    for interruption in (tone(2000), tone(1000, 0.0), tone(1000, 0.05)):
        detector = FeedbackDetector()
        looks = [detector.detects(sound) for sound in [tone(1000)] * 3 + [interruption] + [tone(1000)] * 2]
        assert looks == [False] * 6


def test_one_that_moves_a_bin_or_weakens_a_little_stays() -> None:
    for steps, amplitudes, expected in (
        ((300, 301, 302, 303), (0.1, 0.1, 0.1, 0.1), True),
        ((303, 302, 301, 300), (0.1, 0.1, 0.1, 0.1), True),
        ((300, 302, 304, 306), (0.1, 0.1, 0.1, 0.1), False),
        ((306, 304, 302, 300), (0.1, 0.1, 0.1, 0.1), False),
        ((300, 300, 300, 300), (0.1, 0.085, 0.0722, 0.0614), True),  # 0.7 of the power is 0.837 of the amplitude
        ((300, 300, 300, 300), (0.1, 0.083, 0.0689, 0.0572), False),
    ):
        detector = FeedbackDetector()
        looks = [detector.detects(tone(BIN * step, size)) for step, size in zip(steps, amplitudes, strict=True)]
        assert looks == [False, False, False, expected]


def test_something_else_between_begins_anew() -> None:
    """The same peak with a harmonic beside it is no tone, and the three looks before it no longer count."""
    detector = FeedbackDetector()
    note = tone(BIN * 300) + tone(BIN * 600, 0.05)
    looks = [detector.detects(sound) for sound in [tone(BIN * 300)] * 3 + [note] + [tone(BIN * 300)] * 4]
    assert looks == [False] * 7 + [True]


@pytest.mark.parametrize(("amplitude", "expected"), [(0.00102, True), (0.00098, False), (0.0, False)])
def test_it_is_over_60_db_below_full_scale(amplitude: float, expected: bool) -> None:
    assert stays(tone(BIN * 300, amplitude)) == expected


@pytest.mark.parametrize("harmonic", [150, 200, 450, 600, 900])
@pytest.mark.parametrize("beside", [-2, 0, 2])
def test_a_harmonic_within_25_db_makes_it_a_note(harmonic: int, beside: int) -> None:
    place = BIN * (harmonic + beside)
    assert not stays(tone(BIN * 300) + tone(place, level(-24.5)))
    assert stays(tone(BIN * 300) + tone(place, level(-25.5)))


@pytest.mark.parametrize("place", [147, 153, 197, 203, 447, 453, 597, 603, 897, 903, 400, 1200])
def test_what_is_no_harmonic_leaves_it_a_tone(place: int) -> None:
    """Three bins beside, the window's slope is 6 dB down."""
    assert stays(tone(BIN * 300) + tone(BIN * place, level(-20.0)))


def test_a_high_tone_has_its_harmonics_above_the_band() -> None:
    """Twice and three times are out of reach; half of it is looked at all the same. Twice bin 1024 is the last."""
    assert stays(tone(BIN * 1500)) and stays(tone(BIN * 1023)) and stays(tone(BIN * 1024))
    assert not stays(tone(BIN * 1500) + tone(BIN * 750, level(-24.0)))
    assert stays(tone(BIN * 683) + tone(BIN * 2047, level(-20.0)))  # three times is bin 2049 of 2049
    edge = level(-20.0) * np.cos(np.pi * np.arange(4096)).astype(np.float32)
    assert not stays(tone(BIN * 1024) + edge)


def test_a_low_tone_counts_and_a_constant_does_not() -> None:
    assert stays(tone(BIN * 12))
    assert not stays(np.full(4096, 0.1, np.float32)) and not stays(tone(BIN * 1))


@pytest.mark.parametrize(("others", "expected"), [(6, True), (8, False)])
def test_it_is_25_db_over_the_average(others: int, expected: bool) -> None:
    """A tone has 1.5 of its power in 2049 bins. With 6 others of half its power it is 25.3 dB over the mean, with 8
    24.4 dB."""
    places = [330, 360, 390, 480, 510, 540, 700, 800][:others]  # none of them a harmonic
    assert stays(tone(BIN * 300) + sum(tone(BIN * place, level(-3.01)) for place in places)) == expected


def test_only_the_end_of_a_longer_sound_counts() -> None:
    noise = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    detector = FeedbackDetector()
    looks = [detector.detects(np.concatenate([noise, tone(BIN * 300)])) for _ in range(4)]
    assert looks == [False, False, False, True]


def detected(sound: np.ndarray) -> bool:
    """Whether a detector that looks ten times a second finds feedback."""
    detector = FeedbackDetector()
    return any([detector.detects(sound[end - 4096 : end]) for end in range(4096, len(sound) + 1, 4800)])


def test_a_growing_tone_is_feedback_and_voices_music_and_noise_are_not() -> None:
    t = np.arange(2 * 48000) / 48000
    rng = np.random.default_rng(0)
    noise = 0.003 * rng.standard_normal(len(t))
    for hertz in (300.0, 1234.5, 3000.0, 9000.0):
        tone = np.minimum(0.5, 1e-4 * np.exp(6 * t)) * np.sin(2 * np.pi * hertz * t)
        assert detected((tone + noise).astype(np.float32))
    voice = sum(np.sin(2 * np.pi * 120 * k * t + 0.3 * np.sin(2 * np.pi * 5 * t) * k) / k for k in range(1, 20))
    held = sum(np.sin(2 * np.pi * 220 * k * t) / k**2 for k in range(1, 10))  # a note of an instrument
    for sound in (0.1 * voice, 0.1 * held, 0.1 * rng.standard_normal(len(t)), 0 * t):
        assert not detected((sound + noise).astype(np.float32))
