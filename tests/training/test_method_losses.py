"""The losses of the methods, each against a hand-worked case or a reference, and their states and refusals."""

from __future__ import annotations

import io
import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.objectives import objective
from tests.training.test_metricgan import by_snr, signals
from tests.training.tiny import TINY
from training.data.clip_store import build_banks
from training.data.manifest import event_of, read_manifest
from training.data.tools import codec_network, event_classifier
from training.losses import LOSSES, read_losses
from training.losses.black_box import _Slope, random_gains, slope_along
from training.losses.codec import CodecNetwork
from training.losses.critic import Critic, gradient_penalty
from training.losses.event_classifier import EventClassifier, mel_bands
from training.losses.loss import Setup
from training.losses.metricgan import LearnedProxy
from training.losses.quality_net import QualityNet

MIXIT = [{"loss": "mixit", "around": [{"loss": "snr", "ceiling": 60.0}]}]
FOUR, TWO = ("a", "b", "c", "d"), ("one", "two")


def snr(estimate: Tensor, reference: Tensor, mixture: Tensor) -> float:
    error = float((estimate - reference).square().sum()) + 1e-6 * float(mixture.square().sum())
    return 10 * math.log10(error / float(mixture.square().sum()))


def test_mixit_is_the_best_of_all_assignments() -> None:
    """By brute force over the 2 × 4 matrices whose columns sum to one, as the paper has it."""
    torch.manual_seed(0)
    mixtures, estimates = torch.randn(1, 2, 800), torch.randn(1, 4, 800)
    gain = 1 / (mixtures.sum(1).square().mean().sqrt() + 1e-6)
    scaled, heard = mixtures[0] * gain, estimates[0] * gain
    costs = []
    for way in product((0, 1), repeat=4):
        matrix = torch.tensor([[1.0 - each for each in way], [float(each) for each in way]])
        sums = matrix @ heard
        costs.append(sum(snr(sums[i], scaled[i], scaled.sum(0)) for i in (0, 1)))
    loss = objective(MIXIT, FOUR, references=TWO)(estimates, mixtures)[0]
    assert loss.item() == pytest.approx(min(costs), abs=1e-4)


def test_mixit_by_hand() -> None:
    """Four tones; the mixtures are a + c and b + d. In any order they cost nothing: 60 dB down, twice."""
    time = torch.arange(4800) / 48000
    tones = torch.stack([torch.sin(2 * math.pi * hertz * time) for hertz in (500.0, 1000.0, 1500.0, 2000.0)])
    mixtures = torch.stack([tones[0] + tones[2], tones[1] + tones[3]])[None]
    loss = objective(MIXIT, FOUR, references=TWO)
    assert loss(tones[None], mixtures)[0].item() == pytest.approx(-120, abs=0.1)
    assert loss(tones[None, [3, 0, 1, 2]], mixtures)[0].item() == pytest.approx(-120, abs=0.1)
    # The wrong pairs put together once and for all: half the power of each mixture is of the other.
    wrong = torch.stack([tones[0] + tones[1], tones[2] + tones[3], 0 * tones[0], 0 * tones[1]])[None]
    assert loss(wrong, mixtures)[0].item() == pytest.approx(2 * 10 * math.log10(0.5), abs=0.1)
    estimates = tones[None].clone().requires_grad_()
    loss(0.5 * estimates, mixtures)[0].backward()
    assert estimates.grad is not None and (estimates.grad.square().sum(-1) > 0).all()


def test_what_mixit_refuses() -> None:
    with pytest.raises(ValueError, match="takes no source"):
        read_losses([MIXIT[0] | {"of": ["one"]}], LOSSES)
    with pytest.raises(ValueError, match="mixtures are two of the references a, b, c, d"):
        objective(MIXIT, FOUR)
    with pytest.raises(ValueError, match="2 to 8 estimates"):
        objective(MIXIT, tuple("abcdefghi"), references=TWO)


