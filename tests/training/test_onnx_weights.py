"""Training goes on from a step graph as from the checkpoint that it was exported from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import typer
import yaml

import rtsep
from benchmarks.cost import multiply_adds
from rtsep.model import shipped
from tests.training.program import call
from tests.training.songs import STEREO
from tests.training.tiny import SMALL, TINY
from training import train
from training.checkpoints import load_weights, named_weights
from training.export import difference, export
from training.network import Network, NetworkSpec
from training.network.weight_names import stable_name
from training.onnx_weights import read_shipped
from training.recipe import parse_recipe

ROOT = Path(__file__).parents[2]
WEIGHTS = json.loads((ROOT / "tests" / "data" / "shipped_weights.json").read_text())
SPECS = {
    "short": replace(SMALL, filterbank="short"),
    "dual": SMALL,
    "folded": replace(SMALL, filterbank="folded", features=7, features_top=2000.0),
    "filters, activity": replace(SMALL, filterbank="short", filter_bins=6, filter_frames=3, activity=True),
    "one mask": replace(SMALL, sources=["speech"]),
    "consistency": replace(SMALL, consistency=True),
    "stereo": replace(STEREO, filterbank="folded", features=7, features_top=2000.0),
    "ahead": replace(SMALL, filterbank="short", kernel=4, max_lookahead_dilation=2, activity=True),
    "hops ahead": replace(
        SMALL, filterbank="folded", features=7, features_top=2000.0, lookahead_hops=4, pitch_frames=1
    ),
    "slow and fast": replace(SMALL, separator="slow_fast", options={"slow_channels": 16}),
    "stereo, ahead": replace(STEREO, filterbank="folded", features=7, kernel=2, max_lookahead_dilation=64),
}


def exported(spec: NetworkSpec, folder: Path) -> tuple[Network, Path]:
    """A network with weights of no meaning, and its step graph."""
    torch.manual_seed(0)
    network = Network(spec)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.01 * torch.randn_like(weight))
    text = yaml.safe_dump({"name": "tiny", "target": spec.sources[0], "network": spec.to_dict()})
    state = {"average": named_weights(network), "recipe": text, "hours": 1.5, "step": 12, "trained_on": "speech: tiny"}
    torch.save(state, folder / "checkpoint.pt")
    return network, export(folder / "checkpoint.pt", folder / "tiny.onnx")[0]


@pytest.mark.parametrize("name", SPECS)
def test_weights_come_back(name: str, tmp_path: Path) -> None:
    network, file = exported(SPECS[name], tmp_path)
    found = read_shipped(str(file))
    assert (found["hours"], found["step"], found["trained_on"]) == (1.5, 12, "speech: tiny")
    for key, weight in named_weights(network).items():
        assert torch.allclose(found["average"][key], weight, rtol=1e-5, atol=1e-6), key
    # Products are counted whatever is used twice: at least every weight of the head, once.
    assert (multiply_adds(file) or 0) > network.head.project.weight.numel()
    assert rtsep.load(file).spec.lookahead == network.spec.lookahead


def test_weights_that_are_alike_come_back_too(tmp_path: Path) -> None:
    """Norms and slopes of a network as it begins are all the same, and then the exporter keeps one of them."""
    network = Network(SMALL)
    text = yaml.safe_dump({"name": "tiny", "target": "speech", "network": SMALL.to_dict()})
    state = {"average": named_weights(network), "recipe": text, "hours": 0.0, "step": 0, "trained_on": "nothing"}
    torch.save(state, tmp_path / "checkpoint.pt")
    found = read_shipped(export(tmp_path / "checkpoint.pt", tmp_path / "tiny.onnx")[0])["average"]
    assert all(torch.allclose(found[key], weight, atol=1e-6) for key, weight in named_weights(network).items())


def test_a_file_of_half_numbers_has_half_the_size_and_training_can_begin_with_it(tmp_path: Path) -> None:
    spec = replace(STEREO, filterbank="folded", channels=64, hidden=128)
    network, file = exported(spec, tmp_path)
    whole = file.stat().st_size
    half = export(tmp_path / "checkpoint.pt", tmp_path / "half.onnx", half=True)[0]
    assert half.stat().st_size < 0.75 * whole  # graph and filters are the rest
    found = read_shipped(half)["average"]
    for name, weight in named_weights(network).items():
        expected = weight.half().float() if weight.ndim > 1 else weight
        assert torch.equal(found[name], expected), name
    x = 0.1 * np.random.default_rng(0).standard_normal((48000, 2)).astype(np.float32)
    one, other, compiled = (
        rtsep.load(model, backend=backend).stream(channels=2).process(x)
        for model, backend in ((file, "onnxruntime"), (half, "onnxruntime"), (half, "compiled"))
    )
    np.testing.assert_allclose(other, compiled, rtol=0, atol=1e-5)
    assert 0 < np.abs(one - other).max() < 0.01


@pytest.mark.parametrize("name", WEIGHTS)
def test_shipped_weights_are_those_of_the_code_that_exported_them(name: str) -> None:
    """To the bit, and by the names that they had then: tests/data/shipped_weights.json was written by that code."""
    found = read_shipped(ROOT / "rtsep" / "models" / f"{name}.onnx")
    expected = {stable_name(old): digest for old, digest in WEIGHTS[name].items()}
    assert len(expected) == len(WEIGHTS[name])
    hashes = {
        key: hashlib.sha256(weight.numpy().astype("<f4").tobytes()).hexdigest()[:16]
        for key, weight in found["average"].items()
    }
    assert hashes == expected


@pytest.mark.parametrize("name", shipped())
def test_shipped_models_are_what_they_are_read_as(name: str) -> None:
    found = read_shipped(name)
    network = Network(parse_recipe(found["recipe"]).network).eval()
    load_weights(network, found["average"])
    assert difference(network, shipped()[name], 1.0) < 1e-4
    assert found["hours"] > 1 and found["step"] > 100


def test_what_cannot_be_read_back_is_one_sentence(tmp_path: Path) -> None:
    _, file = exported(SPECS["short"], tmp_path)
    for name in (tmp_path / "no.onnx", file.with_suffix(".flat.onnx"), "nothing", "mid-side"):
        with pytest.raises(ValueError, match=r"begin"):
            read_shipped(name)
    other = onnx.load(file)
    (layout,) = (each for each in other.metadata_props if each.key == "rtsep.weights")
    name, other.graph.initializer[-1].name = other.graph.initializer[-1].name, "renamed"
    for node in other.graph.node:
        node.input[:] = ["renamed" if key == name else key for key in node.input]
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="layout of the weights does not fit"):
        read_shipped(tmp_path / "other.onnx")
    other.metadata_props.remove(layout)
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="does not say where they lie"):
        read_shipped(tmp_path / "other.onnx")
    (tmp_path / "batch").mkdir()
    _, folded = exported(replace(SPECS["short"], norm="batch"), tmp_path / "batch")
    with pytest.raises(ValueError, match="norms per frame"):
        read_shipped(folded)


def test_a_run_begins_with_it(recipe_file: Path, tmp_path: Path) -> None:
    """Only the last layer learns, and what the weights heard before stays on the list of what they heard."""
    _, file = exported(replace(SMALL, hidden=16), tmp_path)
    words = [recipe_file, "--run", tmp_path / "run", "--data", TINY]
    head = ["--set", "training.train_only=head/output"]
    done = call(train.main, *words, "--begin", file, "--minutes", 0.02, *head)
    assert done.returncode == 0, done.stderr
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert tuple(state["before"]) == (1.5, 12)
    listed = state["trained_on"].splitlines()
    assert "speech: tiny" in listed and any("kathleen" in line for line in listed) and len(set(listed)) == len(listed)
    before = read_shipped(str(file))["average"]
    moved = {key for key, weight in state["average"].items() if not torch.allclose(weight, before[key], atol=1e-6)}
    assert moved and moved <= {"head/output/weight", "head/output/bias"}
    # A run goes on with the weights that it began to train, or not at all.
    other = call(train.main, *words, "--minutes", 0.03)
    assert other.returncode == 2 and "other weights that learn" in other.stderr and "Traceback" not in other.stderr
    again = call(train.main, *words, "--minutes", 0.03, *head)
    assert again.returncode == 0, again.stderr
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["trained_on"].splitlines() == listed


def test_runs_that_cannot_begin_are_one_sentence(recipe_file: Path, tmp_path: Path) -> None:
    refused = call(train.main, recipe_file, "--run", tmp_path / "run", "--data", TINY, "--begin", "no.onnx")
    assert refused.returncode == 2 and "no.onnx" in refused.stderr and "Traceback" not in refused.stderr
    for value in ("heads", "5", "", "[}"):
        with pytest.raises(typer.Exit):
            train.main(recipe_file, tmp_path / "run", TINY, change=[f"training.train_only={value}"])
    nothing = ["training.train_only=decoder", "training.filterbank_learning_rate_share=0"]
    with pytest.raises(typer.Exit):
        train.main(recipe_file, tmp_path / "run", TINY, change=nothing)
    assert not (tmp_path / "run").exists()
