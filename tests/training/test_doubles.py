"""Doubles: the voice itself, read elsewhere; takes lie left and right of it and are never quite together."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.data.doubles import INTERVALS, doubled, read, take

RATE = 48000


def tone(hertz: float, samples: int = RATE) -> torch.Tensor:
    return torch.sin(2 * np.pi * hertz / RATE * torch.arange(samples, dtype=torch.float64)).float()


@given(samples=st.integers(1, 500), shift=st.integers(-2000, 2000), seed=st.integers(0, 99))
def test_whole_places_are_samples(samples: int, shift: int, seed: int) -> None:
    sound = torch.from_numpy(np.random.default_rng(seed).standard_normal(samples).astype(np.float32))
    found = read(sound, torch.arange(samples, dtype=torch.float64) + shift)
    assert torch.equal(found, sound.roll(-shift))


@given(hertz=st.integers(50, 5000), part=st.floats(0, 1))
def test_places_between_samples(hertz: int, part: float) -> None:
    """Whole periods, so that the end meets the beginning."""
    place = torch.arange(RATE, dtype=torch.float64) + part
    true = torch.sin(2 * np.pi * hertz / RATE * place).float()
    error = read(tone(hertz), place) - true
    assert error.square().mean() < 1e-4 * true.square().mean()


def test_takes_are_in_tune_or_an_interval_away() -> None:
    """Within a third of a semitone, each at the pitch of one of the intervals; most sing in unison."""
    rng = np.random.default_rng(3)
    unisons = 0
    for _ in range(40):
        again = take(tone(440, 4 * RATE), RATE, rng)
        assert again.isfinite().all() and again.abs().max() < 1.1
        heard = float(torch.fft.rfft(again * torch.hann_window(len(again))).abs().argmax()) / 4
        moved = 12 * np.log2(heard / 440)
        nearest = min((0, *INTERVALS), key=lambda interval: abs(interval - moved))
        assert abs(moved - nearest) < 0.33
        unisons += nearest == 0
    assert 12 <= unisons <= 36


def test_no_two_takes_are_alike() -> None:
    sound = torch.from_numpy(np.random.default_rng(0).standard_normal(RATE).astype(np.float32))
    rng = np.random.default_rng(1)
    one, other = take(sound, RATE, rng), take(sound, RATE, rng)
    assert torch.nn.functional.cosine_similarity(one, other, dim=0).abs() < 0.5


@given(seed=st.integers(0, 9999), count=st.integers(2, 4), samples=st.integers(2000, 20000))
def test_takes_lie_apart(seed: int, count: int, samples: int) -> None:
    """Takes that have nothing in common: the side is as loud as without a lead, and each channel has its own takes."""
    rng = np.random.default_rng(seed)
    lead = torch.zeros(samples)
    takes = list(torch.from_numpy(rng.standard_normal((count, samples)).astype(np.float32)))
    place = doubled(lead, takes, rng)
    assert place.shape == (2, samples) and place.isfinite().all()
    near = [[float(torch.dot(channel, each) / torch.dot(each, each)) for each in takes] for channel in place]
    for number in range(count):
        loud, soft = (near[0][number], near[1][number]) if number % 2 == 0 else (near[1][number], near[0][number])
        assert loud > 0.5 and abs(soft) < loud
    assert not doubled(lead, [lead, lead], rng).any()