def test_additive_by_hand() -> None:
    """Magnitudes of tones in different bins add up; two that cancel do not."""
    time = torch.arange(48000) / 48000
    one, two = torch.sin(2 * math.pi * 1500 * time), torch.sin(2 * math.pi * 6000 * time)
    sources = torch.stack([one, two])[None]
    loss = objective([{"loss": "additive"}])
    assert loss(sources, sources)[0].item() == pytest.approx(0, abs=1e-5)
    doubled = loss(torch.stack([one + two, one + two])[None], sources)[0].item()
    # Each tone has magnitudes a/2, a, a/2 at the mixture's RMS of 1, where a = 1, in its bins, and that is missing.
    assert doubled == pytest.approx(2 * (1 + 2 * 0.25) / 513, rel=0.05)
    assert loss(torch.stack([one + two, 0 * one])[None], sources)[0].item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("slope, expected", [(0.5, 0.0), (1.0, 0.0), (3.0, 4.0)])
def test_the_penalty_is_one_sided(slope: float, expected: float) -> None:
    """D(x) = slope × a·x with ‖a‖ = 1 has that slope everywhere: (3 − 1)² = 4, and nothing below one."""
    a = torch.nn.functional.normalize(torch.randn(1, 6), dim=1)
    real, fake = torch.randn(2, 5, 6)
    found = gradient_penalty(lambda x: slope * (x * a).sum(1), real, fake, torch.rand(5))
    assert float(found) == pytest.approx(expected, abs=1e-5)


def critic(**options: float) -> Critic:
    return Critic(Setup(("a",), ("a", "b"), 16000), width=4, learning_rate=2e-3, **options)  # type: ignore[arg-type]


