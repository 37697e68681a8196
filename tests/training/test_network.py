"""The network: reconstruction, causality, and the step and flat forms against the sequence form."""

from __future__ import annotations

import pytest
import torch
from conftest import SMALL

from training.network import Network, NetworkSpec
from training.network.step import FlatForm, StepForm


def network(spec: NetworkSpec = SMALL, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(spec).eval().requires_grad_(False)


@pytest.mark.parametrize("filterbank, limit", [("dual", -75.0), ("short", -120.0)])
def test_open_masks_reconstruct(filterbank: str, limit: float) -> None:
    """With every mask at one the analytic encoder and decoder give the input back."""
    open_network = network(NetworkSpec(filterbank=filterbank, dilations=[1]))
    open_network.separator.head.weight.zero_()
    open_network.separator.head.bias.fill_(30.0)
    wave = torch.randn(1, 12800) * 0.1
    error = (open_network(wave)[:, 0] - wave)[:, 1024:-256]
    assert 10 * torch.log10(error.square().mean() / wave.square().mean()) < limit


@pytest.mark.parametrize("filterbank", ["dual", "short"])
def test_causal(filterbank: str) -> None:
    """NaN from sample t on leaves everything untouched that belongs to samples before t − synthesis window."""
    spec = NetworkSpec(analysis_window=512, filterbank=filterbank, channels=12, hidden=16, dilations=[1, 2, 4])
    causal = network(spec)
    wave = torch.randn(1, 6400)
    clean = causal(wave)
    for start in (0, 1, 127, 128, 1000, 3333, 6399):
        spoilt = wave.clone()
        spoilt[:, start:] = torch.nan
        estimate = causal(spoilt)
        before = max(0, start - spec.synthesis_window + 1)
        assert torch.equal(estimate[..., :before], clean[..., :before])
        # And it is no more causal than that by accident: the very newest hop does matter.
        assert estimate[..., start:].isnan().all()


def test_silence_gives_exact_silence() -> None:
    assert torch.equal(network()(torch.zeros(1, 1280)), torch.zeros(1, 2, 1280))


def test_lengths_that_are_no_whole_hops_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 128"):
        network()(torch.zeros(1, 1000))


@pytest.mark.parametrize(
    "change", [{"synthesis_window": 300}, {"analysis_window": 128}, {"analysis_window": 500}, {"filterbank": "wavelet"}]
)
def test_impossible_shapes_are_refused(change: dict) -> None:
    with pytest.raises(ValueError):
        NetworkSpec(**change)


@pytest.mark.parametrize("filterbank", ["dual", "short"])
def test_step_and_flat_form_are_the_sequence_form(filterbank: str) -> None:
    spec = NetworkSpec(analysis_window=512, filterbank=filterbank, channels=12, hidden=16, dilations=[1, 2, 4, 1])
    sequence = network(spec)
    step = StepForm(sequence).eval()
    flat = FlatForm(step)
    wave = torch.randn(1, 128 * 30) * 0.1
    expected = sequence(wave)[0]
    state, audio = torch.zeros(flat.state_size), []
    for hop in wave.split(spec.hop, 1):
        out, state = flat(hop, state)
        audio.append(out[:, 0])
    delayed = torch.cat(audio, -1)
    delay = spec.synthesis_window - spec.hop
    assert torch.allclose(delayed[:, delay:], expected[:, :-delay], atol=1e-6)


def test_gradients_reach_every_weight() -> None:
    torch.manual_seed(0)
    trained = Network(SMALL)
    trained(torch.randn(2, 2560) * 0.1).square().sum().backward()
    for name, weight in trained.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
