"""The discriminators: they learn to tell, resume to the bit, and pass their gradient on to the estimate alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.objectives import objective
from training.losses import LOSSES, Setup, read_losses
from training.losses.discriminator import Discriminator
from training.losses.loss import Context, Sound

ENTRY = {"loss": "discriminator", "of": "speech", "width": 4, "windows": [128, 512], "top": 6000.0}


def made(channels: int = 1, **options: Any) -> Discriminator:
    setup = Setup(("speech", "noise"), ("speech", "noise"), 16000, audio_channels=channels)
    given: dict[str, Any] = {"windows": (128, 512), "top": 6000.0, "width": 4}
    return Discriminator(setup, **(given | options))


def sounds(seed: int, channels: int = 1, count: int = 4, size: int = 8192) -> tuple[Tensor, Tensor, Tensor]:
    """Reference, what is left of the noise, and mixture `[count, channels, samples]`: tones that come and go."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(size) / 16000
    pitch = 200 + 400 * torch.rand(count, 1, 1, generator=generator)
    envelope = (torch.sin(2 * torch.pi * 4 * time + 6 * torch.rand(count, 1, 1, generator=generator)) > 0).float()
    speech = (torch.sin(2 * torch.pi * pitch * time) * envelope).expand(-1, channels, -1) * 0.3
    noise = 0.2 * torch.randn(count, channels, size, generator=generator)
    return speech, 0.3 * noise, speech + noise


def value(loss: Discriminator, estimate: Tensor, reference: Tensor, mixture: Tensor) -> Tensor:
    """Of sounds at the mixture's RMS of one, `[batch]`."""
    gain = 1 / mixture.square().mean((1, 2)).sqrt()[:, None, None]
    one, other, given = (Sound(waves * gain) for waves in (estimate, reference, mixture))
    return loss(one, other, Context(given, {"speech": one}, {"speech": other}))


def test_they_learn_to_tell_and_what_is_true_is_best() -> None:
    loss = made(learning_rate=2e-3)
    for step in range(60):
        speech, left, mixture = sounds(step)
        told = loss.update(speech + left, speech, mixture)
    assert told < 0.25  # who cannot tell has half a point
    speech, left, mixture = sounds(1000)
    with torch.no_grad():
        true, near, far = (value(loss, speech + share * left, speech, mixture) for share in (0.0, 0.2, 1.0))
    assert true.shape == (4,) and (true < near).all() and (near < far).all()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("case", ["noise", "silent estimate", "silent reference", "silent mixture"])
def test_gradients_reach_the_estimate_and_not_the_discriminators(channels: int, case: str) -> None:
    loss = made(channels)
    speech, left, mixture = sounds(0, channels)
    estimate = (speech + left) * (case not in ("silent estimate", "silent mixture"))
    speech, mixture = speech * (case == "noise" or "estimate" in case), mixture * (case != "silent mixture")
    estimate.requires_grad_()
    one, other, given = Sound(estimate), Sound(speech), Sound(mixture)
    loss(one, other, Context(given, {"speech": one}, {"speech": other})).sum().backward()
    assert estimate.grad is not None and estimate.grad.isfinite().all()
    assert bool(estimate.grad.any()) == bool(estimate.any())  # of magnitudes at zero there is none
    assert all(weight.grad is None for weight in loss.parameters())
    told = loss.update(estimate, speech, mixture)
    assert (told == told) == (case in ("noise", "silent estimate"))  # NaN where no reference sounds
    assert all(weight.isfinite().all() for weight in loss.parameters())


def test_they_go_on_to_the_bit() -> None:
    first, resumed = made(), made()
    for step in range(3):
        speech, left, mixture = sounds(step)
        first.update(speech + left, speech, mixture)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    speech, left, mixture = sounds(9)
    assert first.update(speech + left, speech, mixture) == resumed.update(speech + left, speech, mixture)
    states = zip(first.discriminators.state_dict().values(), resumed.discriminators.state_dict().values(), strict=True)
    assert all(torch.equal(one, two) for one, two in states)


def test_they_learn_before_they_count_and_alone() -> None:
    loss = objective([ENTRY | {"from": 0.3}], sample_rate=16000)
    assert not loss.own_weights
    judge = loss.losses["discriminator speech"]
    before = [weight.clone() for weight in judge.parameters()]
    speech, left, mixture = sounds(0)
    estimates, references = (torch.stack([each[:, 0], (mixture - each)[:, 0]], 1) for each in (speech + left, speech))
    loss.update(estimates, references, 0, 0.1)
    assert all(torch.equal(one, two) for one, two in zip(before, judge.parameters(), strict=True))
    loss.update(estimates, references, 0, 0.25)
    assert not all(torch.equal(one, two) for one, two in zip(before, judge.parameters(), strict=True))
    with pytest.raises(ValueError, match="an entry of its own"):
        read_losses([ENTRY | {"of": ["speech", "noise"]}], LOSSES)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"windows": ()}, "multiples of 4"),
        ({"windows": (130,)}, "multiples of 4"),
        ({"top": 9000.0}, "half the rate"),
        ({"width": 0}, "width 1 at least"),
        ({"features": -1.0}, "features 0 at least"),
    ],
)
def test_what_cannot_be_is_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made(**options)
