"""The measures against known values, invariances, the packages themselves, and slow twins of published programs."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from training.evaluation import speech_metrics

pytest.importorskip("pesq")
pytest.importorskip("pystoi")

ROOT = Path(__file__).parents[2]
RATE = 16_000


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Four seconds of a real voice, clean and noisy, 16 kHz."""
    clean, rate = sf.read(ROOT / "tests/data/demo.clean.flac", start=RATE, stop=5 * RATE)
    noisy, _ = sf.read(ROOT / "tests/data/demo.noisy.flac", start=RATE, stop=5 * RATE)
    assert rate == RATE
    return clean, noisy


def orthogonal_noise(reference: np.ndarray, snr: float) -> np.ndarray:
    """Zero-mean noise with no part along the reference, at `snr` dB."""
    noise = np.random.default_rng(1).standard_normal(len(reference))
    noise -= noise.mean()
    centred = reference - reference.mean()
    noise -= (noise @ centred) / (centred @ centred) * centred
    return noise * np.sqrt((centred @ centred) / (noise @ noise)) * 10 ** (-snr / 20)


@pytest.mark.parametrize("snr", [-7.0, 0.0, 12.5, 40.0])
def test_si_sdr_is_the_snr_of_orthogonal_noise(pair, snr):
    clean, _ = pair
    assert speech_metrics.si_sdr(clean, clean + orthogonal_noise(clean, snr)) == pytest.approx(snr, abs=1e-6)


def test_si_sdr_ignores_scale_sign_and_offset(pair):
    clean, noisy = pair
    value = speech_metrics.si_sdr(clean, noisy)
    for same in (3.7 * noisy, -0.01 * noisy, noisy + 0.3):
        assert speech_metrics.si_sdr(clean, same) == pytest.approx(value, abs=1e-9)
    assert speech_metrics.si_sdr(2 * clean + 0.1, noisy) == pytest.approx(value, abs=1e-9)


def test_si_sdr_at_the_edges(pair):
    clean, noisy = pair
    assert math.isnan(speech_metrics.si_sdr(np.zeros(100), np.ones(100)))
    assert speech_metrics.si_sdr(clean, np.zeros_like(clean)) == -math.inf
    assert speech_metrics.si_sdr(np.array([1.0, -1.0]), np.array([0.5, -0.5])) == math.inf
    with pytest.raises(ValueError, match="equally long"):
        speech_metrics.si_sdr(clean, noisy[:-1])
    with pytest.raises(ValueError, match="finite"):
        speech_metrics.si_sdr(clean, np.full_like(clean, np.nan))


def test_pesq_is_the_packages_at_16_and_at_8_khz(pair):
    from pesq import pesq

    clean, noisy = pair
    assert speech_metrics.pesq_wb(clean, noisy, RATE) == pesq(16_000, clean, noisy, "wb")
    narrow = [soxr.resample(x, 16_000, 8_000) for x in pair]
    assert speech_metrics.pesq_nb(clean, noisy, RATE) == pesq(8_000, *narrow, "nb")
    assert speech_metrics.pesq_nb(clean, noisy, RATE) != pytest.approx(pesq(16_000, clean, noisy, "nb"), abs=0.02)


def test_pesq_of_the_reference_itself_is_the_top_of_its_map(pair):
    clean, _ = pair
    # P.862.2: 0.999 + 4 / (1 + exp(-1.3669 * 4.5 + 3.8224)); P.862.1: 0.999 + 4 / (1 + exp(-1.4945 * 4.5 + 4.6607))
    assert speech_metrics.pesq_wb(clean, clean, RATE) == pytest.approx(
        0.999 + 4 / (1 + math.exp(-1.3669 * 4.5 + 3.8224)), abs=1e-3
    )
    assert speech_metrics.pesq_nb(clean, clean, RATE) == pytest.approx(
        0.999 + 4 / (1 + math.exp(-1.4945 * 4.5 + 4.6607)), abs=1e-3
    )


def test_pesq_of_silence_is_undefined(pair):
    clean, _ = pair
    silence = np.zeros_like(clean)
    assert math.isnan(speech_metrics.pesq_wb(silence, clean, RATE))
    assert math.isnan(speech_metrics.pesq_wb(clean, silence, RATE))
    assert math.isnan(speech_metrics.pesq_nb(clean[:100], clean[:100], RATE))


