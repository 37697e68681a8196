"""Objectives: numeric anchors and gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile
import soxr
import torch
from pystoi import stoi

from tests.training.objectives import SPEECH_LOSSES, objective
from tests.training.tiny import TINY
from training.losses import Objective
from training.losses.compressed_spectrum import CompressedSpectrum, compressed_error, erb_density
from training.losses.loss import Context, Setup, Sound
from training.losses.one_minus_estoi import Intelligibility, third_octaves
from training.losses.pesq_proxy import PesqProxy
from training.losses.spectrum import spectrum


def test_spectrum_of_a_sine() -> None:
    time = torch.arange(48000) / 48000
    pairs = spectrum(0.5 * torch.sin(2 * math.pi * 48000 / 1024 * 40 * time)[None])
    magnitude = pairs.square().sum(1).sqrt()[0, 10:-10]
    assert torch.allclose(magnitude[:, 40], torch.tensor(0.5), atol=1e-3)
    assert magnitude[:, 60:].max() < 1e-3


@pytest.mark.parametrize(("window", "hop"), [(1024, 512), (64, 64), (256, 64)])
def test_spectrum_and_its_gradient_are_those_of_torch(window: int, hop: int) -> None:
    """Against torch.stft, whose gradient is another program."""
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(2, 2, 4096, generator=generator).requires_grad_()
    pairs = spectrum(wave.flatten(0, 1), window, hop)
    taper = torch.hann_window(window)
    exact = torch.stft(wave.flatten(0, 1), window, hop, window=taper * (2 / taper.sum()), return_complex=True)
    expected = torch.view_as_real(exact).permute(0, 3, 2, 1)
    assert torch.allclose(pairs, expected, atol=1e-5)
    weight = torch.randn(pairs.shape, generator=generator)
    (mine,) = torch.autograd.grad((pairs * weight).sum(), wave)
    (other,) = torch.autograd.grad((expected * weight).sum(), wave)
    assert torch.allclose(mine, other, atol=1e-4 * float(other.abs().max()))


def test_compressed_error_anchors() -> None:
    wave = torch.randn(1, 24000, generator=torch.Generator().manual_seed(0))
    pairs = spectrum(wave)
    assert compressed_error(pairs, pairs).item() == 0
    # Doubling multiplies compressed magnitudes by 2^0.3; magnitude and complex part then err alike.
    base = (pairs.square().sum(1) ** 0.3).mean().item()
    assert compressed_error(2 * pairs, pairs).item() == pytest.approx(1.3 * (2**0.3 - 1) ** 2 * base, rel=1e-3)
    # A turned sign leaves the magnitude right and the phase wrong.
    assert compressed_error(-pairs, pairs).item() == pytest.approx(0.3 * 4 * base, rel=1e-3)


def test_bins_count_as_the_ear_divides_frequency() -> None:
    """By hand: at a rate of 48 kHz 77 % of the ERB lie under 8 kHz (Glasberg & Moore: 21.4 lg(1 + 4.37 f / kHz))."""
    hertz = torch.linspace(0, 24000, 24001)
    density = erb_density(hertz)
    assert density[:8000].sum().item() == pytest.approx(9.265 * math.log(1 + 4.37 * 8), rel=1e-2)
    assert (density[:8000].sum() / density.sum()).item() == pytest.approx(0.77, abs=0.01)
    base, setup = 0.1 * torch.randn(1, 1, 24000), Setup(("speech",), ("speech",))
    at = 2 * math.pi * torch.arange(24000) / 48000

    def error(hertz: float, erb: bool) -> float:
        """Of a tone that is too much."""
        sounds = Sound(base + 0.1 * (hertz * at).sin()), Sound(base)
        return CompressedSpectrum(setup, erb=erb)(*sounds, Context(sounds[1], {}, {})).item()

    assert error(500, False) == pytest.approx(error(12000, False), rel=0.5)
    wanted = (4.37 * 12 + 1) / (4.37 * 0.5 + 1)  # how much narrower bands are at 500 Hz
    assert error(500, True) / error(12000, True) == pytest.approx(
        wanted * error(500, False) / error(12000, False), rel=0.05
    )


def test_third_octaves_partition_the_bins() -> None:
    bands = third_octaves(513, 48000)
    edges = 150 * 2 ** (np.array([0, 14]) / 3) * 2 ** (np.array([-1, 1]) / 6)
    assert bands.sum().item() * 48000 / 1024 == pytest.approx(edges[1] - edges[0], rel=1e-3)
    assert bands.sum(1).max() <= 1.0001


def test_intelligibility_follows_estoi() -> None:
    """Against pystoi on real speech in real noise, from −10 to 20 dB."""
    speech, rate = soundfile.read(TINY.parent / "speech48/kathleen/ka000.opus", dtype="float32")
    noise, _ = soundfile.read(TINY.parent / "noise/esc10/esc-1-17367-A.opus", dtype="float32")
    noise = np.tile(noise, 2)[: len(speech)]
    measure = Intelligibility(48000)
    ours, theirs = [], []
    for snr in range(-10, 21, 5):
        mixed = speech + noise / noise.std() * speech.std() * 10 ** (-snr / 20)
        pairs = [spectrum(torch.from_numpy(wave / speech.std())[None].float()) for wave in (mixed, speech)]
        ours.append(1 - measure(*pairs).item())
        theirs.append(stoi(soxr.resample(speech, rate, 10000), soxr.resample(mixed, rate, 10000), 10000, extended=True))
    assert np.corrcoef(ours, theirs)[0, 1] > 0.98
    assert np.all(np.diff(ours) > 0)
    assert 1 - measure(pairs[1], pairs[1]).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("case", ["noise", "silent speech", "silent noise", "all silent", "clipped"])
def test_gradients_are_finite(case: str) -> None:
    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(2, 2, 48000, generator=generator) * 0.1
    if case == "silent speech":
        sources[:, 0] = 0
    if case == "silent noise":
        sources[:, 1] = 0
    if case == "all silent":
        sources.zero_()
    if case == "clipped":
        sources = (sources * 100).clamp(-1, 1)
    late = {"loss": "pesq_proxy", "of": "speech", "weight": 0.1, "from": 0.5}
    every = objective(
        [*SPEECH_LOSSES, {"loss": "consistency", "weight": 0.1}, {"loss": "si_sdr", "of": "speech"}, late]
    )
    for estimate in (torch.zeros_like(sources), sources.clone(), torch.randn(2, 2, 48000, generator=generator)):
        estimate.requires_grad_()
        loss, parts = every(estimate, sources)
        loss.backward()
        assert len(parts) == 7
        assert loss.isfinite() and all(part.isfinite() for part in parts.values())
        assert estimate.grad is not None and estimate.grad.isfinite().all()


def test_a_better_estimate_has_a_smaller_loss() -> None:
    sources = torch.randn(2, 2, 48000, generator=torch.Generator().manual_seed(0)) * 0.1
    mixture = sources.sum(1, keepdim=True)
    speech = objective(SPEECH_LOSSES)
    losses = [speech(sources + share * (mixture - sources), sources)[0].item() for share in (0.0, 0.3, 0.6, 1.0)]
    assert losses == sorted(losses)


def test_level_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    sources, estimate = torch.randn(2, 1, 2, 48000, generator=generator) * 0.1
    speech = objective(SPEECH_LOSSES)
    assert speech(estimate, sources)[0].item() == pytest.approx(speech(estimate / 30, sources / 30)[0].item(), rel=1e-3)


def test_one_output_of_two_sources() -> None:
    """A network that puts out speech alone: the mixture is that of speech and noise all the same."""
    sources = torch.randn(2, 2, 48000, generator=torch.Generator().manual_seed(0)) * 0.1
    estimate = sources + 0.3 * sources.flip(1)
    of_speech = [entry for entry in SPEECH_LOSSES if entry["of"] == "speech"]
    alone, parts = objective(of_speech, ("speech",), references=("speech", "noise"))(estimate[:, :1], sources)
    assert alone.item() == pytest.approx(objective(of_speech)(estimate, sources)[0].item(), rel=1e-6)
    assert list(parts) == ["snr speech", "compressed_spectrum speech", "one_minus_estoi speech"]


def test_consistency() -> None:
    sources = torch.randn(2, 2, 48000, generator=torch.Generator().manual_seed(0)) * 0.1
    consistency = objective([{"loss": "consistency", "weight": 0.1}])
    assert consistency(sources.flip(1), sources)[0].item() == pytest.approx(-3, abs=0.001)  # they do sum
    missing = sources * torch.tensor([1.0, 0.0])[None, :, None]
    # Half of the mixture's power is missing.
    found = consistency(missing, sources)[1]["consistency"].item()
    assert found == pytest.approx(10 * math.log10(0.5 + 1e-3), abs=0.1)


def test_a_loss_enters_at_its_share_of_the_schedule() -> None:
    sources = torch.randn(2, 2, 48000, generator=torch.Generator().manual_seed(0)) * 0.1
    sources[1, 0] = 0  # no voice: no quality to lose
    estimate = sources + 0.3 * sources.flip(1)
    late = objective([*SPEECH_LOSSES, {"loss": "pesq_proxy", "of": "speech", "weight": 0.05, "from": 0.6}])
    counts = [late.due(7, progress)[-1][0] for progress in (0.0, 0.59, 0.6, 1.0)]
    assert counts == [0, 0, 1, 1]
    early, parts = late(estimate, sources, late.due(0, 0.3))
    assert torch.equal(early, objective(SPEECH_LOSSES)(estimate, sources)[0]) and "pesq_proxy speech" not in parts
    full, parts = late(estimate, sources, late.due(0, 0.7))
    disturbed = parts["pesq_proxy speech"].item()
    assert (full - early).item() == pytest.approx(0.05 * disturbed, rel=1e-4)
    assert disturbed == pytest.approx(PesqProxy(48000)(estimate[:1, 0], sources[:1, 0]).item(), rel=0.01)
    assert torch.equal(late(estimate, sources)[0], full)  # what is validated: everything


def test_every_nth_step_counts_n_times() -> None:
    """Over n steps the gradients sum to those of a loss that always counts; which steps, the step number alone says."""
    sources = torch.randn(2, 2, 9600, generator=torch.Generator().manual_seed(0)) * 0.1
    plain, sparse = (
        objective([{"loss": "snr", "of": "noise"}, {"loss": "compressed_spectrum", "of": "speech"} | more])
        for more in ({}, {"every": 3})
    )
    assert [sparse.due(step, 0.5)[1][0] for step in range(7)] == [3, 0, 0, 3, 0, 0, 3]

    def gradient(of: Objective, steps: int) -> torch.Tensor:
        estimate = (0.7 * sources).requires_grad_()
        torch.stack([of(estimate, sources, of.due(step, 0.5))[0] for step in range(steps)]).sum().backward()
        assert estimate.grad is not None
        return estimate.grad

    assert torch.allclose(gradient(sparse, 3), gradient(plain, 3), rtol=1e-4, atol=1e-6)
    parts = [sparse(sources * 0.7, sources, sparse.due(step, 0.5))[1] for step in (0, 1)]
    assert parts[0]["compressed_spectrum speech"] == plain(sources * 0.7, sources)[1]["compressed_spectrum speech"]
    assert "compressed_spectrum speech" not in parts[1]


def test_where_leaves_examples_out() -> None:
    """Before its share of the schedule an example without that source changes no loss and no gradient."""
    sources = torch.randn(3, 2, 9600, generator=torch.Generator().manual_seed(0)) * 0.1
    sources[2, 1] = 0
    where = {"where": "noise", "where_until": 0.4}
    limited = objective([{"loss": "snr", "of": "speech"} | where])
    assert [limited.due(0, progress)[0][1] for progress in (0.0, 0.39, 0.4)] == [False, False, True]
    estimate = (0.7 * sources).requires_grad_()
    early, _ = limited(estimate, sources, limited.due(0, 0.0))
    early.backward()
    assert estimate.grad is not None and not estimate.grad[2].any() and estimate.grad[:2, 0].any()
    assert early.item() == pytest.approx(limited(estimate[:2], sources[:2])[0].item(), rel=1e-6)
    assert limited(estimate, sources)[0] != early
    always = objective([{"loss": "snr", "of": "speech", "where": "noise"}])
    assert always(estimate, sources)[0].item() == pytest.approx(early.item(), rel=1e-6)  # validated so, too


def test_spectra_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each source one STFT a window, however many losses look at it."""
    from training.losses import loss as module

    counted = []
    monkeypatch.setattr(module, "spectrum", lambda *words: counted.append(words[1:]) or spectrum(*words))
    sources = torch.randn(2, 2, 24000, generator=torch.Generator().manual_seed(0)) * 0.1
    objective([*SPEECH_LOSSES, {"loss": "compressed_spectrum", "of": "noise"}])(sources, sources)
    assert counted == [(1024, 512)] * 4  # two sources, estimated and true


def test_several_sources_are_an_entry_each() -> None:
    sources = torch.randn(2, 2, 24000, generator=torch.Generator().manual_seed(0)) * 0.1
    estimate = sources + 0.2 * sources.flip(1)
    both = objective([{"loss": "snr", "of": ["speech", "noise"]}])
    each = objective([{"loss": "snr", "of": "speech"}, {"loss": "snr", "of": "noise"}])
    assert both(estimate, sources)[0].item() == pytest.approx(each(estimate, sources)[0].item(), rel=1e-6)


def test_names_are_what_the_log_says() -> None:
    sources = torch.randn(1, 2, 24000) * 0.1
    named = objective([{"loss": "snr", "of": "speech", "name": "voice"}, {"loss": "snr", "of": "noise"}])
    assert list(named(sources, sources)[1]) == ["voice", "snr noise"]
