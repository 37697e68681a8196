"""The error of magnitudes, on hand-worked cases."""

from __future__ import annotations

import math

import pytest
import torch

from tests.training.objectives import objective
from training.losses.loss import Context, Setup, Sound
from training.losses.magnitude import Magnitude


def test_a_tone_half_as_loud_by_hand() -> None:
    """A Hann-windowed sine at the centre of a bin has magnitudes a/2, a, a/2; all other bins are empty."""
    window, setup = 256, Setup(("speech",), ("speech",))
    tone = torch.sin(2 * math.pi * 16 / window * torch.arange(48 * window))
    one, half = Sound(tone.view(1, 1, -1)), Sound(0.5 * tone.view(1, 1, -1))
    context = Context(one, {"speech": half}, {"speech": one})
    expected = (0.25 + 2 * 0.0625) / (window // 2 + 1)
    assert float(Magnitude(setup, window)(half, one, context)) == pytest.approx(expected, rel=0.02)
    logs = sum(math.log((1 + a) / (1 + a / 2)) ** 2 for a in (0.5, 1, 0.5)) / (window // 2 + 1)
    assert float(Magnitude(setup, window, True)(half, one, context)) == pytest.approx(logs, rel=0.02)


def test_the_phase_does_not_matter() -> None:
    sources = torch.randn(2, 2, 4096)
    loss = objective([{"loss": "magnitude", "of": ["speech", "noise"], "window": 512}])
    assert loss(-sources, sources)[0].item() == pytest.approx(0, abs=1e-9)
    assert loss(torch.zeros_like(sources), sources)[0] > 0.001
