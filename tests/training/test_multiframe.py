"""Complex filters over the newest frames: what they see, what they may do, and that they begin as nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.tiny import SMALL
from training.network import Network, multiframe

FILTERS = replace(SMALL, filterbank="short", filter_bins=6, filter_frames=3)


def complex_of(pairs: torch.Tensor) -> np.ndarray:
    return (pairs.select(-2, 0) + 1j * pairs.select(-2, 1)).numpy()


def test_filtered_is_a_complex_sum_over_frames() -> None:
    recent, filters = torch.randn(4, 5, 2, 7), 3 * torch.randn(4, 3, 5, 2, 7)
    expected = (complex_of(recent)[:, None] * complex_of(torch.tanh(filters * multiframe.GENTLE))).sum(2)
    assert np.allclose(complex_of(multiframe.filtered(recent, filters)), expected, atol=1e-5)


def test_features_are_the_phase_between_frames() -> None:
    """A steady tone turns by the same angle from frame to frame, whatever its level."""
    turn = 0.7
    tone = torch.tensor(np.exp(1j * turn * np.arange(6)))
    pairs = torch.stack([tone.real, tone.imag], -1)[None, :, :, None].float()
    for level in (1e-2, 1.0, 5.0):
        features = multiframe.features(multiframe.recent(pairs * level, 3))[0, 4].view(2, 2)
        expected = np.exp(1j * turn * np.array([1, 2]))
        assert np.allclose(features[0] + 1j * features[1], expected, atol=2e-3)
    assert torch.equal(multiframe.features(torch.zeros(1, 3, 2, 4)), torch.zeros(1, 16))


def test_recent_frames_are_those_of_the_window() -> None:
    """The step form finds in one window what the sequence form shifts along time, and silence before the start."""
    torch.manual_seed(0)
    network = Network(FILTERS).requires_grad_(False)
    hop, size = FILTERS.hop, FILTERS.analysis_window
    wave = torch.randn(1, 12 * hop)
    windows = torch.nn.functional.pad(wave, (size - hop, 0)).unfold(-1, size, hop)
    lowest = network.encoder.encode(windows)[
        ..., network.encoder.first_masked : network.encoder.first_masked + FILTERS.filter_bins
    ]
    recent = multiframe.recent(lowest, FILTERS.filter_frames)
    for frame in range(12):
        found = network.encoder.analyse(
            multiframe.newest(windows[:, frame], FILTERS.synthesis_window, FILTERS.filter_frames, hop),
            FILTERS.filter_bins,
        )
        assert torch.allclose(found, recent[:, frame], atol=1e-5)
    assert recent[:, 0, 1:].abs().max() == 0


def test_filters_begin_as_nothing_and_stay_bounded() -> None:
    torch.manual_seed(0)
    with_filters = Network(FILTERS).eval().requires_grad_(False)
    wave = torch.randn(1, 3200)
    before = with_filters(wave)
    masks, filters, *_ = with_filters.head.sizes
    with_filters.head.project.bias[masks : masks + filters] = 1e9
    assert torch.isfinite(with_filters(wave)).all()
    assert not torch.allclose(with_filters(wave), before, atol=1e-3)
    with_filters.head.project.bias[masks : masks + filters] = 0
    assert torch.equal(with_filters(wave), before)


@pytest.mark.parametrize("bins", [1, 6])
def test_filters_take_out_what_lies_between_harmonics(bins: int) -> None:
    """Two tones in one bin of 187.5 Hz: two frames' phases are enough to keep one and cancel the other."""
    hop, rate = 128, 48000
    frames = np.arange(5)
    keep, drop = (np.exp(2j * np.pi * hertz * frames * hop / rate) for hertz in (190.0, 300.0))
    taps = np.linalg.lstsq(np.stack([keep[::-1], drop[::-1]]), np.array([keep[-1], 0]), rcond=None)[0]
    assert np.abs(taps).max() < 1  # within reach of tanh
    recent = (
        torch.tensor(np.stack([drop.real, drop.imag], 1)[::-1].copy()).float()[None, :, :, None].repeat(1, 1, 1, bins)
    )
    filters = torch.atanh(torch.tensor(np.stack([taps.real, taps.imag], 1)).float())[None, None, :, :, None]
    assert multiframe.filtered(recent, filters.repeat(1, 1, 1, 1, bins) / multiframe.GENTLE).abs().max() < 1e-5
