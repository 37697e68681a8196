"""Training goes on from a step graph as from the checkpoint that it was exported from."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
import typer
import yaml

from rtsep.model import shipped
from tests.training.songs import STEREO
from tests.training.tiny import SMALL, TINY
from training import train
from training.export import difference, export
from training.network import Network, NetworkSpec
from training.recipe import parse_recipe
from training.shipped import read_shipped

ROOT = Path(__file__).parents[2]
SPECS = {
    "short": replace(SMALL, filterbank="short"),
    "dual": SMALL,
    "folded": replace(SMALL, filterbank="folded", features=7, features_top=2000.0),
    "filters, activity": replace(SMALL, filterbank="short", filter_bins=6, filter_frames=3, activity=True),
    "one mask": replace(SMALL, sources=["speech"]),
    "consistency": replace(SMALL, consistency=True),
    "stereo": replace(STEREO, filterbank="folded", features=7, features_top=2000.0),
}


def exported(spec: NetworkSpec, folder: Path) -> tuple[Network, Path]:
    """A network with weights of no meaning, and its step graph."""
    torch.manual_seed(0)
    network = Network(spec)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.01 * torch.randn_like(weight))
    text = yaml.safe_dump({"name": "tiny", "target": spec.sources[0], "network": spec.to_dict()})
    state = {"average": network.state_dict(), "recipe": text, "hours": 1.5, "step": 12, "trained_on": "speech: tiny"}
    torch.save(state, folder / "checkpoint.pt")
    return network, export(folder / "checkpoint.pt", folder / "tiny.onnx")[0]


@pytest.mark.parametrize("name", SPECS)
def test_weights_come_back(name: str, tmp_path: Path) -> None:
    network, file = exported(SPECS[name], tmp_path)
    found = read_shipped(str(file))
    assert (found["hours"], found["step"], found["trained_on"]) == (1.5, 12, "speech: tiny")
    for key, weight in network.state_dict().items():
        assert torch.allclose(found["average"][key], weight, rtol=1e-5, atol=1e-6), key


@pytest.mark.parametrize("name", shipped())
def test_shipped_models_are_what_they_are_read_as(name: str) -> None:
    found = read_shipped(name)
    network = Network(parse_recipe(found["recipe"]).network).eval()
    network.load_state_dict(found["average"])
    assert difference(network, shipped()[name], 1.0) < 1e-4
    assert found["hours"] > 1 and found["step"] > 100


def test_what_cannot_be_read_back_is_one_sentence(tmp_path: Path) -> None:
    _, file = exported(SPECS["short"], tmp_path)
    for name in (tmp_path / "no.onnx", file.with_suffix(".flat.onnx"), "nothing", "mid-side"):
        with pytest.raises(ValueError, match=r"begin"):
            read_shipped(name)
    other = onnx.load(file)
    other.graph.initializer[-1].name = "renamed"
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"begin|another version"):
        read_shipped(tmp_path / "other.onnx")
    (tmp_path / "batch").mkdir()
    _, folded = exported(replace(SPECS["short"], norm="batch"), tmp_path / "batch")
    with pytest.raises(ValueError, match="norms per frame"):
        read_shipped(folded)


def test_a_run_begins_with_it(recipe_file: Path, tmp_path: Path) -> None:
    _, file = exported(replace(SMALL, hidden=16), tmp_path)
    words = ["training.train", recipe_file, "--run", tmp_path / "run", "--data", TINY, "--threads", 1]
    done = subprocess.run(
        [
            *(sys.executable, "-m", *map(str, words), "--begin", str(file), "--minutes", "0.02"),
            *("--set", "training.only=separator.head"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert tuple(state["before"]) == (1.5, 12)
    before = read_shipped(str(file))["average"]
    moved = {key for key, weight in state["average"].items() if not torch.allclose(weight, before[key], atol=1e-6)}
    assert moved and moved <= {"separator.head.weight", "separator.head.bias"}
    refused = subprocess.run(
        [sys.executable, "-m", *map(str, words[:4]), "--data", str(TINY), "--begin", str(tmp_path / "no.onnx")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert refused.returncode == 2 and "no.onnx" in refused.stderr and "Traceback" not in refused.stderr
    with pytest.raises(typer.Exit):
        train.main(recipe_file, tmp_path / "run", TINY, change=["training.only=heads"])
