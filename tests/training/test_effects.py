"""Effects: each does to a voice what its name says, and a chain of them leaves it as loud as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.data.augment.effects import Effects

RATE, SAMPLES = 16000, 32000


def noise(seed: int, samples: int = SAMPLES) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((2, samples)).astype(np.float32)) / 10


def click(at: int) -> torch.Tensor:
    sound = torch.zeros(2, SAMPLES)
    sound[:, at] = 1
    return sound


@given(seed=st.integers(0, 9999), seconds=st.floats(1.0, 3.0), rate=st.sampled_from([8000, 16000, 48000]))
def test_as_loud_as_before(seed: int, seconds: float, rate: int) -> None:
    """Sound all the time, longer than the longest beat: no chopping silences it all."""
    samples = round(seconds * rate) + 1
    sound, chain = noise(seed, samples), Effects(rate, samples)
    other = chain(sound, np.random.default_rng(seed))
    assert other.shape == sound.shape and other.isfinite().all()
    assert torch.isclose(other.square().mean(), sound.square().mean(), rtol=1e-3)
    assert torch.equal(other, chain(sound, np.random.default_rng(seed)))
    assert not chain(torch.zeros_like(sound), np.random.default_rng(seed)).any()


def test_every_chain_is_another() -> None:
    sound, chain, rng = noise(0), Effects(RATE, SAMPLES), np.random.default_rng(0)
    found = torch.stack([chain(sound, rng).flatten() for _ in range(8)])
    alike = torch.corrcoef(found) - torch.eye(8)
    assert alike.max() < 0.999


def test_filters_only_take_away() -> None:
    """Every band is at most as loud as it was, and some band much less so."""
    chain, rng, sound = Effects(RATE, SAMPLES), np.random.default_rng(1), noise(2)
    before = torch.fft.rfft(sound).abs()
    for _ in range(12):
        gain = torch.fft.rfft(chain.filtered(sound, rng)).abs() / before
        assert gain.max() < 1.001 and gain[:, 1:].min() < 0.4


def test_reverberation_follows_and_is_wide() -> None:
    """A click is followed by a tail that falls, and that differs from left to right."""
    chain, rng = Effects(RATE, SAMPLES), np.random.default_rng(1)
    for _ in range(8):
        tail = chain.reverberant(click(1000), rng)[:, 1001:]
        parts = tail.square().unfold(1, 5000, 5000).sum(2)
        assert (parts[:, 1:] < parts[:, :-1]).all()
        assert torch.nn.functional.cosine_similarity(tail[0], tail[1], dim=0).abs() < 0.3


def test_echoes_come_evenly_and_weaker() -> None:
    chain, rng = Effects(RATE, SAMPLES), np.random.default_rng(1)
    echoes = chain.echoed(click(0), rng)
    places = echoes.sum(0).nonzero()[:, 0]
    early = places[places < SAMPLES - 1]
    heights = echoes.mean(0)[early]
    assert len(early) >= 4 and torch.equal(early.diff()[:3], early.diff()[:1].expand(3))
    assert (heights[1:4] < heights[:3]).all() and (echoes[0] != echoes[1]).any()


def test_chopped_voices_pause() -> None:
    chain, rng = Effects(RATE, SAMPLES), np.random.default_rng(1)
    for _ in range(8):
        there = (chain.chopped(torch.ones(2, SAMPLES), rng)[0] > 0).float()
        assert 0.15 < there.mean() < 0.9
        assert 3 <= there.diff().abs().sum() <= 60


@pytest.mark.parametrize("seed", range(4))
def test_distortion_adds_partials(seed: int) -> None:
    tone = torch.sin(2 * torch.pi * 500 / RATE * torch.arange(SAMPLES)).expand(2, -1)
    power = torch.fft.rfft(Effects(RATE, SAMPLES).distorted(tone, np.random.default_rng(seed)))[0].abs().square()
    third = power[3 * 500 * SAMPLES // RATE] / power[500 * SAMPLES // RATE]
    assert 1e-7 < third < 0.15
