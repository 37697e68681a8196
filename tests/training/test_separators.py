"""The separators, front ends and outputs: numeric anchors, and every combination of them exports and streams."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy import signal

import rtsep
from benchmarks.cost import multiply_adds
from training.checkpoints import load_weights, named_weights
from training.export import graph_of, metadata, write
from training.network import Network, NetworkSpec
from training.network.attention import Layer as AttentionLayer
from training.network.decoder import masked
from training.network.filterbank import FILTERBANKS, Features
from training.network.forms import StepForm
from training.network.head import bounded_complex
from training.network.lstm import Layer, StandardScaler
from training.network.separators import SEPARATORS
from training.network.unet import Down, Up
from training.recipe import parse_recipe, read_recipe
from training.run_state import RunState

SPEC = NetworkSpec(
    **{"sample_rate": 16000, "hop": 16, "analysis_window": 96, "synthesis_window": 32, "filterbank": "folded"},
    **{"features": 6, "features_top": 7000.0, "channels": 8, "hidden": 10, "dilations": [1, 3], "output_scaler": True},
)
OPTIONS = {"slow_fast": {"slow_channels": 6, "slow_layers": 1}, "lstm": {"layers": 2}, "attention": {"heads": 2}}
OUTPUTS = {
    "real": {"masks": "free"},
    "shared": {"masks": "sum_to_one"},
    "complex": {"masks": "complex"},
    "filters": {"filter_bins": 5, "filter_frames": 3, "activity": True},
}
COMBINATIONS = [each for each in product(FILTERBANKS, SEPARATORS, OUTPUTS) if each[0] != "dual" or each[2] != "filters"]


def network(spec: NetworkSpec) -> Network:
    """One whose weights all do something."""
    torch.manual_seed(0)
    made = Network(spec).eval().requires_grad_(False)
    for weight in made.parameters():
        weight.add_(torch.randn_like(weight) * 0.05)
    return made


def spec_of(bank: str, separator: str, output: str) -> NetworkSpec:
    front = {"filterbank": bank} | ({"features": 96, "features_top": 21120.0} if bank == "dual" else {})
    front |= {"sample_rate": 48000} if bank == "dual" else {}
    own = {"separator": separator, "options": OPTIONS.get(separator, {})}
    return replace(SPEC, **front, **own, **OUTPUTS[output])


@pytest.mark.parametrize("combination", COMBINATIONS, ids="-".join)
def test_every_combination_exports_and_streams(combination: tuple[str, str, str], tmp_path: Path) -> None:
    """In blocks of any size the file gives the same bits, and they are the network's."""
    made = network(spec_of(*combination))
    recipe = parse_recipe(f"{{name: toy, target: speech, network: {made.spec.to_dict()}}}")
    step = StepForm(made)
    values = metadata(recipe, step, "step", "1", "none", "nothing", step.state_spec.state)
    write(graph_of(step), values, tmp_path / "toy.onnx")
    wave = torch.randn(1, 16 * 150) * 0.1
    stream = rtsep.load(tmp_path / "toy.onnx").stream()
    whole = np.concatenate([stream.process(wave[0].numpy(), sources=True), stream.flush(sources=True)], 1)
    assert np.abs(whole[:, stream.latency :] - made(wave)[0].numpy()).max() < 1e-4
    assert np.abs(whole).max() > 1e-3
    blocks = np.split(wave[0].numpy(), [1, 40, 41, 300, 1111, 1120])
    pieces = [stream.process(block, sources=True) for block in blocks]
    assert np.array_equal(np.concatenate([*pieces, stream.flush(sources=True)], 1), whole)
    assert multiply_adds(tmp_path / "toy.onnx") == round(sum(made.products) / len(made.products))


@pytest.mark.parametrize("separator", SEPARATORS)
def test_nothing_is_heard_before_it_sounds(separator: str) -> None:
    made = network(spec_of("folded", separator, "real"))
    wave = torch.randn(1, 16 * 60)
    later = wave.clone()
    later[:, 16 * 40 :] += 1
    reach = made.spec.synthesis_window
    assert torch.equal(made(wave)[..., : 16 * 40 - reach], made(later)[..., : 16 * 40 - reach])
    assert not torch.equal(made(wave)[..., 16 * 40 :], made(later)[..., 16 * 40 :])
    assert made(torch.zeros(1, 160)).abs().max() == 0


