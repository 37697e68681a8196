"""ESTOI of bands that are heard: pystoi's value without a floor, and nothing of what lies under it."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("pystoi")

from scipy.signal import butter, sosfiltfilt

from training.evaluation.heard_estoi import heard_estoi
from training.evaluation.speech_metrics import stoi

RATE = 16000


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """Two seconds of noise in syllables: every band moves by itself."""
    rng = np.random.default_rng(3)
    time = np.arange(2 * RATE) / RATE
    bands = [(150, 600), (600, 1500), (1500, 3500), (3500, 5000)]
    parts = []
    for index, edges in enumerate(bands):
        noise = sosfiltfilt(butter(4, edges, "bandpass", fs=RATE, output="sos"), rng.standard_normal(len(time)))
        parts.append(noise * (1.1 + np.sin(2 * np.pi * (3 + index) * time + index)))
    return np.sum(parts, axis=0) * 0.05


def test_without_a_floor_it_is_pystois(voice: np.ndarray) -> None:
    noisy = voice + 0.03 * np.random.default_rng(4).standard_normal(len(voice))
    assert heard_estoi(voice, noisy, RATE, math.inf) == pytest.approx(stoi(voice, noisy, RATE, extended=True), abs=1e-9)
    assert heard_estoi(voice, voice, RATE) == pytest.approx(1, abs=1e-9)


def test_what_is_left_in_bands_that_a_line_has_cut_off_does_not_count(voice: np.ndarray) -> None:
    """A steep high-pass at 900 Hz; 60 dB under it something else is left where nothing is heard."""
    line = sosfiltfilt(butter(8, 900, "highpass", fs=RATE, output="sos"), voice)
    left = sosfiltfilt(
        butter(6, 400, "lowpass", fs=RATE, output="sos"), np.random.default_rng(5).standard_normal(len(line))
    )
    out = line + left / left.std() * line.std() * 1e-3
    assert stoi(line, out, RATE, extended=True) < 0.8
    assert heard_estoi(line, out, RATE) > 0.99


def test_what_cannot_be_measured_is_undefined(voice: np.ndarray) -> None:
    assert math.isnan(heard_estoi(np.zeros(RATE), np.ones(RATE), RATE))
    for samples in (100, 500, RATE // 5):
        assert math.isnan(heard_estoi(voice[:samples], voice[:samples], RATE))
