"""Recipes of earlier versions: the same losses to 1e-5, old keys told to whoever passes a file, none inside models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from benchmarks import ablation
from tests.training import songs, tiny
from training.data.song_mixer import RemixSpec
from training.data.speech_mixer import MixSpec
from training.network import Network
from training.recipe import Recipe, parse_recipe, read_recipe
from training.recipe_checks import build_objective, check_recipe
from training.recipe_migration import VERSION, migrated

# Loss, norm of its gradient at the estimates and at the activity logits, of earlier models' recipes on `example` at a
# share of the schedule: computed by the code of version 1.
BEFORE = {
    ("denoise", 0.0): (0.35852161049842834, 4.0340360522291085, 0.00022762705667195342),
    ("denoise-small", 0.0): (-0.04595763981342316, 3.8751699358975418, 0.00022762705667195342),
    ("denoise-small", 0.5): (0.35852161049842834, 4.0340360522291085, 0.00022762705667195342),
    ("karaoke", 0.0): (-4.739591598510742, 0.5406736559014627, 0.008145970742836562),
}
# The same of karaoke's with `free_from: 0.4`, before that.
FREE_LATER = (-4.899181842803955, 0.5587853301372743, 0.008145970742836562)

OLD_SPEECH = """
name: old
target: speech
network: {analysis_window: 512, channels: 12, hidden: 16, dilations: [1, 2, 4], rest: true, kernel: 4, ahead: 2}
data: {mix: {seconds: 1.28}}
objective: {snr: 0.1, noise: 0.3, spectral: 8.0, intelligibility: 1.0, perceptual: 0.1, proxy: metricgan}
training: {cold: 0.3}
"""


OLD = {
    name: (Path(__file__).parents[1] / "data" / f"{name}-{version}.yaml").read_text("utf-8")
    for name, version in (("denoise", 5), ("denoise-small", 1), ("karaoke", 6))
}


def example(recipe: Recipe) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Estimates, sources and activity logits: noise with a beat, leaking; in one of four pieces no voice."""
    spec = recipe.network
    size = int(0.75 * spec.sample_rate) // spec.hop * spec.hop
    generator = torch.Generator().manual_seed(17)
    channels = [2] if spec.audio_channels == 2 else []
    beat = 0.5 + 0.5 * torch.sin(2 * torch.pi * 3 * torch.arange(size) / spec.sample_rate)
    sources = torch.randn(4, 2, *channels, size, generator=generator) * 0.1 * beat
    sources[1, 0] *= 0.2
    sources[3, int(recipe.task == "songs")] = 0
    estimates = 0.8 * sources + 0.15 * sources.flip(1) + 0.01 * torch.randn(sources.shape, generator=generator)
    return estimates, sources, torch.randn(4, size // spec.hop, 2, generator=generator)


def figures(recipe: Recipe, progress: float) -> tuple[float, float, float]:
    objective = build_objective(recipe)
    estimates, sources, activity = example(recipe)
    estimates.requires_grad_(), activity.requires_grad_()
    loss, _ = objective(estimates, sources, objective.due(0, progress), activity)
    loss.backward()
    assert estimates.grad is not None and activity.grad is not None
    return loss.item(), estimates.grad.double().norm().item(), activity.grad.double().norm().item()


@pytest.mark.parametrize(("name", "progress"), BEFORE)
def test_earlier_models_would_train_as_they_did(name: str, progress: float, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = parse_recipe(OLD[name])
    check_recipe(recipe)
    assert capsys.readouterr().err == ""
    assert figures(recipe, progress) == pytest.approx(BEFORE[name, progress], abs=1e-5)


def test_pieces_without_a_voice_count_later_as_they_did() -> None:
    tree = yaml.safe_load(OLD["karaoke"])
    tree["objective"]["free_from"] = 0.4
    recipe = parse_recipe(yaml.safe_dump(tree))
    assert figures(recipe, 0.39) == pytest.approx(FREE_LATER, abs=1e-5)
    assert figures(recipe, 0.4) == pytest.approx(BEFORE["karaoke", 0.0], abs=1e-5)


def test_old_keys_mean_what_they_meant() -> None:
    recipe = parse_recipe(OLD_SPEECH)
    network = recipe.network
    assert (network.residual_source, network.max_lookahead_dilation) == (True, 2)
    assert recipe.training.loss_skip_seconds == 0.3 and recipe.task == "speech"
    assert [(spec.label, spec.weight, spec.start) for spec in recipe.losses] == [
        ("snr speech", 0.1, 0.0),
        ("snr noise", 0.03, 0.0),
        ("compressed_spectrum speech", 8.0, 0.0),
        ("one_minus_estoi speech", 1.0, 0.0),
        ("metricgan speech", 0.1, 0.7),
    ]
    tree = yaml.safe_load(recipe.text)
    assert tree["recipe_version"] == VERSION and tree["network"]["residual_source"] and "objective" not in tree
    assert parse_recipe(recipe.text) == recipe  # what it was migrated to is what it is
    assert Network(network).spec.lookahead == 3 * network.hop


def test_old_keys_of_mixtures_keep_their_places() -> None:
    """What is drawn depends on the order of the kinds: a recipe inside a model must mix what it mixed."""
    tree = yaml.safe_load(OLD["karaoke"])
    given = tree["data"]["mix"]
    mix = parse_recipe(yaml.safe_dump(tree, sort_keys=False)).mix
    assert isinstance(mix, RemixSpec) and mix.formant_shift == given["throat"] == 4.0
    assert list(mix.kinds.items()) == [
        ({"free": "no_vocals", "alone": "vocals_only"}.get(kind, kind), share) for kind, share in given["kinds"].items()
    ]
    tree["data"]["mix"] |= {"throat_share": 0.2, "aside_share": 0.3}
    mix = parse_recipe(yaml.safe_dump(tree)).mix
    assert isinstance(mix, RemixSpec) and (mix.formant_shift_share, mix.pan_share) == (0.2, 0.3)


def test_old_keys_in_a_file_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(OLD_SPEECH, encoding="utf-8")
    recipe = read_recipe(file, ["network.gated=false", "objective.snr=0.2"])
    told = capsys.readouterr().err
    for old, new in (
        ("network.rest", "network.residual_source"),
        ("network.ahead", "network.max_lookahead_dilation"),
        ("network.gated", "network.gate_residual"),
        ("training.cold", "training.loss_skip_seconds"),
    ):
        assert f"{old} is now called {new}" in told
    assert "objective is now losses" in told and told.count("\n") == 5
    assert recipe.losses[0].weight == 0.2
    with pytest.raises(ValueError, match="this recipe has losses"):
        file.write_text(tiny.RECIPE, encoding="utf-8")
        read_recipe(file, ["objective.snr=0.2"])
    (tmp_path / "songs.yaml").write_text(songs.RECIPE, encoding="utf-8")
    assert read_recipe(tmp_path / "songs.yaml").task == "songs"
    assert "data.kind is now called task" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"network": {"rest": True, "residual_source": True}}, "old name of network.residual_source"),
        ({"data": {"mix": {"kinds": {"free": 1, "no_vocals": 1}}}}, "old name of data.mix.kinds.no_vocals"),
        ({"objective": {"snr": 0.1}, "losses": []}, "old form of losses"),
        ({"objective": {"snrs": 0.1}}, "objective has no key snrs"),
        ({"objective": {"snr": "loud"}}, "objective.snr is a number"),
        ({"objective": {"proxy": "dnsmos"}}, "proxy must be one of"),
        ({"objective": [1]}, "objective is a table"),
        ({"recipe_version": 0}, "recipe_version is 1 to"),
    ],
)
def test_what_cannot_be_migrated_is_one_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_recipe(yaml.safe_dump({"name": "old", "target": "speech", **change}))