@pytest.mark.parametrize("extended", [False, True])
def test_stoi_is_the_packages(pair, extended):
    from pystoi import stoi

    clean, noisy = pair
    expected = stoi(clean, noisy, RATE, extended=extended)  # BLAS may sum in another order from call to call
    assert speech_metrics.stoi(clean, noisy, RATE, extended) == pytest.approx(expected, rel=1e-12)
    assert speech_metrics.stoi(clean, 0.1 * clean, RATE, extended) == pytest.approx(1, abs=1e-6)
    assert math.isnan(speech_metrics.stoi(clean[:2000], noisy[:2000], RATE, extended))


def test_another_rate_scores_the_same(pair):
    clean, noisy = (soxr.resample(x, RATE, 48_000) for x in pair)
    assert speech_metrics.pesq_wb(clean, noisy, 48_000) == pytest.approx(
        speech_metrics.pesq_wb(pair[0], pair[1], RATE), abs=0.02
    )
    assert speech_metrics.stoi(clean, noisy, 48_000) == pytest.approx(
        speech_metrics.stoi(pair[0], pair[1], RATE), abs=0.002
    )


@pytest.mark.parametrize("snr", [-5.0, 0.0, 10.0, 30.0])
def test_segmental_snr_of_a_scaled_signal(snr):
    reference = np.random.default_rng(2).standard_normal(RATE)
    assert speech_metrics.segmental_snr(reference, (1 + 10 ** (-snr / 20)) * reference, RATE) == pytest.approx(
        snr, abs=1e-9
    )


def test_segmental_snr_is_clamped():
    reference = np.random.default_rng(2).standard_normal(RATE)
    assert speech_metrics.segmental_snr(reference, reference, RATE) == 35
    assert speech_metrics.segmental_snr(reference, 100 * reference, RATE) == -10


