"""The learned proxy: it learns from labels, remembers, resumes, and passes its gradient on to the estimate alone."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.objectives import objective
from training.losses.metricgan import BEST, WORST, LearnedProxy, MetricGan


def by_snr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """A stand-in for PESQ that costs nothing: −10 dB is the worst, 20 dB the best."""
    error = np.square(estimate - reference).sum() / np.square(reference).sum()
    quality = (-10 * math.log10(error + 1e-9) + 10) / 30
    return WORST + (BEST - WORST) * min(1.0, max(0.0, quality))


def signals(seed: int, count: int = 8, size: int = 8000) -> tuple[Tensor, Tensor, Tensor]:
    """Estimate, reference and mixture `[count, size]`: coloured noise, the estimate at an SNR between −10 and 20 dB."""
    generator = torch.Generator().manual_seed(seed)
    reference, noise = torch.randn(2, count, size, generator=generator) * 0.1
    reference = (reference + reference.roll(1, 1) + reference.roll(2, 1)) * torch.linspace(0, 1, size)
    noise = noise * (reference.square().mean(1) / noise.square().mean(1)).sqrt()[:, None]
    snr = torch.rand(count, 1, generator=generator) * 30 - 10
    return reference + noise * 10 ** (-snr / 20), reference, reference + noise


def test_it_learns_what_the_label_says() -> None:
    proxy = LearnedProxy(16000, by_snr, fresh=5, memory=24)
    errors = [proxy.update(*signals(step, size=2048)) for step in range(40)]
    assert np.mean(errors[-10:]) < 0.3 * np.mean(errors[:5])
    estimate, reference, _ = signals(1000, 32, 2048)
    real = np.array([by_snr(clean, heard) for clean, heard in zip(reference.numpy(), estimate.numpy(), strict=True)])
    with torch.no_grad():
        loss = proxy(estimate, reference).numpy()
    assert np.corrcoef(real, loss)[0, 1] < -0.85
    assert len(proxy.memory) == 24 and all(example[0].dtype == torch.int16 for example in proxy.memory)


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("case", ["noise", "silent estimate", "silent reference", "clipped"])
def test_gradients_reach_the_estimate_and_not_the_critic(rate: int, case: str) -> None:
    proxy = LearnedProxy(rate, by_snr)
    estimate, reference, _ = signals(0, 2, rate * 3 // 10)
    if case == "silent estimate":
        estimate.zero_()
    if case == "silent reference":
        reference.zero_()
    if case == "clipped":
        estimate = (estimate * 1e3).clamp(-1, 1)
    estimate.requires_grad_()
    loss = proxy(estimate, reference)
    loss.sum().backward()
    assert loss.shape == (2,) and (loss >= 0).all()
    assert estimate.grad is not None and estimate.grad.isfinite().all()
    assert case == "silent estimate" or estimate.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in proxy.critic.parameters())


def test_examples_without_a_label_change_nothing() -> None:
    proxy = LearnedProxy(16000, lambda *_: math.nan)
    before = [weight.clone() for weight in proxy.critic.parameters()]
    assert math.isnan(proxy.update(*signals(0)))
    assert not proxy.memory and proxy.updates == 0
    assert all(torch.equal(one, two) for one, two in zip(before, proxy.critic.parameters(), strict=True))


def test_it_goes_on_from_its_state() -> None:
    """Saved and loaded as a checkpoint is, it learns the same from the same."""
    first, second = LearnedProxy(16000, by_snr), LearnedProxy(16000, by_snr, seed=5)
    for step in range(4):
        first.update(*signals(step))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    for step in range(4, 7):
        assert first.update(*signals(step)) == second.update(*signals(step))
    estimate, reference, _ = signals(99)
    assert torch.equal(first(estimate, reference), second(estimate, reference))


def test_updates_begin_ahead_of_the_part_they_serve() -> None:
    learned = {"loss": "metricgan", "of": "speech", "weight": 0.1, "from": 0.5}
    both = objective([{"loss": "snr", "of": "speech"}, learned], sample_rate=16000)
    metricgan = both.losses["metricgan speech"]
    assert isinstance(metricgan, MetricGan)
    proxy = metricgan.proxy
    proxy.label = by_snr
    estimate, reference, mixture = signals(0, 2, 24000)
    pair = torch.stack([estimate, mixture - estimate], 1), torch.stack([reference, mixture - reference], 1)
    updates = []
    ahead = 0.5 - MetricGan.update_lead
    for step, progress in ((0, 0.0), (1, ahead - 0.01), (1, ahead + 0.01), (1.5, 0.6), (2, 0.9)):
        both.update(*pair, int(step * MetricGan.update_every), progress)
        updates.append(proxy.updates)
    assert updates == [0, 0, 1, 1, 2]
    loss, parts = both(*pair)
    assert loss.isfinite() and parts["metricgan speech"] > 0
    assert any(name.startswith("losses.metricgan speech.proxy.critic") for name in both.state_dict())


def test_the_start_of_the_network_does_not_depend_on_the_proxy() -> None:
    torch.manual_seed(3)
    expected = torch.randn(3)
    torch.manual_seed(3)
    LearnedProxy(16000)
    assert torch.equal(torch.randn(3), expected)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="16000 or 48000"):
        LearnedProxy(8000)


def test_labels_are_those_of_pesq() -> None:
    pesq = pytest.importorskip("pesq")
    from training.losses.metricgan import pesq_wb

    rng = np.random.default_rng(0)
    reference = rng.standard_normal(16000) * np.sin(np.arange(16000) / 2000) * 0.3
    noisy = reference + rng.standard_normal(16000) * 0.05
    assert pesq_wb(reference, noisy) == pytest.approx(pesq.pesq(16000, reference, noisy, "wb"), abs=1e-4)
    assert math.isnan(pesq_wb(np.zeros(16000), noisy))
