"""Every network of the methods' rows, at its full size: it exports, and its streams keep what must hold."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import rtsep
from benchmarks.methods import CLASSIFIER, CODEC, RECIPES, ROWS, read_unchecked, recipe_of
from tests.streams import in_pieces, noise
from training.checkpoints import named_weights
from training.export import export
from training.losses.codec import CodecNetwork
from training.losses.event_classifier import EventClassifier
from training.network import Network
from training.tasks.events import ESC10

CUTS = [1, 130, 131, 1000, 5003, 12000]


def networks() -> dict[str, list[str]]:
    """Rows by the first of those that have the same network: many differ in what they learn from alone."""
    alike: dict[Any, list[str]] = {}
    for name, row in ROWS.items():
        usual = read_unchecked(RECIPES / f"{row.recipe}.yaml").network.to_dict()
        changes = [each for each in row.changes if each.startswith("network.")]
        alike.setdefault(repr((usual, changes)), []).append(name)
    return {names[0]: names for names in alike.values()}


def test_every_recipe_is_among_them() -> None:
    names = list(chain(*networks().values()))
    assert {ROWS[name].recipe for name in names} == {file.stem for file in RECIPES.glob("*.yaml")}


@pytest.mark.parametrize("name", networks())
def test_its_stream(name: str, tmp_path: Path) -> None:
    torch.save(EventClassifier(ESC10, 48000, width=2).packed(), tmp_path / CLASSIFIER)
    torch.save(CodecNetwork(4, 2).packed("opus", 16), tmp_path / CODEC)
    recipe = recipe_of(name, 0.01, tmp_path)
    torch.manual_seed(0)
    network = Network(recipe.network).eval().requires_grad_(False)
    for weight in network.parameters():
        weight.add_(torch.randn_like(weight) * 0.02)  # all do something
    state = {"average": named_weights(network), "recipe": recipe.text, "hours": 1.0, "step": 1, "trained_on": "nothing"}
    torch.save(state, tmp_path / "checkpoint.pt")
    model = rtsep.load(export(tmp_path / "checkpoint.pt", tmp_path / "step.onnx")[0])
    spec = model.spec
    told = np.random.default_rng(1).random(spec.condition).astype(np.float32) if spec.condition else None
    x = noise(120 * spec.hop, *([2] if spec.channels == 2 else []), level=0.1)

    def streamed(sound: NDArray[np.float32], cuts: list[int]) -> NDArray[np.float32]:
        """All sources, aligned with the sound."""
        stream = model.stream(channels=spec.channels, condition=told)
        made = [in_pieces(stream, sound, cuts, sources=True), stream.flush(sources=True)]
        return np.concatenate(made, 1)[:, stream.latency :]

    whole = streamed(x, [])
    condition = None if told is None else torch.from_numpy(told)[None]
    sequence = network(torch.from_numpy(x.T.copy())[None], condition)[0].numpy()
    assert model.stream(channels=spec.channels).latency + 1 == spec.algorithmic_latency
    assert np.abs(whole).max() > 1e-3 and np.abs(whole - np.moveaxis(sequence, -1, 1)).max() < 1e-4
    assert np.array_equal(streamed(x, CUTS), whole)
    later = x.copy()
    later[9000:] = noise(*later[9000:].shape, seed=2, level=0.5)
    known = 9000 - spec.algorithmic_latency + 1
    assert np.array_equal(streamed(later, [])[:, :known], whole[:, :known])
    assert not streamed(np.zeros_like(x), []).any()
    bad = x.copy()
    bad[1000:2000], bad[2000:2100], bad[3000:5000] = np.nan, np.inf, np.sign(x[3000:5000])
    assert np.isfinite(streamed(bad, [])).all()
