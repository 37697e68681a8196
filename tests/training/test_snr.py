"""Signal-to-noise ratios, thresholded and scale-invariant: anchors, stretches, silence."""

from __future__ import annotations

import math

import pytest
import torch

from tests.training.objectives import objective
from training.losses.loss import Context, Setup, Sound
from training.losses.si_sdr import si_sdr
from training.losses.snr import Snr, thresholded_snr


def test_thresholded_snr_anchors() -> None:
    reference = torch.randn(2, 48000, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(2, 48000, generator=torch.Generator().manual_seed(1)) * 0.1
    exact = 10 * torch.log10(noise.square().sum(-1) + 1e-3 * reference.square().sum(-1)) - 10 * torch.log10(
        reference.square().sum(-1)
    )
    assert torch.allclose(thresholded_snr(reference + noise, reference, reference), exact, atol=1e-4)
    # A perfect estimate meets the ceiling; a silent reference is no singularity.
    assert torch.allclose(thresholded_snr(reference, reference, reference), torch.full((2,), -30.0), atol=1e-3)
    silent = thresholded_snr(torch.zeros(2, 100), torch.zeros(2, 100), reference[:, :100])
    assert torch.allclose(silent, torch.full((2,), -30.0), atol=1e-3)


def test_si_sdr_anchors() -> None:
    time = torch.arange(48000) / 48000
    reference = torch.sin(2 * math.pi * 440 * time)
    error = torch.sin(2 * math.pi * 880 * time)  # orthogonal over whole periods
    for gain in (1.0, 0.1, 10.0):
        assert si_sdr(gain * (reference + 0.1 * error), reference).item() == pytest.approx(20.0, abs=0.01)
    assert si_sdr(reference, reference).item() > 60
    assert torch.isfinite(si_sdr(torch.zeros(100), torch.zeros(100)))


def test_thresholded_snr_of_faint_and_of_no_sound() -> None:
    """The floor under a mixture's power is 1e-8: of no matter for a faint one, finite for none."""
    wave = torch.full((1, 100), 1e-3)  # energy 1e-4
    half = thresholded_snr(0.5 * wave, wave, wave, 40.0).item()
    assert half == pytest.approx(10 * math.log10(0.25 + 1e-4), abs=2e-3)
    nothing = torch.zeros(1, 100)
    assert thresholded_snr(nothing, nothing, nothing, 45.0).item() == pytest.approx(-45, abs=1e-3)
    assert thresholded_snr(wave, nothing, nothing).item() == pytest.approx(40, abs=0.1)  # 1e-4 over 1e-8


def contexts(estimate: torch.Tensor, reference: torch.Tensor) -> tuple[Sound, Sound, Context]:
    """One source `[batch, channels, samples]`, alone in its mixture."""
    return Sound(estimate), Sound(reference), Context(Sound(reference), {}, {})


SETUP = Setup(("speech",), ("speech",), sample_rate=1000)


def test_a_stretch_counts_as_much_as_any_other() -> None:
    """Of each of two seconds, and of two examples; half a second is left over."""
    reference = torch.randn(2, 2, 2500, generator=torch.Generator().manual_seed(0))
    reference[..., :1000] *= 0.01
    scale = torch.ones(2, 1, 2500)
    scale[0, :, :1000], scale[0, :, 1000:2000], scale[1, :, :2000] = 0.9, 0.5, 0.0
    scale[:, :, 2000:] = -7.0
    given = contexts(reference * scale, reference)
    first = [10 * math.log10((1 - share) ** 2 + 1e-3) for share in (0.9, 0.5)]
    found = Snr(SETUP, stretch=1.0)(*given)
    assert found.tolist() == pytest.approx([sum(first) / 2, 10 * math.log10(1.001)], abs=1e-3)
    assert Snr(SETUP, 60.0, 1.0)(*given)[0].item() == pytest.approx((-20 + 20 * math.log10(0.5)) / 2, abs=1e-2)


def test_both_channels_are_one_sum() -> None:
    """The louder channel counts for more: its error is what is heard."""
    reference = torch.randn(1, 2, 1000, generator=torch.Generator().manual_seed(0))
    reference[:, 1] *= 0.1
    estimate = reference.clone()
    estimate[:, 1] = 0
    share = float(reference[0, 1].square().sum() / reference.square().sum())
    assert Snr(SETUP)(*contexts(estimate, reference)).item() == pytest.approx(10 * math.log10(share + 1e-3), abs=1e-3)


def test_a_stretch_that_is_none_or_too_long_is_the_whole_piece() -> None:
    reference = torch.randn(1, 1, 2500, generator=torch.Generator().manual_seed(0))
    estimate = reference * torch.linspace(0, 1, 2500)
    whole = thresholded_snr(estimate[0], reference[0], reference[0]).item()
    assert Snr(SETUP)(*contexts(estimate, reference)).item() == pytest.approx(whole, abs=1e-4)
    for stretch in (0.0, 2.5, 9.0):
        assert Snr(SETUP, stretch=stretch)(*contexts(estimate, reference)).item() == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("stretch", [-0.1, math.inf, math.nan])
def test_what_is_no_stretch_is_refused(stretch: float) -> None:
    with pytest.raises(ValueError, match="stretch is a number of seconds"):
        Snr(SETUP, stretch=stretch)


def test_si_sdr_loss() -> None:
    """20 dB below: −20, whatever the level of the estimate."""
    time = torch.arange(48000) / 48000
    speech, other = torch.sin(2 * math.pi * 440 * time), torch.sin(2 * math.pi * 880 * time)
    sources = torch.stack([speech, other])[None]
    loss = objective([{"loss": "si_sdr", "of": "speech"}])
    for gain in (0.1, 1.0):
        estimate = torch.stack([gain * (speech + 0.1 * other), other])[None]
        assert loss(estimate, sources)[0].item() == pytest.approx(-20, abs=0.01)


def test_si_sdr_of_channels_and_constants() -> None:
    """The mean over channels of an example each; a constant on either side is no sound."""
    time = torch.arange(48000) / 48000
    speech, other = torch.sin(2 * math.pi * 440 * time), torch.sin(2 * math.pi * 880 * time)
    sources = torch.stack([torch.stack([speech, speech]), torch.stack([other, other])])[None]
    estimate = sources.clone()
    estimate[0, 0, 0] += 0.1 * other
    estimate[0, 0, 1] += 0.01 * other
    stereo = objective([{"loss": "si_sdr", "of": "speech"}], audio_channels=2)
    assert stereo(estimate, sources)[0].item() == pytest.approx(-30, abs=0.02)
    assert si_sdr(speech + 0.1 * other + 3, speech - 2).item() == pytest.approx(20, abs=0.01)


def test_si_sdr_counts_where_the_reference_sounds() -> None:
    """Mean squares of 1.1e-4 and 0.9e-4, the mixture's being 1."""
    generator = torch.Generator().manual_seed(0)
    for power, counts in ((1.1e-4, True), (0.9e-4, False)):
        speech, noise = torch.randn(2, 1, 48000, generator=generator)
        sources = torch.stack([speech * power**0.5, noise], 1)
        loss = objective([{"loss": "si_sdr", "of": "speech"}])
        assert (loss(sources.flip(1), sources)[0].item() != 0) == counts


def test_si_sdr_of_silence_is_finite_and_low() -> None:
    """The floor of 1e-8 stands under every power."""
    time = torch.arange(48000) / 48000
    speech, other = torch.sin(2 * math.pi * 440 * time), torch.sin(2 * math.pi * 880 * time)
    nothing = torch.zeros(48000)
    assert si_sdr(nothing, nothing).item() == pytest.approx(0, abs=1e-3)
    assert si_sdr(speech, nothing).item() == pytest.approx(10 * math.log10(1e-8 / 24000), abs=0.1)
    energy, scale = 2.4e-8, 2.4 / 3.4  # of a sound as faint as the floor, and of its share in itself
    expected = 10 * math.log10((scale**2 * energy + 1e-8) / ((1 - scale) ** 2 * energy + 1e-8))
    assert si_sdr(1e-6 * speech, 1e-6 * speech).item() == pytest.approx(expected, abs=0.01)
    assert si_sdr(other, speech).item() < -80