OLD_IN_VERSION_2 = """
recipe_version: 2
name: old
target: speech
network: {analysis_window: 512, channels: 12, hidden: 16, dilations: [1, 2, 4], filterbank: folded}
data: {mix: {seconds: 1.28, narrow_share: 0.2, odd_no_noise_share: 0.1}}
losses: [{loss: snr, of: [speech, noise]}]
training: {half: true, only: head/output, filterbank: 0.05}
"""


def test_old_keys_of_version_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(OLD_IN_VERSION_2, encoding="utf-8")
    recipe = read_recipe(file, ["training.only=head"])
    told = capsys.readouterr().err
    for old, new in (
        ("training.half", "training.bfloat16"),
        ("training.only", "training.train_only"),
        ("training.filterbank", "training.filterbank_learning_rate_share"),
        ("data.mix.narrow_share", "data.mix.lowpass_share"),
        ("data.mix.odd_no_noise_share", "data.mix.degraded_no_noise_share"),
    ):
        assert f"{old} is now called {new}" in told
    assert told.count("\n") == 6  # the one of the change too
    training, mix = recipe.training, recipe.mix
    assert (training.bfloat16, training.train_only, training.filterbank_learning_rate_share) == (True, "head", 0.05)
    assert isinstance(mix, MixSpec) and (mix.lowpass_share, mix.degraded_no_noise_share) == (0.2, 0.1)
    assert recipe.network.filterbank == "folded"  # the network's keeps its name
    song = {"name": "old", "target": "accompaniment", "task": "songs", "recipe_version": 2}
    song |= {"data": {"mix": {"second_share": 0.4, "narrow_share": 0.3}}}
    remix = parse_recipe(yaml.safe_dump(song)).mix
    assert isinstance(remix, RemixSpec) and (remix.second_stem_share, remix.lowpass_share) == (0.4, 0.3)


def test_migrating_twice_changes_nothing_more() -> None:
    given = yaml.safe_load(OLD_SPEECH)
    once, notes = migrated(given)
    assert notes and given == yaml.safe_load(OLD_SPEECH)  # which is left as it was
    assert migrated(once) == (once, [])


def test_measured_results_outlive_a_rename() -> None:
    """Runs of the ablation were recorded with recipes of version 1, and are still known as those of the cells."""
    runs = ablation.plan(2, 3.0)
    recorded = [run for run in runs if ablation.recorded(run, ablation.RESULTS) is not None]
    assert len(recorded) >= 34 and {"metricgan", "one-mask", "lambda-0.1"} <= {run.cell for run in recorded}
    base = next(run for run in runs if run.name == "base-0")
    assert "objective" in yaml.safe_load(ablation.recorded(base, ablation.RESULTS)["recipe"])  # type: ignore[index]
