"""Every kind of network that a recipe can name, exported, runs compiled as it runs in onnxruntime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import rtsep
from tests.training.test_network_parts import AHEAD, FILTERS, SLOW, STEREO, network
from tests.training.tiny import SMALL
from training.export import metadata, step_graph, write
from training.network import Network, NetworkSpec
from training.network.forms import StepForm
from training.recipe import Recipe, parse_recipe

RECIPES = sorted((Path(__file__).parents[2] / "training" / "recipes").glob("*.yaml"))
KINDS = {
    "dual": SMALL,
    "short": replace(SMALL, filterbank="short"),
    "folded": replace(SMALL, filterbank="folded"),
    "filters": FILTERS,
    "pitch frames": replace(FILTERS, pitch_frames=2),
    "slow-fast, pitch frames": replace(SLOW, filterbank="folded", pitch_frames=1),
    "slow-fast, pitch frames, offset": replace(SLOW, filterbank="folded", pitch_frames=1, offset_hops=64),
    "stereo, offset": replace(STEREO, offset_hops=64),
    "stereo, pitch frames, offset": replace(STEREO, filterbank="folded", pitch_frames=2, offset_hops=64),
    "look-ahead": AHEAD,
    "stereo": STEREO,
    "slow-fast": SLOW,
    "batch norm": replace(SMALL, norm="batch"),
    "residual": replace(SMALL, residual_source=True),
    "stereo, gated residual": replace(STEREO, residual_source=True, gate_residual=True),
    "three sources": replace(SMALL, sources=["speech", "noise", "music"]),
    "slow-fast, stereo, residual": replace(SLOW, audio_channels=2, residual_source=True),
    "slow-fast, stereo, pitch frames, gated residual": replace(
        SLOW,
        filterbank="folded",
        audio_channels=2,
        pitch_frames=2,
        residual_source=True,
        activity=True,
        gate_residual=True,
    ),
}


def saved(made: Network, recipe: Recipe, file: Path) -> Path:
    form = StepForm(made)
    told = metadata(recipe, form, "step", "0", "MIT", "nothing", form.state_spec.state)
    write(step_graph(made), told, file)
    return file


def recipe_of(spec: NetworkSpec) -> Recipe:
    return parse_recipe(yaml.safe_dump({"name": "kind", "target": spec.sources[0], "network": spec.to_dict()}))


def assert_backends_agree(file: Path, seconds: float) -> None:
    compiled, reference = rtsep.load(file, backend="compiled"), rtsep.load(file)
    assert compiled.backend == "compiled"
    channels = compiled.spec.channels
    x = 0.2 * np.random.default_rng(0).standard_normal((round(seconds * 48000), channels)).astype(np.float32)
    found, expected = (model.stream(channels=channels).process(x, sources=True) for model in (compiled, reference))
    peak = np.abs(expected).max()
    assert peak > 0.01
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, peak))  # random weights may amplify


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_network_runs_compiled(kind: str, tmp_path: Path) -> None:
    spec = KINDS[kind]
    assert_backends_agree(saved(network(spec), recipe_of(spec), tmp_path / "kind.onnx"), 1.5)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_network_of_a_recipe_runs_compiled(recipe: Path, tmp_path: Path) -> None:
    parsed = parse_recipe(recipe.read_text(encoding="utf-8"))
    torch.manual_seed(0)
    made = Network(parsed.network).eval().requires_grad_(False)
    assert_backends_agree(saved(made, parsed, tmp_path / "recipe.onnx"), 4.0)
