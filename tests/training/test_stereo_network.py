"""The stereo network: one trunk, masks on middle and side, and its step and flat forms through rtsep's own Stream."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import rtsep
from tests.training.program import call
from tests.training.songs import GATED, RECIPE, STEREO, stem_folder
from training import train
from training.export import difference, export, load_checkpoint
from training.network import Network, NetworkSpec, stereo
from training.network.forms import FlatForm, StepForm
from training.network.slow_fast import SlowFast

VARIANTS: dict[str, dict[str, Any]] = {
    "rest": {},
    "free": {"residual_source": False},
    "sum to one": {"residual_source": False, "masks": "sum_to_one"},
    "consistency": {"residual_source": False, "consistency": True},
    "no filters": {"filter_bins": 0},
    "folded": {"filterbank": "folded", "features": 7},
    "dual": {"filterbank": "dual", "filter_bins": 0},
    "activity": {"activity": True},
    "gated": {"activity": True, "gate_residual": True},
    "batch norm": {"norm": "batch"},
    "slow and fast": {"separator": "slow_fast", "options": {"slow_channels": 16}},
    "hops ahead, pitch frames": {
        **{"filterbank": "folded", "pitch_frames": 2, "lookahead_hops": 3, "offset_hops": 16, "features": 7},
    },
    "ahead": {"activity": True, "gate_residual": True, "kernel": 4, "max_lookahead_dilation": 2},
}


def network(spec: NetworkSpec, seed: int = 0) -> Network:
    """With a head that makes masks and filters do something."""
    torch.manual_seed(seed)
    made = Network(spec).eval().requires_grad_(False)
    made.head.project.weight.normal_(0, 0.3)
    if isinstance(made.separator, SlowFast):
        made.separator.slow.film.project.weight.normal_(0, 0.1)
    return made


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> NetworkSpec:
    return replace(STEREO, **VARIANTS[request.param])


def test_step_and_flat_form_are_the_sequence_form(variant: NetworkSpec) -> None:
    sequence = network(variant)
    flat = FlatForm(StepForm(sequence).eval())
    wave = torch.randn(1, 2, 128 * 14) * 0.1
    expected = sequence(wave)[0]
    assert expected.shape == (2, 2, wave.shape[-1])
    state, audio = torch.zeros(flat.state_size), []
    for hop in F.pad(wave[0], (0, 128 + variant.lookahead)).split(variant.hop, 1):
        out, state = flat(hop, state)
        audio.append(out)
    assert torch.allclose(torch.cat(audio, -1)[..., 128 + variant.lookahead :], expected, atol=1e-6)


def test_causal_and_silent_on_silence(variant: NetworkSpec) -> None:
    causal = network(variant)
    wave = torch.randn(1, 2, 3840)
    for channel in (0, 1):
        spoilt = wave.clone()
        spoilt[:, channel, 2000:] = torch.nan
        before = 2000 - variant.synthesis_window - variant.lookahead + 1
        assert torch.equal(causal(spoilt)[..., :before], causal(wave)[..., :before])
    assert causal(torch.zeros(1, 2, 1280)).abs().max() == 0


def test_one_trunk_hears_both_channels() -> None:
    """What sounds left changes what is made of the right: the masks share one time line."""
    joint = network(STEREO)
    wave = torch.randn(1, 2, 3840) * 0.1
    other = wave.clone()
    other[:, 0] *= 0.3
    assert not torch.allclose(joint(wave)[:, 0, 1], joint(other)[:, 0, 1], atol=1e-4)


def test_the_rest_is_exact() -> None:
    for spec in (STEREO, replace(STEREO, audio_channels=1)):
        wave = torch.randn(2, *([2] if spec.audio_channels == 2 else []), 2560) * 0.1
        estimates = network(spec)(wave)
        assert torch.allclose(estimates.sum(1), wave, atol=1e-6)
        assert (estimates[:, 0] - wave).abs().max() > 0.01


def test_a_gate_gives_back_what_it_takes() -> None:
    """Shut, the song stays as it is; open, what is taken out is what the masks say; between, in proportion."""
    plain = network(replace(STEREO, activity=True))
    gated = network(replace(STEREO, activity=True, gate_residual=True))
    wave = torch.randn(1, 2, 3840) * 0.1
    taken = plain(wave)[:, 1]
    assert taken.abs().max() > 0.01
    gated.head.project.weight[-1] = 0
    for logit in (-100.0, 0.0, 1.5, 100.0):
        gated.head.project.bias[-1] = logit
        accompaniment, vocals = gated(wave).unbind(1)
        assert torch.allclose(vocals, taken * torch.sigmoid(torch.tensor(logit)), atol=1e-6)
        assert torch.allclose(accompaniment + vocals, wave, atol=1e-6)


def test_open_masks_reconstruct() -> None:
    through = network(replace(STEREO, residual_source=False))
    through.head.project.weight.zero_()
    through.head.project.bias.zero_()
    through.head.project.bias[: through.head.sizes[0]] = 30.0
    wave = torch.randn(1, 2, 12800) * 0.1
    error = (through(wave)[:, 0] - wave)[..., 1024:-256]
    assert 10 * torch.log10(error.square().mean() / wave.square().mean()) < -100


def test_middle_and_side() -> None:
    sound = torch.randn(3, 2, 100)
    middle, side = (stereo.turned(sound) / 2).unbind(1)
    assert torch.allclose(middle, sound.mean(1)) and torch.allclose(side, (sound[:, 0] - sound[:, 1]) / 2)
    assert torch.allclose(stereo.turned(stereo.turned(sound) / 2), sound, atol=1e-6)


def test_features_tell_where_a_sound_is() -> None:
    """Balance of the channels' powers and the phase of their cross-spectrum, as `between` promises."""
    left, right = torch.randn(2, 2, 50).unbind(0)  # [2 (real, imaginary), pairs]
    pairs = torch.stack([(left + right) / 2, (left - right) / 2])
    balance, phase = stereo.between(pairs).view(2, 50)
    one, two = torch.complex(*left), torch.complex(*right)
    power = one.abs() ** 2 + two.abs() ** 2
    assert torch.allclose(balance, (one.abs() ** 2 - two.abs() ** 2) / power, atol=1e-4)
    assert torch.allclose(phase.abs(), (2 * (one * two.conj()).imag / power).abs(), atol=1e-4)
    swapped = stereo.between(torch.stack([pairs[0], -pairs[1]]))
    assert torch.allclose(swapped, -stereo.between(pairs), atol=1e-6)
    assert stereo.between(torch.stack([left, left * 0])).abs().max() == 0


