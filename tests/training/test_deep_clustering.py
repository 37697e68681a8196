"""Deep clustering: its loss by hand, and a head of a loss, which learns with the network and is never exported."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import rtsep
from tests.training.objectives import objective
from tests.training.program import call
from tests.training.tiny import RECIPE, SMALL, TINY
from training import train
from training.export import export
from training.losses.deep_clustering import DeepClustering, affinity_error
from training.losses.loss import Sound
from training.network import Network

SNR = {"loss": "snr", "of": ["speech", "noise"], "weight": 0.1}
LOSS = "losses+={loss: deep_clustering, weight: 1.0, size: 4}"


def error(embeddings: list[list[float]], labels: list[list[float]], counted: list[bool] | None = None) -> float:
    """`affinity_error` of one example."""
    given = [torch.tensor([each]) for each in (embeddings, labels, counted or [True] * len(labels))]
    return float(affinity_error(*given))


def test_affinities_by_hand() -> None:
    """Bins of two sources, two each; then one each, at 45°: VVᵀ − YYᵀ is [[0, √½], [√½, 0]], 1 of 4 in all."""
    labels = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    turned = [[0.0, -1.0], [0.0, -1.0], [1.0, 0.0], [1.0, 0.0]]
    assert error(labels, labels) == error(turned, labels) == 0  # no source is the first one
    assert error([[1.0, 0.0]] * 4, labels) == pytest.approx(8 / 16)  # all in one place: the 8 pairs of unlike bins
    half = math.sqrt(0.5)
    assert error([[1.0, 0.0], [half, half]], [[1.0, 0.0], [0.0, 1.0]]) == pytest.approx(1 / 4)
    apart = [[1.0, 0.0], [half, half], [0.3, -0.2]]
    assert error(apart, [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [True, True, False]) == pytest.approx(1 / 4)
    assert error(labels, labels, [False] * 4) == 0


def test_the_low_rank_form_is_the_error_over_all_pairs() -> None:
    torch.manual_seed(0)
    v = torch.nn.functional.normalize(torch.randn(3, 40, 5, dtype=torch.float64), dim=-1)
    y = torch.nn.functional.one_hot(torch.randint(3, (3, 40)), 3).double()
    pairs = (v @ v.mT - y @ y.mT).square().mean((1, 2))
    assert torch.allclose(affinity_error(v, y, torch.ones(3, 40, dtype=torch.bool)), pairs)


def tones(*places: tuple[int, float]) -> Tensor:
    """At (bin, dB) of a window of 256 samples; a Hann window sees each in three bins, those beside it 6 dB down."""
    time = torch.arange(12800)
    waves = [10 ** (level / 20) * torch.cos(2 * math.pi * index / 256 * time) for index, level in places]
    return torch.stack(waves).sum(0)


def test_bins_belong_to_the_loudest_source() -> None:
    """Two tones against three, the last 50 dB down: three bins against three count, and all in one place costs ½."""
    sources = torch.stack([tones((20, 0.0)), tones((60, -10.0), (100, -50.0))]).unsqueeze(0)
    loss = objective([{"loss": "deep_clustering", "size": 2}], channels=1)
    (head,) = (each.head for each in loss.losses.values() if isinstance(each, DeepClustering))
    trunk = torch.zeros(1, 101, 1)
    with torch.no_grad():
        places = head.bias.view(129, 2)
        places[:] = torch.tensor([3.0, 0.0])
        assert loss(sources, sources, trunk=trunk)[0].item() == pytest.approx(0.5, rel=0.02)
        places[40:] = torch.tensor([0.0, 0.2])  # lengths do not matter
        assert loss(sources, sources, trunk=trunk)[0].item() == pytest.approx(0, abs=1e-5)


def test_what_deep_clustering_refuses() -> None:
    for entry, references in (({"size": 0}, ("speech", "noise")), ({}, ("speech",))):
        with pytest.raises(ValueError, match="deep_clustering: it needs a size"):
            objective([{"loss": "deep_clustering", **entry}], ("speech",), references=references)


@pytest.mark.parametrize("ahead", [0, 2])
def test_frames_of_the_trunk_are_those_of_the_spectrum(ahead: int) -> None:
    """As many; and with no look-ahead frame t knows the input up to the end of hop t and nothing behind."""
    torch.manual_seed(0)
    network = Network(replace(SMALL, max_lookahead_dilation=ahead)).requires_grad_(False)
    wave = torch.randn(2, 20 * 128)
    trunk = network.estimate(wave)[2]
    assert trunk.shape == (2, Sound(wave.unsqueeze(1)).spectrum(256, 128).shape[3], 12)
    wave[:, 8 * 128 :] += 1
    changed = (network.estimate(wave)[2] != trunk).any(-1).all(0)
    assert changed[8:].all() and not changed[: 8 - network.spec.lookahead // 128].any()


def test_the_head_learns_with_the_network() -> None:
    """Two sounds that differ in their bins: embeddings part, and the trunk learns from that alone."""
    torch.manual_seed(0)
    network = Network(SMALL)
    loss = objective([{"loss": "deep_clustering", "size": 3}], channels=12)
    optimizer = torch.optim.Adam([*network.parameters(), *loss.own_weights], 1e-2)
    values = []
    for _ in range(40):
        sources = torch.stack([tones((10, 0.0)), tones((50, 0.0))]) * torch.rand(4, 2, 1)
        estimates, activity, trunk = network.estimate(sources.sum(1))
        value, _ = loss(estimates, sources, None, activity, trunk)
        value.backward()
        assert all(weight.grad is not None for weight in network.separator.parameters())
        assert network.head.project.weight.grad is None
        optimizer.step()
        optimizer.zero_grad()
        values.append(value.item())
    assert values[0] > 0.3 and values[-1] < 0.05


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Of a flat learning rate, so that the schedule's end does not depend on where a run is cut."""
    file = tmp_path / "tiny.yaml"
    file.write_text(RECIPE.replace("warmup_steps: 2", "warmup_steps: 2, decay_share: 1.0e-9"), encoding="utf-8")
    return file


