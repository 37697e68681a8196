"""Formants move, partials do not, and nothing gets louder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.data.augment.formant_shift import FormantShift

RATE = 48000


def vowel(hertz: float, formant: float, samples: int = 48000) -> torch.Tensor:
    """Partials of `hertz` under one formant, float32 `[2, samples]`, the right channel at half the level."""
    time = np.arange(samples) / RATE
    numbers = np.arange(1, int(8000 / hertz))
    loud = 1 / (1 + ((numbers * hertz - formant) / 150) ** 2)
    sound = (loud[:, None] * np.sin(2 * np.pi * numbers[:, None] * hertz * time)).sum(0)
    return torch.from_numpy(np.stack([sound, 0.5 * sound]).astype(np.float32)) / 10


def peaks(sound: torch.Tensor) -> tuple[float, float]:
    """Where the envelope and where the partials are, Hz: the loudest partial, and the distance between partials."""
    power = torch.fft.rfft(sound[0] * torch.hann_window(sound.shape[1])).abs().square()
    loudest = float(power.argmax()) * RATE / sound.shape[1]
    again = torch.fft.irfft(power)[RATE // 500 : RATE // 80]  # the autocorrelation
    return loudest, RATE / (float(again.argmax()) + RATE // 500)


@pytest.mark.parametrize("hertz", [110.0, 220.0])
@pytest.mark.parametrize("ratio", [0.8, 1.25])
def test_formants_move_and_partials_do_not(hertz: float, ratio: float) -> None:
    sound = vowel(hertz, 1500)
    other = FormantShift(RATE)(sound, ratio)
    before, pitch = peaks(sound)
    after, same = peaks(other)
    assert abs(after / (1500 * ratio) - 1) < 0.12 and abs(before / 1500 - 1) < 0.1
    assert abs(same / pitch - 1) < 0.02
    assert torch.allclose(other[1], 0.5 * other[0], atol=1e-5)  # it stays where it was


@given(samples=st.integers(4096, 60000), seed=st.integers(0, 999), rate=st.sampled_from([16000, 44100, 48000]))
def test_a_ratio_of_one_changes_nothing(samples: int, seed: int, rate: int) -> None:
    sound = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, samples)).astype(np.float32)) / 10
    assert torch.allclose(FormantShift(rate)(sound, 1.0), sound, atol=1e-5)


@given(ratio=st.floats(0.6, 1.6), samples=st.integers(4096, 60000))
def test_as_loud_as_before(ratio: float, samples: int) -> None:
    sound = vowel(180, 900, samples)
    other = FormantShift(RATE)(sound, ratio)
    assert other.shape == sound.shape and other.isfinite().all()
    assert torch.isclose(other.square().sum(), sound.square().sum(), rtol=1e-3)
    assert not FormantShift(RATE)(torch.zeros(2, samples), ratio).any()