@pytest.mark.parametrize(
    "change",
    [
        {"audio_channels": 3},
        {"sources": ["accompaniment"]},
        {"masks": "sum_to_one"},
        {"consistency": True},
        {"gate_residual": True},
    ],
)
def test_impossible_shapes_are_refused(change: dict) -> None:
    with pytest.raises(ValueError):
        replace(STEREO, **change)


def test_gradients_reach_every_weight() -> None:
    torch.manual_seed(0)
    trained = Network(STEREO)
    trained.head.project.weight.data.normal_(0, 0.1)
    trained(torch.randn(2, 2, 2560) * 0.1)[:, 0].square().sum().backward()
    for name, weight in trained.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder after a few steps."""
    folder = tmp_path_factory.mktemp("songs")
    (folder / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    dataset = f"stems={stem_folder(folder / 'stems')}"
    words = [folder / "tiny.yaml", "--run", folder / "run", "--dataset", dataset, "--threads", 1]
    done = call(train.main, *words, "--cache", folder / "cache", "--every", 4)
    assert done.returncode == 0, done.stderr
    assert "objective is now losses" in done.stderr  # the recipe is one of version 1
    return folder / "run"


def test_songs_train_and_export(trained: Path, tmp_path: Path) -> None:
    first, *_, entry = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert first["step"] == 4 and entry["step"] > 4
    assert {"sdr", "sdri", "suppression", "change", "vocal_interference accompaniment", "activity"} <= entry[
        "valid"
    ].keys()
    made, recipe, state = load_checkpoint(trained / "checkpoint.pt")
    assert recipe.task == "songs" and made.spec == GATED and "vocals: stems" in state["trained_on"]
    for file in export(trained / "checkpoint.pt", tmp_path / "songs.onnx"):
        spec = rtsep.load(file).spec
        assert spec.channels == 2 and spec.sources == ("accompaniment", "vocals") and spec.target == "accompaniment"
        assert difference(made, file, 1.0) < 1e-4


def test_the_stream_is_the_network_in_any_blocks(trained: Path, tmp_path: Path) -> None:
    step, _ = export(trained / "checkpoint.pt", tmp_path / "songs.onnx")
    made, _, _ = load_checkpoint(trained / "checkpoint.pt")
    rng = np.random.default_rng(0)
    wave = (rng.standard_normal((128 * 1500, 2)) * [0.1, 0.05]).astype(np.float32)
    with torch.no_grad():
        expected = made(torch.from_numpy(wave.T.copy())[None])[0].numpy().transpose(0, 2, 1)
    stream = rtsep.load(step).stream(channels=2)
    cuts = np.cumsum(rng.integers(1, 5000, 400))
    pieces = [stream.process(block, sources=True) for block in np.split(wave, cuts[cuts < len(wave)])]
    streamed = np.concatenate([*pieces, stream.flush(sources=True)], 1)[:, stream.latency :]
    assert np.abs(streamed - expected).max() < 1e-4
    assert stream.activity is not None and 0 <= stream.activity <= 1


def test_bad_calls_get_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    one = stem_folder(tmp_path / "stems", ("only",), 1.0)
    done = call(train.main, tmp_path / "tiny.yaml", "--run", tmp_path / "run", "--dataset", f"stems={one}")
    assert done.returncode == 2 and "no vocals in the valid split" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
