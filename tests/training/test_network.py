"""The network: reconstruction, causality, and the step and flat forms against the sequence form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tests.training.tiny import SMALL
from training.network import Network, NetworkSpec
from training.network.forms import FlatForm, StepForm
from training.network.head import MASKS
from training.network.norm import ChannelNorm
from training.network.slow_fast import SlowFast


def network(spec: NetworkSpec = SMALL, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    made = Network(spec).eval().requires_grad_(False)
    made.head.project.weight.normal_(0, 0.1)  # filters and activity begin at zero: make them do something
    if isinstance(made.separator, SlowFast):
        made.separator.slow.film.project.weight.normal_(0, 0.1)
    return made


@pytest.mark.parametrize("filterbank, limit", [("dual", -75.0), ("short", -120.0), ("folded", -120.0)])
def test_open_masks_reconstruct(filterbank: str, limit: float) -> None:
    """With every mask at one the analytic encoder and decoder give the input back."""
    open_network = network(NetworkSpec(filterbank=filterbank, dilations=[1]))
    open_network.head.project.weight.zero_()
    open_network.head.project.bias.fill_(30.0)
    wave = torch.randn(1, 12800) * 0.1
    error = (open_network(wave)[:, 0] - wave)[:, 1024:-256]
    assert 10 * torch.log10(error.square().mean() / wave.square().mean()) < limit


@pytest.mark.parametrize("filterbank", ["dual", "short", "folded"])
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
    "change",
    [
        {"synthesis_window": 300},
        {"analysis_window": 128},
        {"analysis_window": 500},
        {"filterbank": "wavelet"},
        {"masks": "open"},
        {"norm": "global"},
        {"sources": ["speech"], "consistency": True},
        {"sources": ["speech"], "masks": "sum_to_one"},
        {"filterbank": "dual", "filter_bins": 4},
        {"filterbank": "dual", "features": 4},
        {"filterbank": "folded", "features": 0},
        {"filterbank": "folded", "features_top": 24001.0},
        {"filterbank": "short", "filter_bins": 129},
        {"filterbank": "short", "filter_bins": 4, "filter_frames": 1},
        {"filterbank": "short", "filter_bins": 4, "filter_frames": 8},
        {"offset_hops": 4},
        {"offset_hops": 64, "consistency": True},
        {"offset_hops": 64, "residual_source": True, "activity": True, "gate_residual": True},
        {"filterbank": "short", "pitch_frames": -1},
        {"filterbank": "dual", "pitch_frames": 1},
        {"filterbank": "dual", "pitch_frames": 1, "audio_channels": 2},
        {"lookahead_hops": -1},
        {"lookahead_hops": 1025},
        {"separator": "fourier"},
        {"options": {"slow_rate": 4}},
        {"separator": "slow_fast", "options": {"slow_rate": 1}},
        {"separator": "slow_fast", "options": {"slow_rate": 2.5}},
        {"separator": "slow_fast", "options": {"pace": 4}},
    ],
)
def test_impossible_shapes_are_refused(change: dict) -> None:
    with pytest.raises(ValueError):
        NetworkSpec(**change)


@pytest.mark.parametrize("filterbank", ["dual", "short", "folded"])
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


VARIANTS: dict[str, dict[str, Any]] = {
    "K = 1": {"sources": ["speech"]},
    "sum to one": {"masks": "sum_to_one"},
    "three that sum to one": {"sources": ["speech", "noise", "music"], "masks": "sum_to_one"},
    "consistency": {"consistency": True},
    "batch norm": {"norm": "batch"},
    "both": {"masks": "sum_to_one", "consistency": True},
    "filters": {"filterbank": "short", "filter_bins": 6, "filter_frames": 3},
    "folded filters": {"filterbank": "folded", "filter_bins": 6, "filter_frames": 3},
    "pitch frames": {"filterbank": "folded", "pitch_frames": 2, "activity": True},
    "pitch frames, filters, slow and fast": {
        **{"filterbank": "short", "pitch_frames": 1, "filter_bins": 6, "filter_frames": 3},
        **{"separator": "slow_fast", "options": {"slow_channels": 12, "fine_window": 2048}, "consistency": True},
    },
    "offset": {"offset_hops": 16, "residual_source": True},
    "offset and median": {"offset_hops": 16, "activity": True, "activity_median": 3},
    "offset, pitch frames, slow and fast": {
        **{"filterbank": "folded", "pitch_frames": 2, "filter_bins": 6, "filter_frames": 3, "offset_hops": 64},
        **{"separator": "slow_fast", "options": {"slow_channels": 12, "fine_window": 2048}},
    },
    "few features": {"filterbank": "folded", "features": 5, "features_top": 2000.0},
    "filters and consistency": {"filterbank": "short", "filter_bins": 9, "filter_frames": 2, "consistency": True},
    "activity": {"activity": True},
    "ahead": {"kernel": 4, "max_lookahead_dilation": 2},
    "ahead with filters": {
        "filterbank": "folded",
        "filter_bins": 6,
        "filter_frames": 3,
        "max_lookahead_dilation": 1,
        "activity": True,
    },
    "slow and fast": {"separator": "slow_fast", "options": {"slow_channels": 16}, "activity": True},
    "slow, one layer, at every second hop": {
        "separator": "slow_fast",
        "options": {"slow_channels": 12, "slow_rate": 2, "slow_layers": 1, "film_blocks": [2, 1]},
    },
    "slow, three layers, ahead, batch norm": {
        "separator": "slow_fast",
        "options": {"slow_channels": 8, "slow_rate": 5, "slow_layers": 3},
        **{"kernel": 4, "max_lookahead_dilation": 2, "norm": "batch", "filterbank": "folded"},
        **{"filter_bins": 6, "filter_frames": 3},
    },
    "hops ahead": {"lookahead_hops": 3, "activity": True},
    "hops and blocks ahead, filters": {
        **{"lookahead_hops": 2, "kernel": 4, "max_lookahead_dilation": 2, "offset_hops": 16},
        **{"filterbank": "short", "filter_bins": 6, "filter_frames": 3},
    },
    "hops ahead, offset, pitch frames, slow and fast": {
        **{"lookahead_hops": 4, "filterbank": "folded", "pitch_frames": 2, "filter_bins": 6, "filter_frames": 3},
        **{"separator": "slow_fast", "options": {"slow_channels": 12, "fine_window": 2048}, "offset_hops": 64},
    },
    "blocks ahead, pitch frames": {"max_lookahead_dilation": 2, "filterbank": "folded", "pitch_frames": 1},
    "all ahead, two bands": {"filterbank": "dual", "max_lookahead_dilation": 4, "norm": "batch"},
}


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> NetworkSpec:
    return replace(SMALL, **VARIANTS[request.param])


def test_step_and_flat_form_of_every_variant(variant: NetworkSpec) -> None:
    sequence = network(variant)
    step = StepForm(sequence).eval()
    wave = torch.randn(1, 128 * 12) * 0.1
    expected = sequence(wave)[0]
    assert expected.shape == (len(variant.sources), wave.shape[-1])
    flat = FlatForm(step)
    state, audio = torch.zeros(flat.state_size), []
    for hop in F.pad(wave, (0, 128 + variant.lookahead)).split(variant.hop, 1):
        out, state = flat(hop, state)
        audio.append(out[:, 0])
    assert torch.allclose(torch.cat(audio, -1)[:, 128 + variant.lookahead :], expected, atol=1e-6)


def test_every_variant_is_causal_and_silent_on_silence(variant: NetworkSpec) -> None:
    causal = network(variant)
    wave = torch.randn(1, 3840)
    spoilt = wave.clone()
    spoilt[:, 2000:] = torch.nan
    before = 2000 - variant.synthesis_window - variant.lookahead + 1
    assert torch.equal(causal(spoilt)[..., :before], causal(wave)[..., :before])
    assert causal(torch.zeros(1, 1280)).abs().max() == 0


def test_look_ahead_is_what_is_said_and_heard() -> None:
    """Blocks of dilations 1 and 2 wait for a tap each: three hops, and a change in the last of them is heard."""
    spec = replace(SMALL, kernel=4, max_lookahead_dilation=3)
    assert spec.lookahead == (1 + 2) * spec.hop and replace(SMALL, max_lookahead_dilation=4).lookahead == 7 * spec.hop
    assert SMALL.lookahead == 0
    ahead, wave = network(spec), torch.randn(1, 3840)
    other = wave.clone()
    other[:, 2560 + spec.synthesis_window + 2 * spec.hop :] *= 0.5  # from the last hop of what 2560 may know on
    assert not torch.equal(ahead(other)[..., 2560 : 2560 + spec.hop], ahead(wave)[..., 2560 : 2560 + spec.hop])
    assert replace(spec, lookahead_hops=4).lookahead == 7 * spec.hop
    with pytest.raises(ValueError, match="max_lookahead_dilation"):
        replace(SMALL, max_lookahead_dilation=-1)


def test_batch_norm_is_folded_away_as_it_has_been_learnt() -> None:
    torch.manual_seed(0)
    learner = Network(replace(SMALL, norm="batch"))
    for _ in range(5):  # statistics other than the ones it starts from
        learner(torch.randn(2, 2560) * torch.rand(2, 1))
    with torch.no_grad():
        for block in learner.separator.stack():
            block.norm.weight.uniform_(0.5, 2)
            block.norm.bias.uniform_(-1, 1)
    learner.eval().requires_grad_(False)
    features = torch.randn(2, 30, learner.encoder.features)
    runs = learner.deployed()
    found, expected = (each.head(each.separator(features)).gains for each in (runs, learner))
    assert torch.allclose(found, expected, atol=1e-5)
    assert not any(isinstance(module, ChannelNorm) for module in runs.modules())
    assert not torch.allclose(learner.head.norm.running_var, torch.ones(SMALL.channels))


def test_masks_sum_to_one() -> None:
    logits = torch.randn(4, 3, 1, 50) * 20
    assert torch.allclose(MASKS["sum_to_one"](logits).sum(1), torch.ones(4, 1, 50))
    # Two masks that sum to one are one sigmoid of the difference.
    first = MASKS["sum_to_one"](logits[:, :2])[:, 0]
    assert torch.allclose(first, torch.sigmoid(logits[:, 0] - logits[:, 1]), atol=1e-6)


@pytest.mark.parametrize(
    "change, limit", [({"masks": "sum_to_one", "filterbank": "short"}, 1e-5), ({"consistency": True}, 1e-6)]
)
def test_estimates_sum_to_the_mixture(change: dict, limit: float) -> None:
    """The masks' sum as exactly as the filterbank reconstructs, the projection for any weights whatever."""
    joint = network(replace(SMALL, **change))
    if joint.spec.consistency:
        joint.decoder.basis.add_(torch.randn_like(joint.decoder.basis) * 0.1)
    wave = torch.randn(2, 6400) * 0.1
    estimates = joint(wave)
    assert torch.allclose(estimates.sum(1), wave, atol=limit)
    assert (estimates[:, 0] - estimates[:, 1]).abs().max() > 0.01  # not because all are the mixture
    free = network(replace(SMALL, filterbank=joint.spec.filterbank))(wave).sum(1)
    assert not torch.allclose(free, wave, atol=1e-3)


def test_gradients_reach_every_weight() -> None:
    torch.manual_seed(0)
    trained = Network(SMALL)
    trained(torch.randn(2, 2560) * 0.1).square().sum().backward()
    for name, weight in trained.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
