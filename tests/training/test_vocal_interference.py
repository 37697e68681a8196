"""The voice that is left in an estimated accompaniment: anchors, its agreement with the scores, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.objectives import SONGS, objective
from training.evaluation import song_metrics as music_scores
from training.losses.vocal_interference import voice_left

RATE = 48000


def stems(seconds: float = 4.096, seed: int = 0) -> Tensor:
    """Two pieces, `[2, 2, 2, samples]`: coloured noise with a beat, and a voice of gliding harmonics beside it."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    pieces = []
    for base in (180.0, 260.0):
        white = np.fft.rfft(rng.standard_normal((2, len(time))))
        music = np.fft.irfft(white / np.sqrt(1 + np.arange(white.shape[1]) / 2000), len(time))
        music *= 1 + 0.8 * np.sin(2 * np.pi * 2 * time)
        phase = 2 * np.pi * base * (time + 0.02 * np.sin(2 * np.pi * 0.7 * time))
        voice = sum(np.sin(k * phase + k) / k for k in range(1, 20)) * np.array([[1.0], [0.8]])
        pieces.append(np.stack([0.1 * music / music.std(), 0.05 * voice / voice.std()]))
    return torch.from_numpy(np.stack(pieces).astype(np.float32))


@pytest.mark.parametrize("down", [0.0, 6.0, 12.0])
def test_a_voice_turned_down_is_that_much_down(down: float) -> None:
    sources = stems()
    estimate = sources[:, 0] + 10 ** (-down / 20) * sources[:, 1]
    assert voice_left(estimate, sources).numpy() == pytest.approx(-down, abs=0.05)
    # Neither music that is lost nor noise that is added is a voice.
    torch.manual_seed(0)
    hurt = 0.5 * estimate + 0.5 * 10 ** (-down / 20) * sources[:, 1] + 0.02 * torch.randn_like(estimate)
    assert voice_left(hurt, sources).numpy() == pytest.approx(-down, abs=0.7)


def test_gains_are_of_bands() -> None:
    """A voice that is in half of the spectrum only is half there; one whose sign changes from band to band, all."""
    sources = stems()
    sources[:, 1] = 0.05 * torch.randn(sources[:, 1].shape, generator=torch.Generator().manual_seed(1))
    spectrum, bins = torch.fft.rfft(sources[:, 1]), sources.shape[-1] // 2 + 1
    for gain, left in (
        ((torch.arange(bins) < bins // 2).float(), -3.0),
        (1 - 2 * (torch.arange(bins) // (bins // 8) % 2).float(), 0.0),
    ):
        estimate = sources[:, 0] + torch.fft.irfft(spectrum * gain, sources.shape[-1])
        assert voice_left(estimate, sources).numpy() == pytest.approx(left, abs=0.3)


@pytest.mark.parametrize("level", [1e-4, 1e-2, 1.0])
def test_the_level_does_not_matter(level: float) -> None:
    sources = stems() * level
    estimate = sources[:, 0] + 0.5 * sources[:, 1]
    assert voice_left(estimate, sources).numpy() == pytest.approx(-6.02, abs=0.05)


def test_it_is_what_the_scores_say_of_a_mask() -> None:
    """An ideal mask, as a separator makes it, by both measures."""
    sources = stems()
    spectra = torch.stft(sources.flatten(0, 2), 1024, 256, window=torch.hann_window(1024), return_complex=True)
    music, voice = spectra.view(2, 2, 2, *spectra.shape[1:]).unbind(1)
    for sharp in (1.0, 2.0):
        mask = music.abs() ** sharp / (music.abs() ** sharp + voice.abs() ** sharp + 1e-9)
        made = torch.istft(((music + voice) * mask).flatten(0, 1), 1024, 256, window=torch.hann_window(1024))
        estimate = torch.nn.functional.pad(made, (0, sources.shape[-1] - made.shape[-1])).view(2, 2, -1)
        told = voice_left(estimate, sources)
        for index in range(2):
            vocals, accompaniment = (sources[index, part].T.numpy() for part in (1, 0))
            score = music_scores.suppression(vocals, accompaniment, estimate[index].T.numpy(), RATE)
            assert float(told[index]) == pytest.approx(-score, abs=1.0)


def test_silence_is_no_trouble_and_the_floor_holds() -> None:
    sources = stems()
    sources[1, 1] = 0
    estimate = sources[:, 0].clone().requires_grad_()
    left = voice_left(estimate, sources, 0.01)
    left.sum().backward()
    music, voice = (float(sources[0, part].square().sum()) for part in (0, 1))
    least = 0.01 * (music + voice)
    assert left.tolist() == pytest.approx([10 * np.log10(least / (voice + least)), 0], abs=0.1)
    assert estimate.grad is not None and estimate.grad.isfinite().all()
    nothing = torch.zeros(1, 2, RATE, requires_grad=True)
    voice_left(nothing, torch.zeros(1, 2, 2, RATE)).sum().backward()
    assert nothing.grad is not None and nothing.grad.isfinite().all()
    assert voice_left(torch.zeros(1, 1, 3000), torch.rand(1, 2, 1, 3000)).isfinite().all()  # shorter than a second


def test_gradient() -> None:
    sources = stems()[:1, :, :, : RATE // 2]
    estimate = (sources[:, 0] + 0.4 * sources[:, 1]).requires_grad_()
    voice_left(estimate, sources).sum().backward()
    assert estimate.grad is not None
    for change in (sources[:, 1], sources[:, 0]):
        step = 1e-2 * change
        with torch.no_grad():
            ends = [float(voice_left(estimate + sign * step, sources)) for sign in (1, -1)]
        assert float((estimate.grad * step).sum()) == pytest.approx((ends[0] - ends[1]) / 2, rel=0.02, abs=1e-4)


def test_its_weight_makes_a_voice_that_is_left_worse_than_music_that_is_lost() -> None:
    sources = stems()
    voice, music = sources[:, 1], sources[:, 0]
    lost = 0.5 * float(voice.square().mean().sqrt() / music.square().mean().sqrt())  # the same power of error
    estimates = [music + 0.5 * voice, music * (1 - lost)]
    losses = {}
    for weight in (0.0, 0.05):
        entries = [{"loss": "snr", "of": name, "weight": share} for name, share in zip(SONGS, (0.1, 0.05), strict=True)]
        if weight:
            entries.append({"loss": "vocal_interference", "of": "accompaniment", "weight": weight})
        both = objective(entries, SONGS, audio_channels=2)
        losses[weight] = [float(both(torch.stack([e, sources.sum(1) - e], 1), sources)[0]) for e in estimates]
    assert losses[0.0][0] == pytest.approx(losses[0.0][1], abs=0.05)
    assert losses[0.05][0] > losses[0.05][1] + 0.3
