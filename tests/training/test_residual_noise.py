"""What is left in pauses counts in decibels, and what is done to words does not count at all."""

from __future__ import annotations

import pytest
import torch

from tests.training.objectives import objective
from training.losses import Objective

WORDS = slice(0, 60000)  # samples with speech; the rest is a pause
PAUSE = slice(60000 + 6 * 512, None)  # what the hangover leaves of it


def residual_noise(**options: float) -> Objective:
    entry = {"loss": "residual_noise", "of": "speech", "weight": 1.0, **options}
    return objective([entry])


def value(estimate: torch.Tensor, reference: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    return residual_noise()(torch.stack([estimate, noise], 1), torch.stack([reference, noise], 1))[0]


@pytest.fixture
def signals() -> tuple[torch.Tensor, torch.Tensor]:
    """Speech (noise bursts, then a pause) and noise, `[2, samples]`."""
    random = torch.Generator().manual_seed(3)
    speech, noise = (torch.randn(2, 131072, generator=random) for _ in range(2))
    speech[:, 60000:] = 0
    return speech, noise


def test_ten_decibels_less_are_worth_ten(signals: tuple[torch.Tensor, torch.Tensor]) -> None:
    speech, noise = signals
    loud, soft = (float(value(speech + 10 ** (-level / 20) * noise, speech, noise)) for level in (20, 30))
    assert loud - soft == pytest.approx(10, abs=0.2)
    assert 30 < loud < 41  # 20 dB under the speech, and 60 counts as nothing, less in narrow bands


def test_words_and_a_true_silence_cost_nothing(signals: tuple[torch.Tensor, torch.Tensor]) -> None:
    speech, noise = signals
    estimate = speech.clone()
    estimate[:, WORDS] += noise[:, WORDS]
    assert float(value(estimate, speech, noise)) == pytest.approx(0, abs=1e-3)
    assert float(value(torch.zeros_like(speech), speech, noise)) == 0


def test_what_the_reference_has_in_its_pauses_may_stay(signals: tuple[torch.Tensor, torch.Tensor]) -> None:
    speech, noise = signals
    recorded = speech + 0.01 * noise  # 40 dB under it
    assert float(value(recorded, recorded, noise)) == 0


def test_the_gradient_takes_from_the_pause_and_only_there(signals: tuple[torch.Tensor, torch.Tensor]) -> None:
    speech, noise = signals
    estimate = (speech + 0.1 * noise).requires_grad_()
    value(estimate, speech, noise).backward()
    assert estimate.grad is not None and torch.isfinite(estimate.grad).all()
    assert not estimate.grad[:, : 60000 - 1024].any()
    assert float((estimate.grad[:, PAUSE] * noise[:, PAUSE]).sum()) > 0


def test_no_pause_and_no_speech_have_no_value(signals: tuple[torch.Tensor, torch.Tensor]) -> None:
    _, noise = signals
    assert float(value(noise * 2, noise, noise)) == 0
    assert float(value(noise, torch.zeros_like(noise), noise)) == 0


def test_a_floor_above_the_threshold_is_refused() -> None:
    with pytest.raises(ValueError, match="0 < below < floor"):
        residual_noise(floor=20)