def tones_and_noise(seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    time = torch.arange(4096) / 16000
    tones = torch.sin(2 * math.pi * torch.rand(6, 1, 1, generator=draw) * 2000 * time) * 0.1
    return tones, torch.randn(6, 1, 4096, generator=draw) * 0.07


def test_the_critic_tells_real_from_made() -> None:
    judge = critic(steps=5)
    apart = [judge.update(*(tones_and_noise(step)[::-1]), tones_and_noise(step)[0]) for step in range(15)]
    assert np.mean(apart[-5:]) > np.mean(apart[:5]) + 0.05
    tones, noise = tones_and_noise(1000)
    entry = [{"loss": "critic", "of": "a", "width": 4}]
    loss = objective(entry, ("a",), references=("a", "b"), sample_rate=16000)
    loss.losses["critic a"].load_state_dict(judge.state_dict())
    references = torch.stack([tones, torch.zeros_like(tones)], 1)
    pleased, displeased = (loss(each.unsqueeze(1), references)[0].item() for each in (tones, noise))
    assert pleased < displeased


def test_the_critic_goes_on_to_the_bit_and_learns_alone() -> None:
    judge, resumed = critic(steps=2), critic(steps=2)
    tones, noise = tones_and_noise(0)
    judge.update(noise, tones, tones)
    file = io.BytesIO()
    torch.save(judge.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert judge.update(noise, tones, tones) == resumed.update(noise, tones, tones)
    assert all(torch.equal(*each) for each in zip(judge.parameters(), resumed.parameters(), strict=True))
    assert math.isnan(judge.update(noise, 0 * tones, tones))
    estimate = noise.clone().requires_grad_()
    loss = objective([{"loss": "critic", "of": "a", "width": 4}], ("a",), references=("a", "b"))
    loss(estimate.unsqueeze(1), torch.stack([tones, noise], 1))[0].backward()
    assert estimate.grad is not None and estimate.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in loss.parameters())
    with pytest.raises(ValueError, match="an entry of its own"):
        read_losses([{"loss": "critic", "of": ["a", "b"]}], LOSSES)


def test_unless() -> None:
    """Of the two examples one has a source that must be silent: the other alone counts."""
    entries = [{"loss": "snr", "of": "speech", "unless": "unknown"}]
    loss = objective(entries, ("speech",), references=("speech", "unknown"))
    references = torch.randn(2, 2, 4800)
    references[0, 1] = 0
    alone = loss(torch.zeros(1, 1, 4800), references[:1])[0]
    assert torch.allclose(loss(torch.zeros(2, 1, 4800), references)[0], alone)
    assert loss(torch.zeros(1, 1, 4800), references[1:])[0].item() == 0
    with pytest.raises(ValueError, match="unless names a source"):
        objective([{"loss": "snr", "of": "speech", "unless": "music"}])


def test_mel_bands_are_triangles_by_hand() -> None:
    bands = mel_bands(16000, 512)
    assert bands.shape == (257, 64) and bool((bands >= 0).all())
    upper = bands[:, 40:]
    assert torch.allclose(upper.sum(0), torch.ones(24))
    centre = (upper * torch.arange(257)[:, None] * 31.25).sum(0)
    mel = 2595 * torch.log10(1 + centre / 700)
    step = (2595 * math.log10(1 + 7600 / 700) - 2595 * math.log10(1 + 50 / 700)) / 65
    assert torch.allclose(mel.diff(), torch.full((23,), step), rtol=0.15)


def test_the_classifier_learns_and_its_loss_prefers_the_right_sound(tmp_path: Path) -> None:
    torch.manual_seed(0)  # the classifier's first weights
    draw = torch.Generator().manual_seed(0)
    time = torch.arange(16000) / 16000

    def sounds(count: int) -> tuple[Tensor, Tensor]:
        """Beeps and hisses, weakly labelled: which of the two are in a clip."""
        there = torch.randint(0, 2, (count, 2), generator=draw).float()
        beep = torch.sin(2 * math.pi * (800 + 800 * torch.rand(count, 1, generator=draw)) * time) * (time < 0.5)
        hiss = torch.randn(count, 16000, generator=draw) * 0.3
        return there[:, :1] * beep + there[:, 1:] * hiss, there

    def batches():
        while True:
            yield sounds(8)

    classifier = EventClassifier(("beep", "hiss"), 16000, width=4)
    assert event_classifier.fit(classifier, batches(), 60, 1e-2) < 0.3
    torch.save(classifier.packed(), tmp_path / "classifier.pt")
    entries = [{"loss": "classifier", "of": ["beep", "hiss"], "file": str(tmp_path / "classifier.pt")}]
    names = ("beep", "hiss")
    loss = objective(entries, names, sample_rate=16000)
    beep = torch.sin(2 * math.pi * 1000 * time) * (time < 0.5)
    hiss = torch.randn(16000, generator=draw) * 0.3
    references = torch.stack([beep, hiss])[None]
    right, swapped, none = (
        loss(each, references)[0].item() for each in (references, references.flip(1), torch.zeros_like(references))
    )
    assert right < none < swapped
    gain = 1 / references.sum(1).square().mean().sqrt()
    likely = torch.sigmoid(classifier.clip(references[0] * gain))  # [sources, classes], of which each has its own
    by_hand = -(likely.diag().log().sum() + (1 - likely).log().sum() - (1 - likely).diag().log().sum())
    assert right == pytest.approx(by_hand.item(), rel=1e-3)
    assert classifier(torch.randn(2, 16000)).shape == (2, 15, 2)
    with pytest.raises(ValueError, match="it needs the file of its event classifier"):
        objective([{"loss": "classifier", "of": "beep"}], names)
    with pytest.raises(ValueError, match="no source has such a name"):
        objective([entries[0] | {"of": "speech"}], sample_rate=16000)
    with pytest.raises(ValueError, match="is no codec network"):
        objective([{"loss": "codec", "of": "beep", "file": str(tmp_path / "classifier.pt")}], names)


def test_events_are_named_in_notes() -> None:
    assert event_of("001 - Dog bark") == "dog_bark" and event_of("a dog barks") == ""
    assert {row.event for row in read_manifest(TINY) if row.event} == {"rain", "chainsaw", "helicopter"}


def test_quality_net_learns_without_hearing_the_reference() -> None:
    proxy = LearnedProxy(16000, by_snr, fresh=5, memory=24, network=QualityNet)
    errors = [proxy.update(*signals(step, size=4096)) for step in range(40)]
    assert np.mean(errors[-10:]) < 0.5 * np.mean(errors[:3])
    estimate, reference, _ = signals(1000, 24, 4096)
    real = np.array([by_snr(clean, heard) for clean, heard in zip(reference.numpy(), estimate.numpy(), strict=True)])
    with torch.no_grad():
        blind = proxy(estimate, torch.zeros_like(reference))
        assert torch.equal(blind, proxy(estimate, reference))
    assert np.corrcoef(real, blind.numpy())[0, 1] < -0.5
    frames = QualityNet().frames(torch.randn(2, 4096))
    assert frames.shape == (2, 17)


def test_a_measured_slope_is_the_gradient_along_the_way() -> None:
    """Of a quadratic central differences are exact: 2 (x − y), projected."""
    x, y, way = torch.randn(3, 50, dtype=torch.float64)
    found = slope_along(lambda wave: float((wave - y).square().sum()), x, way)
    true = 2 * (x - y)
    assert torch.allclose(found, (true @ way) / (way @ way) * way)
    assert slope_along(lambda wave: math.nan, x, way).abs().max() == 0
    values = torch.zeros(2, 50, requires_grad=True)
    slopes = torch.randn(2, 50)
    (3 * _Slope.apply(values, torch.tensor([1.0, 2.0]), slopes)).sum().backward()
    assert torch.allclose(values.grad, 3 * slopes)


def test_a_black_box_leads_uphill() -> None:
    """Of STOI itself: a step against the measured gradient raises it."""
    pytest.importorskip("pystoi")
    estimate, reference, _ = signals(3, 1, 16000)
    loss = objective(
        [{"loss": "black_box", "of": "speech", "measure": "stoi", "directions": 4}], ("speech",), sample_rate=16000
    )
    wave = (reference + 0.5 * (estimate - reference)).unsqueeze(1).requires_grad_()
    before = loss(wave, reference.unsqueeze(1))[0]
    before.backward()
    assert wave.grad is not None and wave.grad.abs().sum() > 0
    stepped = wave.detach() - 0.02 * wave.grad / wave.grad.norm() * wave.detach().norm()
    assert loss(stepped, reference.unsqueeze(1))[0] < before
    way = random_gains(reference[0], 0.1, torch.Generator().manual_seed(0))
    assert float(way.square().sum()) == pytest.approx(0.01 * float(reference[0].square().sum()), rel=0.2)


def test_the_codec_network_learns_real_coding(tmp_path: Path) -> None:
    rows = [row for row in read_manifest(TINY) if row.corpus == "kathleen" and row.split == "train"]
    bank = build_banks(rows, {}, 1.0)[48000]
    plain, heard = codec_network.pieces(bank, 16, "mp3", 32, 0)
    assert 0.01 < float((plain - heard).square().mean() / plain.square().mean()) < 1  # aligned, and lossy
    torch.manual_seed(0)
    network = CodecNetwork(16, 3)
    before = float(codec_network.error(plain, heard))
    codec_network.fit(network, plain, heard, 30)
    with torch.no_grad():
        assert float(codec_network.error(network(plain), heard)) < 0.95 * before
    torch.save(network.packed("mp3", 32), tmp_path / "codec.pt")
    loss = objective([{"loss": "codec", "of": "speech", "file": str(tmp_path / "codec.pt")}], ("speech",))
    sources = plain[:2].unsqueeze(1)
    estimate = (0.5 * sources).requires_grad_()
    value = loss(estimate, sources)[0]
    value.backward()
    gain = 1 / (sources.square().mean((1, 2)).sqrt() + 1e-6)[:, None]
    layers = zip(*(network.activations(wave[:, 0] * gain) for wave in (sources, 0.5 * sources)), strict=True)
    by_hand = torch.stack([(one - other).abs().mean() for one, other in layers]).mean()
    assert value.item() == pytest.approx(by_hand.item(), rel=1e-4)
    assert loss(sources, sources)[0].item() == 0 and estimate.grad is not None and estimate.grad.abs().sum() > 0
