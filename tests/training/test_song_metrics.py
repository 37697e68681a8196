"""Scores of separated music, held against what can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("museval")

from training.evaluation import song_metrics
from training.evaluation.ideal_masks import ideal_mask

RATE = 8000


def noise(seconds: float, seed: int, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(seed).standard_normal((round(seconds * RATE), 2))


def song(seconds: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """Vocals that are silent in the first third, 6 dB under the accompaniment."""
    vocals = noise(seconds, 1, 0.05)
    vocals[: len(vocals) // 3] = 0
    return vocals, noise(seconds, 2)


def test_passages_follow_the_rule():
    vocals, _ = song(6.0)
    vocals[4 * RATE :] *= 10 ** (-45 / 20)  # neither voiced nor free
    voiced, free = song_metrics.passages(vocals, RATE)
    assert len(voiced) == 60
    np.testing.assert_array_equal(np.flatnonzero(voiced), np.arange(20, 40))
    np.testing.assert_array_equal(np.flatnonzero(free), np.arange(0, 15))  # half a second before the voice is not free
    voiced, free = song_metrics.passages(np.zeros((RATE, 2)), RATE)
    assert not voiced.any() and free.all()


@pytest.mark.parametrize("gain", [0.5, 0.1])
def test_bss_eval_of_a_voice_turned_down(gain):
    """What is left is pure interference: SDR = SIR = level ratio, SAR and ISR far above."""
    vocals, accompaniment = noise(8.0, 1, 0.05), noise(8.0, 2)
    found = song_metrics.bss_eval([accompaniment, vocals], [accompaniment + gain * vocals, (1 - gain) * vocals], RATE)
    expected = 20 * math.log10(2 / gain)
    assert found["sdr"][0] == pytest.approx(expected, abs=0.2)
    assert found["sir"][0] == pytest.approx(expected, abs=0.2)
    assert found["sar"][0] > 50 and found["isr"][0] > 25
    assert found["sdr"][1] == pytest.approx(-20 * math.log10(gain), abs=0.1)  # (1 - g) v: what is missing is g v
    assert found["isr"][1] == pytest.approx(-20 * math.log10(gain), abs=0.1)


def test_bss_eval_of_added_noise_and_of_silence():
    vocals, accompaniment, foreign = noise(8.0, 1), noise(8.0, 2), noise(8.0, 3, 0.01)
    found = song_metrics.bss_eval([accompaniment, vocals], [accompaniment + foreign, vocals], RATE)
    assert found["sdr"][0] == pytest.approx(20, abs=0.2)
    assert found["sar"][0] == pytest.approx(20, abs=1.0)  # 2048 taps explain a part of any noise
    assert found["sir"][0] > 25
    silent = song_metrics.bss_eval([accompaniment, vocals], [accompaniment, 0 * vocals], RATE)
    assert silent["sdr"][0] > 70 and silent["sdr"][1] == pytest.approx(0, abs=0.01)
    assert math.isnan(song_metrics.bss_eval([accompaniment, 0 * vocals], [accompaniment, vocals], RATE)["sdr"][0])


def test_the_sdr_where_the_voice_sings_is_that_of_bss_eval_there():
    vocals, accompaniment = song(9.0)
    accompaniment *= np.repeat([1, 1, 1, 0.5, 1, 2, 1, 1, 3], RATE)[:, None]
    estimate = 0.9 * accompaniment + 0.3 * vocals
    found = song_metrics.voiced_sdr(accompaniment, estimate, vocals, RATE)
    sung = song_metrics.bss_eval([accompaniment, vocals], [estimate, vocals], RATE)["sdr"][
        0
    ]  # a silent voice is left out there
    assert found == pytest.approx(sung, abs=1e-3)
    estimate[: 3 * RATE] = 0
    assert song_metrics.voiced_sdr(accompaniment, estimate, vocals, RATE) == found
    assert song_metrics.voiced_sdr(accompaniment, accompaniment, vocals, RATE) == pytest.approx(120)
    assert math.isnan(song_metrics.voiced_sdr(accompaniment, accompaniment, 0 * vocals, RATE))


def test_frames_without_a_voice_are_left_out_of_the_median():
    vocals, accompaniment = song(9.0)
    estimate = accompaniment.copy()
    estimate[: 3 * RATE] *= 0.5  # no SDR is defined here
    estimate[3 * RATE :] += 0.01 * vocals[3 * RATE :]
    found = song_metrics.bss_eval([accompaniment, vocals], [estimate, vocals], RATE)
    assert found["sdr"][0] == pytest.approx(46, abs=0.5)


def test_empty_bands_do_not_make_an_sir_of_nothing():
    """The stems end at a quarter of the band: without noise the filters there are as large as they like."""
    from scipy.signal import butter, sosfiltfilt

    low = butter(12, 0.5, output="sos")
    vocals, accompaniment = (sosfiltfilt(low, noise(8.0, seed), axis=0) for seed in (1, 2))
    estimate = ideal_mask(vocals, accompaniment, ratio=True)
    found = song_metrics.bss_eval([accompaniment, vocals], [estimate, vocals + accompaniment - estimate], RATE)
    assert found["sir"][0] > found["sdr"][0]


@pytest.mark.parametrize("gain", [1.0, 0.5, 0.1, 0.01])
def test_suppression_is_the_gain_of_the_voice(gain):
    vocals, accompaniment = song()
    found = song_metrics.suppression(vocals, accompaniment, accompaniment + gain * vocals, RATE)
    assert found == pytest.approx(-20 * math.log10(gain), abs=0.01)


def test_suppression_sees_the_voice_through_masks_delays_and_other_channels():
    vocals, accompaniment = song()
    late = np.roll(vocals, 3, axis=0)
    swapped = vocals[:, ::-1]
    for left in (0.25 * late, 0.25 * swapped):
        assert song_metrics.suppression(vocals, accompaniment, accompaniment + left, RATE) == pytest.approx(
            12.0, abs=0.5
        )
    foreign = noise(12.0, 9, 0.05)  # is no voice, but a projection finds a little of anything in anything
    assert song_metrics.suppression(vocals, accompaniment, accompaniment + foreign, RATE) > 15
    assert song_metrics.suppression(vocals, accompaniment, 0.3 * accompaniment, RATE) == 120
    assert math.isnan(song_metrics.suppression(0 * vocals, accompaniment, accompaniment, RATE))


def test_damage_looks_at_free_passages_only():
    vocals, accompaniment = song()
    mixture = vocals + accompaniment
    estimate = accompaniment.copy()
    assert song_metrics.damage(mixture, estimate, vocals, RATE) == -120
    estimate[: 3 * RATE] *= 0.9
    assert song_metrics.damage(mixture, estimate, vocals, RATE) == pytest.approx(
        -20 + 10 * math.log10(30 / 35), abs=0.2
    )
    assert math.isnan(song_metrics.damage(mixture, estimate, noise(12.0, 1), RATE))


def test_balance():
    _, accompaniment = song()
    assert song_metrics.balance(accompaniment, 0.1 * accompaniment, RATE) == pytest.approx(0, abs=1e-9)
    assert song_metrics.balance(accompaniment, accompaniment * [1, 0.5], RATE) == pytest.approx(6.02, abs=0.01)
    assert song_metrics.balance(accompaniment, accompaniment * [0, 1], RATE) == 30
    assert math.isnan(song_metrics.balance(accompaniment, 0 * accompaniment, RATE))
    assert math.isnan(song_metrics.balance(accompaniment * [0, 1], accompaniment, RATE))


def test_one_scale_for_both_channels():
    _, accompaniment = song()
    assert song_metrics.si_sdr(accompaniment, 0.3 * accompaniment) > 100
    lost = song_metrics.si_sdr(accompaniment, accompaniment * [1, 0.5])
    assert lost == pytest.approx(10 * math.log10(1.5**2 / (2 * 1.25 - 1.5**2)), abs=0.1)


@pytest.mark.parametrize("ratio", [True, False])
def test_ideal_masks(ratio):
    t = np.arange(4 * RATE) / RATE
    vocals = (0.1 * np.sin(2 * np.pi * 1000 * t)[:, None] * [1, 1]).astype(np.float32)
    accompaniment = (0.1 * np.sin(2 * np.pi * 300 * t)[:, None] * [1, 0.5]).astype(np.float32)
    estimate = ideal_mask(vocals, accompaniment, ratio)
    assert estimate.shape == accompaniment.shape
    error = (estimate - accompaniment)[RATE:-RATE]
    assert 10 * np.log10(np.mean(error**2) / np.mean(accompaniment**2)) < -50
    np.testing.assert_allclose(ideal_mask(0 * vocals, accompaniment, ratio), accompaniment, atol=1e-5)


def test_score_gives_every_measure_and_median_leaves_nan_out():
    vocals, accompaniment = song()
    mixture = vocals + accompaniment
    found = song_metrics.score(vocals, accompaniment, vocals, accompaniment + 0.1 * vocals, RATE)
    assert list(found) == list(song_metrics.MEASURES)
    assert found["suppression"] == pytest.approx(20, abs=0.1) and found["damage"] == -120
    assert found["pes"] == pytest.approx(-120) and found["balance"] < 0.1
    untouched = song_metrics.score(vocals, accompaniment, mixture, mixture, RATE)
    assert untouched["suppression"] == pytest.approx(0, abs=0.01)
    assert untouched["sdr"] == pytest.approx(6.02, abs=0.2) == untouched["voiced_sdr"]  # the input SDR
    assert untouched["pes"] == pytest.approx(10 * math.log10(2 * RATE * 0.01), abs=0.2)
    other = {**found, "sdr": math.nan, "suppression": 10.0}
    both = song_metrics.median([found, other])
    assert both["sdr"] == found["sdr"] and both["suppression"] == pytest.approx(15, abs=0.1)


@pytest.mark.parametrize("bad", [np.zeros(10), np.zeros((0, 2)), np.full((10, 2), np.nan)])
def test_a_stem_of_another_shape_is_refused(bad):
    with pytest.raises(ValueError, match="a stem must be"):
        song_metrics.passages(bad, RATE)
