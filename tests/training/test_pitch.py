"""The period of a sound, and the sound some periods earlier: by the sequence and by the step alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.network.network import Network
from training.network.pitch import BANDS, CORRELATION_SCALE, LAG_SCALE, Pitch
from training.network.spec import NetworkSpec

SPEC = NetworkSpec(filterbank="folded", features=8, features_top=2400.0, pitch_frames=3)


def tone(hertz: float, samples: int = 9600, rate: int = 48000) -> Tensor:
    """Eleven harmonics, `[1, samples]`."""
    time = torch.arange(samples, dtype=torch.float64) / rate
    partials = [torch.sin(2 * np.pi * hertz * k * time + k) / k for k in range(1, 12)]
    return (0.1 * torch.stack(partials).sum(0)).float().unsqueeze(0)


def period(pitch: Pitch, known: Tensor) -> Tensor:
    """The lag in samples that a feature tells."""
    return pitch.middle * 2 ** (known[..., 1].double() / LAG_SCALE)


@pytest.mark.parametrize("hertz", [66.0, 80.0, 113.3, 220.0, 400.0, 470.0])
def test_the_period_of_a_tone_is_found_and_its_past_is_the_same(hertz: float) -> None:
    pitch, wave = Pitch(SPEC), tone(hertz)
    windows, known, before = pitch(wave, 75)
    assert before is None  # without a look-ahead
    assert (period(pitch, known)[0, 40:] / (48000 / hertz) - 1).abs().max() < 0.006  # a sample and a half at the most
    assert (known[0, 40:, 0] / CORRELATION_SCALE).min() > 0.94
    for frame in (40, 60):
        newest = wave[0, (frame + 1) * 128 - 256 : (frame + 1) * 128]
        errors = (windows[0, frame] - newest).square().mean(-1) / newest.square().mean()
        # The period is known to half a sample, and what is added up over periods tells on the highest harmonics.
        assert errors[:2].max() < 0.02 and errors[2] < 0.07


def test_other_rates_have_the_same_periods() -> None:
    spec = NetworkSpec(
        sample_rate=16000, hop=64, analysis_window=512, synthesis_window=128, filterbank="folded", features=8,
        features_top=2400.0, pitch_frames=2,
    )  # fmt: skip
    pitch = Pitch(spec)
    known = pitch(tone(113.3, 9600, 16000), 100)[1]
    assert (period(pitch, known)[0, 60:] / (16000 / 113.3) - 1).abs().max() < 0.006


@pytest.mark.parametrize("hertz, under", [(0.0, -6.0), (40.0, 3.0), (50.0, 6.0), (60.0, 6.0)])
def test_hum_and_offsets_do_not_take_the_period_over(hertz: float, under: float) -> None:
    """Under a voice of 130.7 Hz by so many dB; two periods of the voice are one too."""
    pitch, wave = Pitch(SPEC), tone(130.7)
    time = torch.arange(wave.shape[1]) / 48000
    hum = torch.cos(2 * np.pi * hertz * time + 1)
    hum = hum * (wave.std() / hum.square().mean().sqrt() * 10 ** (-under / 20))
    known = pitch(wave + hum, 75)[1]
    periods = period(pitch, known)[0, 40:] / (48000 / 130.7)
    assert ((periods / periods.round().clamp(1, 2) - 1).abs() < 0.02).double().mean() > 0.95


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([1e-6, 1e-3, 0.1, 1.0]),
    st.floats(60, 600),
    st.floats(0, 1),
    st.integers(0, 5),
)
def test_the_step_chooses_as_the_sequence_does(seed: int, level: float, hertz: float, share: float, late: int) -> None:
    """Noise, tones and what lies between, at any level, with clicks: the very same windows, with any look-ahead."""
    pitch, rng = Pitch(replace(SPEC, lookahead_hops=late)), torch.Generator().manual_seed(seed)
    wave = level * (share * tone(hertz, 6400) + (1 - share) * 0.1 * torch.randn(1, 6400, generator=rng))
    wave[0, torch.randint(6400, (2,), generator=rng)] = 5 * level
    windows, known, before = pitch(wave, 50)
    for frame in range(pitch.past // 128 - 1, 50):
        end = (frame + 1) * 128
        there, told, behind = pitch.step(wave[:, end - pitch.past : end])
        assert torch.equal(there, windows[:, frame]) and torch.allclose(told, known[:, frame], atol=1e-5)
        if late:
            assert before is not None and behind is not None and torch.equal(behind, before[:, frame - late])
            assert before.shape[1] == 50 - late


def test_with_a_look_ahead_the_newest_period_is_taken_from_the_masked_frame() -> None:
    """A tone is the same one period before the newest frame and one period before the one four hops ago."""
    pitch, wave = Pitch(replace(SPEC, lookahead_hops=4)), tone(220.0)
    _, _, before = pitch(wave, 75)
    assert before is not None
    masked = wave.unfold(-1, 256, 128)[:, 39:70]  # frames 40 to 70: each ends with the hop of its number
    off = (before[:, 40:71, 0] - masked).square().mean() / masked.square().mean()
    assert off < 0.02


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_loop_and_spectra_give_the_same_sums(rate: int) -> None:
    pitch = Pitch(NetworkSpec(**{**SPEC.to_dict(), "sample_rate": rate, "options": {}}))
    sounds = torch.randint(-127, 128, (2, 7, pitch.past // pitch.fold), generator=torch.Generator().manual_seed(rate))
    loop, spectra = pitch._by_loop(sounds.float()), pitch._by_spectra(sounds.float())
    assert all(torch.equal(one, other) for one, other in zip(loop, spectra, strict=True))
    lag, size = 1 + pitch.longest, sounds.shape[-1]
    past = sounds[..., size - lag - pitch.correlated : size - lag]
    expected = (sounds[..., -pitch.correlated :] * past).sum(-1), past.square().sum(-1)
    assert all(torch.equal(one[..., 0].long(), other) for one, other in zip(loop, expected, strict=True))


def test_silence_has_a_period_like_any_other_and_stays_silent() -> None:
    pitch = Pitch(SPEC)
    windows, known, _ = pitch(torch.zeros(1, 1280), 10)
    assert windows.abs().max() == 0 and known.isfinite().all() and known[..., 0].abs().max() == 0


def test_coherence_is_one_with_itself_and_minus_one_with_its_opposite() -> None:
    pitch = Pitch(SPEC)
    pairs = torch.randn(4, 2, pitch.bins)
    seen = pitch.coherence(pairs, torch.stack([pairs, -pairs, torch.randn(4, 2, pitch.bins)], 1))
    same, opposite, other = seen.unflatten(-1, (3, BANDS)).unbind(1)
    assert torch.allclose(same, torch.ones_like(same), atol=1e-5)
    assert torch.allclose(opposite, -torch.ones_like(same), atol=1e-5) and other.abs().max() <= 1 + 1e-5


def test_gains_of_earlier_periods_average_noise_away() -> None:
    """A third of each of three frames: of a tone in noise the tone is kept, and 4.8 dB of the noise go."""
    network = Network(NetworkSpec(**{**SPEC.to_dict(), "pitch_frames": 2, "sources": ["speech"], "options": {}}))
    wave, noise = tone(220.0), 0.02 * torch.randn(1, 9600, generator=torch.Generator().manual_seed(1))
    head = network.head.eval()
    with torch.no_grad():
        head.project.weight.zero_()
        masks, bins = network.decoder.masked_pairs, head.bins
        head.project.bias[:masks] = -20.0  # sigmoid: nothing
        head.project.bias[:bins] = float(np.log(0.5))  # a third
        head.project.bias[-2 * bins :] = float(np.arctanh(1 / 3)) / 0.3
        made = network(wave + noise)[0, 0, 4800:-256]
    low = torch.fft.rfft(made)[: len(made) * 7000 // 48000]
    true = torch.fft.rfft(wave[0, 4800:-256])[: len(low)]
    mixed = torch.fft.rfft((wave + noise)[0, 4800:-256])[: len(low)]
    before, after = ((x - true).abs().square().sum() for x in (mixed, low))
    assert 4.0 < 10 * torch.log10(before / after) < 5.5