def slow_frames(x):
    length = round(0.03 * RATE)
    window = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, length + 1) / (length + 1)))
    return [x[at : at + length] * window for at in range(0, len(x) - length + 1, length // 4)]


def slow_llr(reference, estimate):
    """As Hu and Loizou's program: a frame at a time, with scipy's Toeplitz solver."""
    from scipy.linalg import solve_toeplitz, toeplitz

    def predictor(frame):
        auto = np.array([frame[: len(frame) - k] @ frame[k:] for k in range(17)])
        return auto, np.r_[1, -solve_toeplitz(auto[:16], auto[1:])]

    eps, values = np.finfo(float).eps, []
    for r, e in zip(slow_frames(reference + eps), slow_frames(estimate + eps), strict=True):
        (auto, clean), (_, other) = predictor(r), predictor(e)
        values.append(np.log((other @ toeplitz(auto) @ other) / (clean @ toeplitz(auto) @ clean)))
    return np.mean(np.sort(values)[: round(0.95 * len(values))])


def slow_wss(reference, estimate):
    """As Loizou's program: loops over frames and bands, the search for the closest peak by hand."""
    half, values = 512, []
    filters = np.zeros((25, half))
    for band in range(25):
        centre, width = (x[band] / 8000 * half for x in (speech_metrics._CENTRES, speech_metrics._WIDTHS))
        shape = np.exp(
            -11 * ((np.arange(half) - np.floor(centre)) / width) ** 2 + np.log(70 / speech_metrics._WIDTHS[band])
        )
        filters[band] = shape * (shape > np.exp(-30 / (2 * 2.303)))
    for frames in zip(slow_frames(reference), slow_frames(estimate), strict=True):
        slopes, weights = [], []
        for frame in frames:
            level = 10 * np.log10(np.maximum(filters @ np.abs(np.fft.fft(frame, 1024))[:half] ** 2, 1e-10))
            slope, peak = np.diff(level), np.zeros(24)
            for band in range(24):
                n = band
                if slope[n] > 0:
                    while n < 24 and slope[n] > 0:
                        n += 1
                    peak[band] = level[n - 1]
                else:
                    while n >= 0 and slope[n] <= 0:
                        n -= 1
                    peak[band] = level[n + 1]
            slopes.append(slope)
            weights.append(20 / (20 + level.max() - level[:24]) / (1 + peak - level[:24]))
        weight = (weights[0] + weights[1]) / 2
        values.append((weight * (slopes[0] - slopes[1]) ** 2).sum() / weight.sum())
    return np.mean(np.sort(values)[: round(0.95 * len(values))])


def test_llr_against_its_slow_twin(pair):
    clean, noisy = (x[:RATE] for x in pair)
    assert speech_metrics.llr(clean, noisy, RATE) == pytest.approx(slow_llr(clean, noisy), rel=1e-6)
    assert speech_metrics.llr(clean, clean, RATE) == pytest.approx(0, abs=1e-12)
    assert speech_metrics.llr(clean, 0.5 * noisy, RATE) == pytest.approx(
        speech_metrics.llr(clean, noisy, RATE), rel=1e-4
    )
    assert math.isfinite(speech_metrics.llr(clean, np.zeros_like(clean), RATE))


def test_wss_against_its_slow_twin(pair):
    clean, noisy = (x[:RATE] for x in pair)
    assert speech_metrics.wss(clean, noisy, RATE) == pytest.approx(slow_wss(clean, noisy), rel=1e-9)
    assert speech_metrics.wss(clean, clean, RATE) == 0


def test_composite_is_its_three_regressions(pair):
    clean, noisy = pair
    # the reference itself: llr 0, wss 0, segmental SNR 35
    same = speech_metrics.composite(clean, clean, RATE, pesq=1.0)
    assert same == pytest.approx({"csig": 3.093 + 0.603, "cbak": 1.634 + 0.478 + 0.063 * 35, "covl": 1.594 + 0.805})
    llr, wss, snr = (
        f(clean, noisy, RATE) for f in (speech_metrics.llr, speech_metrics.wss, speech_metrics.segmental_snr)
    )
    mixed = speech_metrics.composite(clean, noisy, RATE, pesq=2.0)
    assert mixed["csig"] == pytest.approx(np.clip(3.093 - 1.029 * llr + 0.603 * 2 - 0.009 * wss, 1, 5))
    assert mixed["cbak"] == pytest.approx(np.clip(1.634 + 0.478 * 2 - 0.007 * wss + 0.063 * snr, 1, 5))
    assert mixed["covl"] == pytest.approx(np.clip(1.594 + 0.805 * 2 - 0.512 * llr - 0.007 * wss, 1, 5))
    assert speech_metrics.composite(clean, clean, RATE) == {"csig": 5, "cbak": 5, "covl": 5}


def test_log_spectral_distance_of_a_gain_is_the_gain():
    noise = np.random.default_rng(3).standard_normal(48_000)
    assert speech_metrics.log_spectral_distance(noise, noise * 10 ** (-6 / 20), 48_000) == pytest.approx(6, abs=0.02)
    assert speech_metrics.log_spectral_distance(noise, noise, 48_000) == 0
    assert speech_metrics.log_spectral_distance(1e-3 * noise, 2e-3 * noise, 48_000) == pytest.approx(
        speech_metrics.log_spectral_distance(noise, 2 * noise, 48_000)
    )


def test_log_spectral_distance_hears_missing_treble():
    noise = np.random.default_rng(3).standard_normal(48_000)
    without = soxr.resample(soxr.resample(noise, 48_000, 16_000), 16_000, 48_000)
    assert speech_metrics.log_spectral_distance(noise, without, 48_000) > 30
    assert math.isnan(speech_metrics.log_spectral_distance(np.zeros(48_000), noise, 48_000))


def test_silence_energies_with_exact_silence():
    source, predicted = np.full(43, 2.0), np.full(43, -3.0)
    source[10:30] = 0
    predicted[20:40] = 0
    pes, eps = speech_metrics.silence_energies(source, predicted, rate=10, frame_s=1)
    assert pes == pytest.approx((10 * math.log10(90) + -120) / 2)  # frames 1 and 2
    assert eps == pytest.approx((-120 + 10 * math.log10(40)) / 2)  # frames 2 and 3
    _, eps = speech_metrics.silence_energies(source, predicted, rate=10, frame_s=1, both_silent=False)
    assert eps == pytest.approx(10 * math.log10(40))
    assert all(
        math.isnan(x) for x in speech_metrics.silence_energies(source + 1e-9, predicted + 1e-9, rate=10, frame_s=1)
    )


def test_silence_energies_with_a_threshold():
    source, predicted = np.full(40, 1.0), np.full(40, 0.5)
    source[10:20] = 1e-3  # 60 dB down
    pes, eps = speech_metrics.silence_energies(source, predicted, rate=10, frame_s=1, quiet_db=-40)
    assert pes == pytest.approx(10 * math.log10(2.5))
    assert math.isnan(eps)
    assert math.isnan(speech_metrics.silence_energies(source, predicted, rate=10, frame_s=1, quiet_db=-70)[0])


def test_bootstrap_covers_what_theory_says():
    values = np.random.default_rng(4).standard_normal(400) + 3
    mean, low, high = speech_metrics.bootstrap(values)
    half = 1.96 * values.std() / 20
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.15 * half)
    assert speech_metrics.bootstrap(values) == (mean, low, high)
    assert speech_metrics.bootstrap(values, seed=1) != (mean, low, high)


def test_bootstrap_leaves_out_undefined_clips_but_not_failed_ones():
    assert speech_metrics.bootstrap([1.0, math.nan, 1.0]) == (1, 1, 1)
    assert speech_metrics.bootstrap([1.0, -math.inf])[0] == -math.inf
    assert all(math.isnan(x) for x in speech_metrics.bootstrap([math.nan]))


def test_score_has_every_measure_and_takes_an_estimate_at_another_rate(pair):
    clean, noisy = pair
    same = speech_metrics.score(clean, RATE, noisy)
    assert list(same) == list(speech_metrics.MEASURES)
    assert same["pesq_nb"] == speech_metrics.pesq_nb(clean, noisy, RATE)
    assert same["si_sdr"] == speech_metrics.si_sdr(clean, noisy)
    other = speech_metrics.score(clean, RATE, soxr.resample(noisy, RATE, 48_000)[:-100], 48_000)
    for measure in ("pesq_wb", "stoi", "estoi", "covl"):
        assert other[measure] == pytest.approx(same[measure], abs=0.02)
    assert other["si_sdr"] == pytest.approx(same["si_sdr"], abs=0.2)


@pytest.mark.parametrize(
    "module",
    [
        "training.evaluation.speech_metrics",
        "training.evaluation.evaluate",
        "benchmarks.quality",
        "benchmarks.throughput",
    ],
)
def test_measuring_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


TESTSET = Path(os.environ.get("RTSEP_TESTSET", ROOT.parent / "shared" / "testset"))
# Noisy input as an independent measurement printed it: PESQ-WB, PESQ-NB, STOI, ESTOI, SI-SDR.
PRINTED = {"wide16": (1.45, 2.11, 0.723, 0.584, 2.88), "full48": (1.40, 2.13, 0.757, 0.596, 3.00)}


@pytest.mark.skipif(not TESTSET.is_dir(), reason="the test set is not beside this checkout (RTSEP_TESTSET)")
@pytest.mark.parametrize("name", PRINTED)
def test_the_noisy_row_is_reproduced(name):
    rows = []
    for path in sorted((TESTSET / name / "noisy").iterdir()):
        (clean, rate), (noisy, _) = sf.read(TESTSET / name / "clean" / path.name), sf.read(path)
        c, n = (speech_metrics.resample(x, rate, RATE) for x in (clean, noisy))
        perceptual = (
            speech_metrics.pesq_wb(c, n, RATE),
            speech_metrics.pesq_nb(c, n, RATE),
            speech_metrics.stoi(c, n, RATE),
        )
        rows.append((*perceptual, speech_metrics.stoi(c, n, RATE, extended=True), speech_metrics.si_sdr(c, n)))
    means, printed = np.mean(rows, axis=0), PRINTED[name]
    # half a unit of the last printed digit
    assert np.all(np.abs(means - printed) <= [0.0051, 0.0051, 0.00051, 0.00051, 0.0051]), means