def run(recipe: Path, folder: Path, *words: object) -> str:
    """Trains; returns what was said. The last entry of the log holds a value of every loss."""
    done = call(train.main, recipe, "--run", folder, "--data", TINY, *words)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_run_with_a_head_goes_on_to_the_bit_and_exports_without_it(recipe: Path, tmp_path: Path) -> None:
    short = "training.hours=0.002"
    run(recipe, tmp_path / "cut", "--set", LOSS, "--set", short)
    assert "Going on from step 3" in run(recipe, tmp_path / "cut", "--set", LOSS)
    run(recipe, tmp_path / "whole", "--set", LOSS)
    one, two = (torch.load(tmp_path / folder / "checkpoint.pt", weights_only=True) for folder in ("cut", "whole"))
    for part in ("weights", "objective"):
        assert one[part].keys() == two[part].keys()
        assert all(torch.equal(weight, two[part][name]) for name, weight in one[part].items())
    begun = objective([{"loss": "deep_clustering", "size": 4}], channels=12).state_dict()
    assert all(not torch.equal(weight, one["objective"][name]) for name, weight in begun.items())

    export(tmp_path / "cut" / "checkpoint.pt", tmp_path / "head.onnx")
    run(recipe, tmp_path / "plain")
    export(tmp_path / "plain" / "checkpoint.pt", tmp_path / "plain.onnx")
    weights = [sorted(tmp_path.glob(f"{name}.onnx"))[0].stat().st_size for name in ("head", "plain")]
    assert abs(weights[0] - weights[1]) < 500  # the recipe says a line more; the head would be 26 kB
    out = rtsep.load(tmp_path / "head.onnx").stream().process(np.random.default_rng(0).normal(size=9600) * 0.1)
    assert out.shape == (9600,) and np.isfinite(out).all() and out.any()


def test_moments_go_over_with_and_without_a_head(recipe: Path, tmp_path: Path) -> None:
    """A run that begins with another's weights takes its moments too: 3 steps and 3 are 6. Heads begin anew."""
    short = ("--set", "training.hours=0.002")
    run(recipe, tmp_path / "first", *short)
    for before, after, words in (("first", "second", ("--set", LOSS)), ("second", "third", ())):
        run(recipe, tmp_path / after, *short, *words, "--begin", tmp_path / before / "checkpoint.pt")
    counts = []
    for folder in ("first", "second", "third"):
        state = torch.load(tmp_path / folder / "checkpoint.pt", weights_only=True)
        counts.append([int(kept["state"][0]["step"]) for kept in state["optimizers"]])
        entry = json.loads((tmp_path / folder / "log.jsonl").read_text().splitlines()[-1])
        assert ("deep_clustering" in entry["train"]) == ("deep_clustering" in entry["valid"]) == (folder == "second")
    assert counts == [[3], [6, 3], [9]]
