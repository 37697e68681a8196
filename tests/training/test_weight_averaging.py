"""Weights between those of two models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from typer import Typer
from typer.testing import CliRunner

from tests.training.songs import GATED
from tests.training.tiny import SMALL
from training import weight_averaging
from training.checkpoints import named_weights
from training.export import difference, export, load_checkpoint, training_amount
from training.network import Network, NetworkSpec

app = Typer()
app.command()(weight_averaging.main)


def checkpoint(file: Path, spec: NetworkSpec, seed: int, hours: float, before: int = 5) -> dict[str, torch.Tensor]:
    """Writes one and returns its weights."""
    torch.manual_seed(seed)
    weights = named_weights(Network(spec))
    text = yaml.safe_dump({"name": file.stem, "target": "speech", "network": spec.to_dict()})
    told = {"recipe": text, "hours": hours, "step": 3, "before": (2.0, before), "trained_on": f"speech: {file.stem}"}
    torch.save({"average": weights} | told, file)
    return weights


def test_a_blend_lies_between_and_can_be_exported(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.pt" for name in ("one", "other", "out")]
    one, other = (checkpoint(file, SMALL, seed, seed + 1.0, 4 + seed) for seed, file in enumerate(files[:2]))
    onnx = export(files[0], tmp_path / "one.onnx")[0]
    for first in (files[0], onnx):  # what is shipped does as well as its checkpoint
        done = CliRunner().invoke(app, [str(first), *map(str, files[1:]), "--share", "0.25"])
        assert done.exit_code == 0, done.output
        network, recipe, state = load_checkpoint(files[2])
        for name, weight in named_weights(network).items():
            assert torch.allclose(weight, 0.75 * one[name] + 0.25 * other[name], atol=1e-5), name
        assert recipe.name == "other" and state["trained_on"] == "speech: other" and training_amount(state) == (4.0, 8)
        assert difference(network, export(files[2], tmp_path / "out.onnx")[0], 0.5) < 1e-4


def test_two_runs_from_one_beginning_count_both(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.pt" for name in ("one", "other", "out")]
    for seed, file in enumerate(files[:2]):
        checkpoint(file, SMALL, seed, seed + 1.0)
    done = CliRunner().invoke(app, [*map(str, files)])
    assert done.exit_code == 0, done.output
    _, _, state = load_checkpoint(files[2])
    assert training_amount(state) == (2.0 + 1.0 + 2.0, 5 + 3 + 3)
    assert state["trained_on"] == "speech: one\nspeech: other"


def test_logits_are_those_of_the_masks_and_of_the_gate(tmp_path: Path) -> None:
    """Nothing else moves, and a model blended with itself has not heard twice as much."""
    files = [tmp_path / f"{name}.pt" for name in ("one", "out")]
    before = checkpoint(files[0], GATED, 0, 1.0)
    words = [str(files[0]), *map(str, files), "--logits", "-0.5", "--gate", "0.8"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    network, _, state = load_checkpoint(files[1])
    assert training_amount(state) == (3.0, 8)
    moved = {name: weight - before[name] for name, weight in state["average"].items()}
    bias = moved.pop("head/output/bias")
    masks = network.head.sizes[0]
    assert torch.allclose(bias[:masks], torch.tensor(-0.5), atol=1e-6)
    assert not bias[masks:-1].any() and bias[-1] == pytest.approx(0.8, abs=1e-6)
    assert not any(change.any() for change in moved.values())
    # The last output is the logit of the vocals, by which they are gated.
    wave = torch.randn(1, 2, 2560, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.no_grad():
        network.head.project.bias[-1] = -100.0
        assert network(wave)[:, 1].abs().max() < 1e-6


def test_what_cannot_be_blended_is_one_sentence(tmp_path: Path) -> None:
    files = [str(tmp_path / f"{name}.pt") for name in ("one", "wider", "out")]
    checkpoint(Path(files[0]), SMALL, 0, 1.0)
    checkpoint(Path(files[1]), replace(SMALL, hidden=SMALL.hidden + 1), 1, 1.0)
    for words, said in (
        ([files[0], files[0], files[2], "--gate", "1"], "no gate"),
        (files, "one architecture"),
        ([files[0], files[0], files[2], "--share", "1.5"], "0 to 1"),
        ([files[0], str(tmp_path / "no.pt"), files[2]], "no checkpoint"),
        ([files[0], files[0], str(tmp_path / "no" / "out.pt")], "no"),
    ):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 2 and said in done.output and not Path(files[2]).exists()
        assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_ends_are_the_models(share: float) -> None:
    torch.manual_seed(0)
    first, second = ({"average": named_weights(Network(SMALL)), "hours": 1.0, "step": 1} for _ in range(2))
    found = weight_averaging.blended(first, second, share)["average"]
    assert all(torch.equal(weight, (first, second)[int(share)]["average"][name]) for name, weight in found.items())
