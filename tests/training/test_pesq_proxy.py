"""The PESQ proxy: numeric anchors, agreement with `pesq`, gradients where they could break."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile
import soxr
import torch
from torch import Tensor

from tests.training.tiny import TINY
from training.losses import pesq_proxy
from training.losses.pesq_proxy import PesqProxy, bark_edges, high_pass, mos, norm, over_time


def recording(seconds: float = 3.0) -> tuple[Tensor, Tensor]:
    """Speech and noise of equal power at 48 kHz, `[samples]` each."""
    size = int(48000 * seconds)
    speech, _ = soundfile.read(TINY.parent / "speech48/kathleen/ka000.opus", dtype="float32")
    noise, _ = soundfile.read(TINY.parent / "noise/esc10/esc-1-17367-A.opus", dtype="float32")
    speech, noise = speech[24000 : 24000 + size], np.tile(noise, 2)[:size]
    return torch.from_numpy(speech), torch.from_numpy(noise / noise.std() * speech.std())


def at_16k(wave: Tensor) -> Tensor:
    return torch.from_numpy(soxr.resample(wave.numpy(), 48000, 16000))


def test_the_scale_ends_where_the_recommendation_says() -> None:
    assert mos(torch.tensor(4.5)).item() == pytest.approx(4.644, abs=1e-3)
    assert mos(torch.tensor(-1e3)).item() == pytest.approx(0.999, abs=1e-3)
    speech, _ = recording()
    for rate, wave in ((48000, speech), (16000, at_16k(speech))):
        assert PesqProxy(rate).score(wave[None], wave[None]).item() == pytest.approx(4.644, abs=1e-3)


def test_bands() -> None:
    edges = bark_edges()
    assert edges[0] == 0 and edges[-1].item() == pytest.approx(21.3357, abs=1e-3)
    assert sum(pesq_proxy.BINS) == 256 and len(pesq_proxy.BINS) == 49
    # Bins times their width, over Hz per Bark, is about the width in Bark: the three tables belong together.
    width = 31.25 * torch.tensor(pesq_proxy.BINS) / torch.tensor(pesq_proxy.HERTZ_PER_BARK)
    assert width.sum().item() == pytest.approx(edges[-1].item(), rel=0.05)


def test_input_filter_is_the_recursion_it_stands_for() -> None:
    from scipy.signal import freqz

    hertz = torch.tensor([0.0, 50.0, 100.0, 300.0, 1000.0, 7000.0])
    top, bottom = [2.740826, -5.4816519, 2.740826], [1, -1.9444777, 0.94597794]
    _, expected = freqz(top, bottom, hertz.numpy(), fs=16000)
    assert np.allclose(high_pass(hertz).numpy(), expected, rtol=1e-3, atol=1e-3)


def test_time_aggregation() -> None:
    # Constant disturbance over whole syllables keeps its value but for the last, half empty syllable.
    frames = torch.full((1, 30), 3.0)
    zero, last = torch.tensor([0]), torch.tensor([29])
    expected = 3 * math.sqrt((2 + 0.5 ** (1 / 3)) / 3)
    assert over_time(frames, zero, last).item() == pytest.approx(expected, rel=1e-5)
    # One bad frame in two overlapping syllables of two: L6 makes it (1/20)^(1/6) of itself.
    frames = torch.zeros(1, 20)
    frames[0, 15] = 10
    assert over_time(frames, zero, torch.tensor([19])).item() == pytest.approx(10 * 20 ** (-1 / 6), rel=1e-3)
    # Frames outside of the speech do not count.
    outside = torch.cat([torch.full((1, 5), 40.0), torch.ones(1, 20), torch.full((1, 7), 40.0)], 1)
    inside = over_time(outside, torch.tensor([5]), torch.tensor([24]))
    assert inside.item() == pytest.approx(over_time(torch.ones(1, 20), zero, torch.tensor([19])).item(), rel=1e-6)


@pytest.mark.parametrize("power", [2, 6])
def test_norm(power: int) -> None:
    values = torch.tensor([[1e-4, 2.0, 45.0], [3e5, 4e5, 0.0]])
    expected = values.double().pow(power).sum(-1).pow(1 / power).float()
    assert torch.allclose(norm(values, power), expected, rtol=1e-4)
    zero = torch.zeros(1, 3, requires_grad=True)
    norm(zero, power).sum().backward()
    assert zero.grad is not None and torch.equal(zero.grad, torch.zeros(1, 3))


def test_agrees_with_pesq() -> None:
    pesq = pytest.importorskip("pesq").pesq
    speech, noise = recording()
    narrow = at_16k(speech)
    wide, small = PesqProxy(48000), PesqProxy(16000)
    for snr in (0, 10, 20, 30, 40):
        noisy = speech + noise * 10 ** (-snr / 20)
        expected = pesq(16000, narrow.numpy(), at_16k(noisy).numpy(), "wb")
        assert small.score(at_16k(noisy)[None], narrow[None]).item() == pytest.approx(expected, abs=0.06)
        assert wide.score(noisy[None], speech[None]).item() == pytest.approx(expected, abs=0.06)
    gated = torch.where(speech.abs() > 0.02, speech, 0.0)  # a crude enhancement's artefacts
    expected = pesq(16000, narrow.numpy(), at_16k(gated).numpy(), "wb")
    assert wide.score(gated[None], speech[None]).item() == pytest.approx(expected, abs=0.1)


def test_falls_with_the_noise_and_not_with_the_level() -> None:
    speech, noise = recording()
    measure = PesqProxy(48000)
    noisy = torch.stack([speech + noise * 10 ** (-snr / 20) for snr in range(-10, 41, 5)])
    scores = measure.score(noisy, speech.expand_as(noisy))
    assert (scores.diff() > 0).all()
    assert torch.allclose(measure.score(noisy / 20, speech.expand_as(noisy) / 5), scores, atol=0.01)


def test_a_batch_is_its_rows() -> None:
    speech, noise = recording(1.5)
    measure = PesqProxy(48000)
    late = torch.cat([torch.zeros(24000), speech[:-24000]])  # begins in another frame
    references = torch.stack([speech, late, noise])
    estimates = references + 0.1 * noise.roll(1000)
    alone = [
        measure(estimate[None], reference[None]) for estimate, reference in zip(estimates, references, strict=True)
    ]
    assert torch.allclose(measure(estimates, references), torch.cat(alone), rtol=1e-4)


def test_gradient_is_the_slope() -> None:
    speech, noise = recording(0.6)
    measure = PesqProxy(48000)
    estimate = (speech + 0.05 * noise)[None].requires_grad_()
    (slope,) = torch.autograd.grad(measure(estimate, speech[None]).sum(), estimate)
    direction = slope / slope.norm()
    step = 1e-4 * estimate.detach().norm()
    with torch.no_grad():
        ahead, behind = (measure(estimate + way * step * direction, speech[None]) for way in (1, -1))
    assert ((ahead - behind) / (2 * step)).item() == pytest.approx(slope.norm().item(), rel=0.1)


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("case", ["silent estimate", "silent reference", "both silent", "clipped", "equal", "faint"])
@pytest.mark.parametrize("seconds", [0.032, 0.3, 1.0])
def test_gradients_are_finite(rate: int, case: str, seconds: float) -> None:
    generator = torch.Generator().manual_seed(0)
    reference, estimate = torch.randn(2, 3, int(rate * seconds), generator=generator) * 0.1
    if case in ("silent reference", "both silent"):
        reference.zero_()
    if case in ("silent estimate", "both silent"):
        estimate.zero_()
    if case == "clipped":
        reference, estimate = reference.mul(1e3).clamp(-1, 1), estimate.mul(1e3).clamp(-1, 1)
    if case == "equal":
        estimate = reference.clone()
    if case == "faint":
        reference, estimate = reference * 1e-6, estimate * 1e-6
    estimate.requires_grad_()
    disturbance = PesqProxy(rate)(estimate, reference)
    disturbance.sum().backward()
    assert disturbance.isfinite().all() and (disturbance >= 0).all()
    assert estimate.grad is not None and estimate.grad.isfinite().all()


def test_a_step_down_the_gradient_sounds_better() -> None:
    speech, noise = recording(1.0)
    measure = PesqProxy(48000)
    estimate = (speech + 0.2 * noise)[None].requires_grad_()
    optimizer = torch.optim.Adam([estimate], lr=1e-4)
    before = measure(estimate, speech[None]).item()
    for _ in range(5):
        optimizer.zero_grad()
        measure(estimate, speech[None]).sum().backward()
        optimizer.step()
    assert measure(estimate, speech[None]).item() < before - 0.1


def test_other_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="16000 or 48000"):
        PesqProxy(44100)
