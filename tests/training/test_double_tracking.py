"""Doubles: the voice itself, read elsewhere; takes lie left and right of it and are never quite together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.data.augment import double_tracking as module
from training.data.augment.double_tracking import (
    INTERVALS,
    LATEST_S,
    LEAD_SHARE,
    WANDER_S,
    doubled,
    harmony,
    read,
    take,
)

RATE = 48000


def tone(hertz: float, samples: int = RATE) -> torch.Tensor:
    return torch.sin(2 * np.pi * hertz / RATE * torch.arange(samples, dtype=torch.float64)).float()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@given(samples=st.integers(1, 500), shift=st.integers(-2000, 2000), seed=st.integers(0, 99))
def test_whole_places_are_samples(samples: int, shift: int, seed: int) -> None:
    """And there is nothing before the first and after the last."""
    sound = noise(samples, seed=seed)
    place = torch.arange(samples) + shift
    inside = (place >= 0) & (place < samples)
    expected = torch.where(inside, sound[place.clamp(0, samples - 1)], torch.zeros(()))
    assert torch.equal(read(sound, place.double()), expected)


@given(hertz=st.integers(50, 5000), part=st.floats(0, 1))
def test_places_between_samples(hertz: int, part: float) -> None:
    place = torch.arange(2, RATE - 3, dtype=torch.float64) + part
    true = torch.sin(2 * np.pi * hertz / RATE * place).float()
    error = read(tone(hertz), place) - true
    assert error.square().mean() < 1e-4 * true.square().mean()


@pytest.mark.parametrize("semitones", INTERVALS)
def test_harmonies_keep_time_and_change_pitch(semitones: int) -> None:
    sound = tone(440, 2 * RATE)
    sound[RATE:] = 0  # it ends here
    other = harmony(sound, RATE, semitones)
    ended = RATE + round(0.05 * RATE)
    assert other[:RATE].square().mean() > 0.1 and other[ended:].square().mean() < 1e-6
    power = torch.fft.rfft(other[:RATE] * torch.hann_window(RATE)).abs().square()  # bins of 1 Hz
    wanted = round(440 * 2 ** (semitones / 12))
    assert power[wanted - 30 : wanted + 31].sum() > 0.95 * power.sum()  # the taps beat


def test_harmonies_do_not_alias() -> None:
    assert harmony(tone(15000), RATE, 12).square().mean() < 1e-4 * tone(15000).square().mean()


def test_unison_takes_come_late_and_wander(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clicks arrive a little later, within the limits, and by a different delay each."""
    monkeypatch.setattr(module, "UNISON_SHARE", 1.0)
    rng, places = np.random.default_rng(1), np.arange(1, 16) * RATE // 5
    clicks = torch.zeros(16 * RATE // 5)
    clicks[places] = 1
    earliest, latest = (round(s * RATE) for s in (-WANDER_S, LATEST_S + WANDER_S))
    for _ in range(16):
        again = take(clicks, RATE, rng)
        late = np.array([int(again[at - 500 : at + 4000].argmax()) - 500 for at in places])
        assert late.min() >= earliest - 1 and late.max() <= latest + 1
        assert 0.5 * WANDER_S * RATE < np.ptp(late) <= 2 * WANDER_S * RATE + 2


def test_no_take_has_a_click() -> None:
    """A note that a piece cuts off begins softly where a take of it comes late."""
    sound, rng = tone(220), np.random.default_rng(2)
    for _ in range(16):
        assert take(sound, RATE, rng).diff().abs().max() < 0.1


@given(seed=st.integers(0, 9999), count=st.integers(2, 4))
def test_takes_lie_apart(seed: int, count: int) -> None:
    """Each take is louder on its side, in turns; the lead is equally loud in both channels, if it is there."""
    lead, *takes = noise(1 + count, 20000, seed=seed)
    place = doubled(lead, takes, np.random.default_rng(seed))
    assert place.shape == (2, 20000)
    parts = torch.linalg.lstsq(torch.stack([lead, *takes]).T, place.T).solution  # [lead and takes, channels]
    assert torch.allclose(torch.stack([lead, *takes]).T @ parts, place.T, atol=1e-4)
    assert abs(float(parts[0, 0] - parts[0, 1])) < 1e-4 and -1e-4 < float(parts[0, 0]) < 1.001
    for number in range(count):
        loud, soft = parts[1 + number] if number % 2 == 0 else parts[1 + number].flip(0)
        assert 0.5 < float(loud) <= 1.001 and abs(float(soft)) < float(loud)


def test_some_choirs_have_a_lead() -> None:
    sound, nothing = noise(100), torch.zeros(100)
    there = [bool(doubled(sound, [nothing], np.random.default_rng(seed)).any()) for seed in range(200)]
    assert LEAD_SHARE - 0.15 < np.mean(there) < LEAD_SHARE + 0.15