@pytest.mark.parametrize("separator", SEPARATORS)
def test_all_weights_learn_and_have_names_of_their_own(separator: str) -> None:
    torch.manual_seed(0)
    spec = spec_of("folded", separator, "complex")
    made = Network(spec)
    for name, weight in made.named_parameters():
        if "film" in name:
            weight.data.normal_()
    made(torch.randn(2, 16 * 40)).square().mean().backward()
    silent = [name for name, weight in made.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not silent
    names = named_weights(made)
    assert len(names) == len(made.state_dict()) and not any(name.startswith("separator/") for name in names)
    load_weights(Network(spec), names)


@pytest.mark.parametrize("separator", SEPARATORS)
def test_bfloat16_is_nearly_the_same(separator: str) -> None:
    """As recipes with `half` train: gradients reach the same weights, within what 8 bits hold."""
    torch.manual_seed(0)
    made = Network(replace(spec_of("folded", separator, "real"), condition="film", classes=["a", "b"]))
    wave, condition, found = torch.randn(2, 16 * 40), torch.rand(2, 2), []
    for mixed in (False, True):
        made.mixed = mixed
        made.zero_grad()
        made(wave, condition)[:, 0].square().mean().backward()
        found.append(torch.cat([weight.grad.flatten() for weight in made.parameters() if weight.grad is not None]))
    assert found[0].shape == found[1].shape and found[1].isfinite().all()
    assert torch.nn.functional.cosine_similarity(*found, dim=0) > 0.98


def test_a_run_begins_with_the_statistics_of_its_mixtures() -> None:
    recipe = parse_recipe(f"{{name: toy, target: speech, network: {spec_of('folded', 'lstm', 'real').to_dict()}}}")
    state = RunState(recipe, "nothing", torch.device("cpu"), Console(stderr=True))
    assert state.network.separator.observes and not Network(spec_of("folded", "tcn", "real")).separator.observes
    state.observe(torch.randn(4, 16 * 100))
    scalers = [each.separator.get_submodule("scaler").state_dict() for each in (state.network, state.average.network)]
    assert all(torch.equal(scalers[0][name], scalers[1][name]) for name in ("shift", "scale"))
    assert (scalers[0]["scale"] != 1).all() and (scalers[0]["shift"] != 0).all()


def test_coupled_gates_by_hand() -> None:
    """One unit: forget σ(ln 3) = 3/4, new tanh(1), output σ(0) = 1/2; the cell is f·c + (1 − f)·g."""
    layer = Layer(1).requires_grad_(False)
    layer.input.zero_(), layer.recurrent.zero_()
    layer.bias[:] = torch.tensor([np.log(3), 1.0, 0.0])
    cell, found = 0.0, layer(torch.randn(1, 4, 1))[0, :, 0]
    for output in found.tolist():
        cell = 0.75 * cell + 0.25 * np.tanh(1)
        assert output == pytest.approx(0.5 * np.tanh(cell), abs=1e-6)


def test_the_cell_stays_within_one() -> None:
    """However it is driven: torch's LSTM would count up to 3000 here."""
    layer = Layer(1).requires_grad_(False)
    layer.input.zero_(), layer.recurrent.zero_()
    layer.bias[:] = torch.tensor([20.0, 20.0, 20.0])
    output, cell = torch.zeros(1, 1), torch.full((1, 1), 1.0)
    for _ in range(3000):
        output, cell = layer.step(torch.full((1, 1), 100.0), output, cell)
    assert 0 < float(cell) <= 1


def test_the_scaler_is_that_of_the_data() -> None:
    x = torch.randn(4, 500, 3) * torch.tensor([2.0, 0.5, 0.0]) + torch.tensor([1.0, -3.0, 5.0])
    scaler = StandardScaler(3).requires_grad_(False)
    scaler.observe(x)
    scaled = scaler(x).flatten(0, 1)
    assert torch.allclose(scaled.mean(0), torch.zeros(3), atol=1e-3)
    assert torch.allclose(scaled.std(0, correction=0)[:2], torch.ones(2), atol=1e-3)
    assert scaled.isfinite().all() and scaled[:, 2].abs().max() < 1e-2
    made = Network(spec_of("folded", "lstm", "real"))
    made.observe(torch.randn(3, 16 * 100))
    seen = made.separator.get_submodule("scaler")(made.encoder(made._windows(torch.randn(1, 16 * 500)))[0])
    assert seen[0, 10:].mean().item() == pytest.approx(0, abs=0.2)


def test_attention_is_torchs_over_the_same_places() -> None:
    """Agreement with `scaled_dot_product_attention` under the mask of a dilated causal window with its zero padding."""
    torch.manual_seed(0)
    kernel, dilation, heads, frames = 3, 2, 2, 9
    layer = AttentionLayer(8, 12, kernel, dilation, heads).eval().requires_grad_(False)
    layer.place.normal_()
    x = torch.randn(1, frames, 8)
    normed = layer.norm(x)
    past = (kernel - 1) * dilation
    pairs = torch.cat([torch.zeros(1, past, 16), layer.pair(normed)], 1)
    keys, values = (each.unflatten(-1, (heads, 4)).transpose(1, 2) for each in pairs.split(8, -1))
    bias = torch.full((heads, frames, past + frames), -torch.inf)
    for frame in range(frames):
        for place in range(kernel):
            bias[:, frame, frame + place * dilation] = layer.place[place]
    query = layer.query(normed).unflatten(-1, (heads, 4)).transpose(1, 2)
    found = torch.nn.functional.scaled_dot_product_attention(query, keys, values, attn_mask=bias[None])
    after = x + layer.merge(found.transpose(1, 2).flatten(2))
    expected = after + layer.narrow(torch.nn.functional.gelu(layer.widen(layer.norm_wide(after))))
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_convolutions_of_the_unet_are_torchs() -> None:
    torch.manual_seed(0)
    down, up = Down(2, 4).requires_grad_(False), Up(4, 2).requires_grad_(False)
    down.slope[:], up.slope[:] = 1, 1  # linear
    x = torch.randn(3, 10, 2)
    weight = down.convolve.weight.unflatten(1, (3, 2)).transpose(1, 2)  # [out, in, 3]
    strided = torch.nn.functional.conv1d(x.transpose(1, 2), weight, down.convolve.bias, stride=2, padding=1)
    mean = torch.nn.functional.avg_pool1d(x.transpose(1, 2), 2).repeat(1, 2, 1)
    assert torch.allclose(down(x), (strided + mean).transpose(1, 2), atol=1e-6)
    low = torch.randn(3, 5, 4)
    kernel = up.convolve.weight.unflatten(0, (2, 2)).permute(2, 1, 0)  # [in, out, 2]
    raised = torch.nn.functional.conv_transpose1d(low.transpose(1, 2), kernel, stride=2).transpose(1, 2)
    bias = up.convolve.bias.view(2, 2).repeat(5, 1)
    assert torch.allclose(up(low, x), raised + bias + x, atol=1e-6)


def test_complex_masks_turn_phases_and_are_bounded() -> None:
    pairs = torch.tensor([[3.0], [4.0]])
    turned = masked(pairs, torch.tensor([[0.0], [0.5]]))  # times i/2
    assert torch.allclose(turned, torch.tensor([[-2.0], [1.5]]))
    assert torch.allclose(masked(pairs, torch.tensor([[0.5]])), pairs / 2)
    logits = torch.tensor([[3.0, 0.0, 300.0], [4.0, 0.0, 0.0]])
    found = bounded_complex(logits)
    assert torch.allclose(found[:, 0], torch.tanh(torch.tensor(5.0)) * torch.tensor([0.6, 0.8]))
    assert found[:, 1].abs().max() == 0 and found.abs().max() <= 1


@pytest.mark.parametrize("bank", [name for name in FILTERBANKS if name != "dual"])
def test_masks_at_one_give_back_what_came_in(bank: str) -> None:
    torch.manual_seed(0)
    made = Network(replace(spec_of(bank, "tcn", "real"), sources=["speech"])).requires_grad_(False)
    made.head.project.weight.zero_()
    made.head.project.bias[:] = 100.0
    wave = torch.randn(1, 16 * 30)
    assert torch.allclose(made(wave)[:, 0], wave, atol=1e-4)


def test_gammatone_filters_are_scipys() -> None:
    rate, analysis = 16000, 1024
    bank = FILTERBANKS["gammatone"](rate, analysis, 64, Features(5, 6000.0)).long
    scale = np.linspace(*(21.4 * np.log10(1 + 0.00437 * np.array([40.0, 6000.0]))), 5)
    for index, centre in enumerate((10 ** (scale / 21.4) - 1) / 0.00437):
        response = bank[0, index, ::-1]  # newest sample first: an impulse response
        theirs = signal.gammatone(centre, "fir", order=4, numtaps=analysis, fs=rate)[0]
        assert np.corrcoef(response, theirs)[0, 1] > 0.9999


@pytest.mark.parametrize("bank", ["stft", "mel", "gammatone"])
def test_a_tone_is_loudest_in_its_filter(bank: str) -> None:
    rate, analysis = 16000, 1024
    long = FILTERBANKS[bank](rate, analysis, 64, Features(24, 6000.0)).long
    peaks = []
    for hertz in (500.0, 1500.0, 4000.0):
        tone = np.sin(2 * np.pi * hertz * np.arange(analysis) / rate)
        peaks.append(int(np.hypot(long[0] @ tone, long[1] @ tone).argmax()))
    ends = {"stft": lambda f: f, "mel": lambda f: 2595 * np.log10(1 + f / 700)}
    scale = ends.get(bank, lambda f: 21.4 * np.log10(1 + 0.00437 * f))
    for hertz, peak in zip((500.0, 1500.0, 4000.0), peaks, strict=True):
        assert abs(peak - 23 * (scale(hertz) - scale(40.0)) / (scale(6000.0) - scale(40.0))) <= 1


def test_what_cannot_be_is_refused(recipe_file: Path) -> None:
    with pytest.raises(ValueError, match="multiple of the 3 heads"):
        Network(replace(SPEC, separator="attention", options={"heads": 3}))
    for separator in ("attention", "unet"):
        with pytest.raises(ValueError, match="max_lookahead_dilation"):
            Network(replace(SPEC, separator=separator, max_lookahead_dilation=1))
    changes = ["network.separator=lstm", "network.layers=1", "network.dilations=[1, 2]"]
    with pytest.raises(ValueError, match="hidden changes nothing, because the separator lstm does not read it"):
        read_recipe(recipe_file, changes)


def test_attention_keeps_its_memory_in_the_rings() -> None:
    """Keys and values are the taps of the host: no state vector goes in and out of every step."""
    state = network(spec_of("folded", "attention", "real")).state_spec
    assert state.state == 0 and (state.width, state.kernel, state.dilations) == (2 * 8, 3, (1, 3))
