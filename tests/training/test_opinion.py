"""The loss that hears through DNSMOS P.808: the network as Microsoft runs it, and what its gradient does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile as sf
import torch
from torch import Tensor

from tests.training.objectives import objective
from training.evaluation import dnsmos
from training.evaluation.packaged import packaged_file
from training.losses import opinion
from training.losses.narrow import narrow

DATA = Path(__file__).parents[1] / "data"
RATE = 16_000
ENTRY = {"loss": "opinion", "of": "speech", "weight": 1.0}


@pytest.fixture(scope="module")
def file() -> Path:
    found = packaged_file("speechmos", "dnsmos_models/model_v8.onnx")
    if found is None:
        pytest.skip("speechmos is not installed")
    return found


@pytest.fixture(scope="module")
def network(file: Path) -> opinion.OpinionNet:
    return opinion.OpinionNet(file)


def clip(name: str) -> Tensor:
    """The first nine seconds of a demo, `[1, samples]` at 16 kHz."""
    return torch.from_numpy(sf.read(DATA / name, frames=9 * RATE, dtype="float32")[0])[None]


# What speechmos 0.0.1.1 with librosa 0.11 says of the same nine seconds (p808_mos).
@pytest.mark.parametrize(("name", "noted"), [("demo.noisy.flac", 2.2007), ("demo.clean.flac", 3.8515)])
def test_figures_are_those_of_the_package(network: opinion.OpinionNet, name: str, noted: float) -> None:
    assert network(clip(name)).item() == pytest.approx(noted, abs=1e-3)


def test_network_is_the_file_as_onnxruntime_runs_it(network: opinion.OpinionNet, file: Path) -> None:
    front = network.front(torch.randn(2, 9 * RATE, generator=torch.Generator().manual_seed(3)) / 10)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {"input_1": front.numpy()})
    wave = torch.randn(2, 9 * RATE, generator=torch.Generator().manual_seed(3)) / 10
    np.testing.assert_allclose(network(wave).numpy(), theirs[:, 0], atol=1e-4)


def test_clean_speech_is_worth_more_than_noisy_and_the_gradient_says_where_to() -> None:
    loss = objective([ENTRY], sample_rate=RATE)
    clean, noisy = clip("demo.clean.flac")[:, None, : 4 * RATE], clip("demo.noisy.flac")[:, None, : 4 * RATE]
    noise = noisy - clean

    def value(speech: Tensor) -> Tensor:
        return loss(torch.stack([speech, noisy - speech], 1), torch.stack([clean, noise], 1))[0]

    assert value(clean) < value(noisy) - 0.5
    speech = noisy.clone().requires_grad_()
    (slope,) = torch.autograd.grad(value(speech).sum(), speech)
    assert slope.isfinite().all() and slope.abs().amax() > 0
    step = 0.01 * noisy.square().mean().sqrt() * slope / slope.square().mean().sqrt()
    assert value(noisy - step) < value(noisy)


def test_silence_and_short_pieces_have_finite_gradients(network: opinion.OpinionNet) -> None:
    for wave in (torch.zeros(1, RATE), torch.randn(2, RATE // 10), 1e-6 * torch.randn(1, RATE)):
        wave = wave.requires_grad_()
        network(wave).sum().backward()
        assert wave.grad is not None and wave.grad.isfinite().all()


def test_it_neither_learns_nor_fills_checkpoints(file: Path) -> None:
    loss = objective([ENTRY])
    assert not list(loss.parameters()) and not loss.state_dict()


def test_what_cannot_be_is_said_in_one_sentence(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="one channel, and the network has 2"):
        objective([ENTRY], audio_channels=2)
    with pytest.raises(ValueError, match="16000 or 48000 Hz, not 44100"):
        objective([ENTRY], sample_rate=44_100)
    other = dnsmos.find()
    assert other is not None
    with pytest.raises(ValueError, match=r"is not DNSMOS's P.808 network"):
        opinion.OpinionNet(other)
    monkeypatch.setattr(opinion, "packaged_file", lambda package, end: None)
    with pytest.raises(ValueError, match="pip install speechmos"):
        objective([ENTRY])


@pytest.mark.parametrize("rate", [RATE, 3 * RATE])
def test_narrow_keeps_what_lies_below_seven_kilohertz(rate: int) -> None:
    at = 2 * torch.pi * torch.arange(rate, dtype=torch.float64) / rate
    found = narrow((1000 * at).sin() + (rate > RATE) * (9000 * at).sin(), rate)
    wanted = (1000 * at[:: rate // RATE]).sin()
    assert (found - wanted)[200:-200].abs().amax() < 1e-3
