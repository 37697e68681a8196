"""Recipes are read, changed, and refused with one sentence where they would train in vain."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.training import songs, tiny
from training.network import Network
from training.recipe import parse_recipe, read_recipe
from training.recipe_checks import build_objective, check_recipe

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "training/recipes").glob("*.yaml"))


def test_changes_and_numbers(recipe_file: Path) -> None:
    changed = read_recipe(recipe_file, ["training.batch=7", "network.filterbank=short"])
    assert changed.training.batch == 7 and changed.network.filterbank == "short"
    assert parse_recipe(changed.text) == changed
    for written, meant in (("8e-4", 8e-4), ("5e0", 5.0), ("1.5e-3", 1.5e-3), (".1e-2", 1e-3), ("1", 1)):
        assert read_recipe(recipe_file, [f"training.learning_rate={written}"]).training.learning_rate == meant


def test_changes_of_losses(recipe_file: Path) -> None:
    changes = ["losses.snr speech.weight=0.2", "losses.snr noise=null", "losses+={loss: si_sdr, of: noise, every: 4}"]
    losses = {spec.label: spec for spec in read_recipe(recipe_file, changes).losses}
    assert losses["snr speech"].weight == 0.2 and "snr noise" not in losses and losses["si_sdr noise"].every == 4
    (only,) = read_recipe(recipe_file, ["losses=[{loss: snr, of: [speech, noise]}]"]).losses
    assert only.of == ("speech", "noise")


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_recipes_are_of_today(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = read_recipe(file)
    assert capsys.readouterr().err == "" and "recipe_version: 3" in recipe.text
    assert Network(recipe.network).decoder.masked_pairs > 0


# Each with a part of the sentence that refuses it.
WRONG = {
    # sources, target
    "network.sources=[speech, noise, music]": "mixtures of the task speech hold speech, noise only",
    "network.sources=[speech, hum]": "holds hum; mixtures of the task speech",
    "network.sources=[speech, speech]": "each once",
    "network.sources=[speech]": "snr noise: the network puts out speech and no noise",
    "network.sources=[noise]": "scored by its speech",
    "network.sources=[]": "each once",
    "target=music": "target is one of network.sources, speech, noise, not music",
    "target=": "needs a target",
    "task=songs": "holds speech; mixtures of the task songs",
    "task=singing": "task must be one of speech, songs",
    "network.audio_channels=2": "audio_channels is 1 in the task speech",
    # what no loss reaches
    "losses.snr noise=null": "No loss reaches the source noise",
    "network.activity=true": "No loss reaches the activity head",
    "losses=[]": "has no losses",
    "losses=[{loss: snr, of: [speech, noise], from: 0.5}]": "must count in every step",
    "losses=[{loss: snr, of: [speech, noise], every: 2}]": "must count in every step",
    # keys that change nothing
    "network.filter_frames=4": "filter_frames changes nothing, because network.filter_bins is 0",
    "data.copies=[{codec: mp3}]": "data has no key copies",
    "losses+={loss: activity}": "needs a network that has an activity head",
    "losses+={loss: snr, of: speech, name: x, where_until: 0.3}": "goes with a source",
    # keys that there are not, at every level
    "colour=blue": "The recipe has no key colour",
    "network.chanels=12": "chanels",
    "training.colour=blue": "training has no key colour",
    "data.colour=blue": "data has no key colour",
    "data.mix.second=1.28": "data.mix has no key second; do you mean seconds?",
    "losses.snr speech.cieling=30": "The loss snr has no key cieling; do you mean ceiling?",
    "losses+={loss: loudness, of: speech}": "There is no loss loudness",
    "losses+={of: speech}": "names its loss",
    "losses.sdr speech.weight=1": "the losses are snr speech",
    "recipe_version=4": "a newer one needs a newer rtsep",
    "recipe_version=new": "recipe_version is 1 to 3",
    # duplicates
    "losses+={loss: snr, of: speech}": "holds snr speech twice",
    "losses+={loss: si_sdr, of: [speech, speech]}": "each once",
    # values
    "training.learning_rate=fast": "training.learning_rate is a number, not 'fast'",
    "training.learning_rate=.nan": "training.learning_rate is a number, not nan",
    "training.hours=.inf": "training.hours is a number, not inf",
    "training.hours=0": "training.hours is a number above 0",
    "training.batch=true": "training.batch is a number, not True",
    "training.batch=2.5": "training.batch is a whole number",
    "training.compile=7": "training.compile is true or false",
    "training.ema=1": "training.ema is the share",
    "data.rooms=many": "data.rooms is a number",
    "data.mix.seconds=[1, 2]": "data.mix.seconds is a number",
    "data.mix.snr=[1]": "data.mix.snr is a range of 2 numbers",
    "data.mix.snr=7": "data.mix.snr is a list",
    "data.mix.snr=[1, loud]": "data.mix.snr is a number, not 'loud'",
    "data.mix.noise_kinds={recorded: much}": "data.mix.noise_kinds.recorded is a number",
    "data.speech_corpora=[kathleen]": "data.speech_corpora is a table",
    "network=wide": "network is a table",
    "network.filterbank=wavelet": "filterbank must be one of",
    "losses.snr speech.weight=heavy": "weight of snr speech is a number, not 'heavy'",
    "losses.snr speech.weight=.nan": "weight of snr speech is a number, not nan",
    "losses.snr speech.weight=0": "weight of snr speech is a number above 0",
    "losses.snr speech.from=70": "from of snr speech is a share of the schedule",
    "losses.snr speech.every=0": "every of snr speech is a number of steps",
    "losses.snr speech.where=music": "where names a source",
    "losses.snr speech.stretch=-1": "snr speech: stretch is a number of seconds",
    "losses.compressed_spectrum speech.windows=[33]": "even numbers of samples",
    "losses.compressed_spectrum speech.overlap=0.3": "overlap leaves a whole number of hops",
    "losses.snr speech.of=5": "of is a source or a list of sources",
    "losses={loss: snr}": "losses is a list of losses",
    "losses+={loss: snr}": "needs a source",
    "losses+={loss: consistency, of: speech}": "takes no source",
    "losses+={loss: vocal_interference, of: speech}": "has no use for vocal_interference",
    "training.loss_skip_seconds=1.28": "loss_skip_seconds is a part of a piece",
    "training.loss_skip_seconds=1": "one_minus_estoi needs pieces of 0.38 s",
    "training": "a change is PLACE=VALUE",
}


@pytest.mark.parametrize("change", WRONG)
def test_what_is_wrong_is_one_sentence(change: str, recipe_file: Path) -> None:
    with pytest.raises(ValueError) as told:
        read_recipe(recipe_file, [change])
    sentence = str(told.value)
    assert WRONG[change] in sentence and "\n" not in sentence


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("losses+={loss: pesq_proxy, of: vocals}", "has no use for pesq_proxy"),
        ("losses+={loss: consistency}", "whose sum is free"),
        (
            "losses+={loss: vocal_interference, of: accompaniment, against: drums, name: b}",
            "against one of the sources",
        ),
        ("network.audio_channels=3", "audio_channels must be 1 or 2"),
        ("data.mix.voice_semitones=high", "voice_semitones is a number"),
        ("data.mix.formant_shift_share=0.2", "formant_shift_share changes nothing"),
        ("data.mix.kinds={opera: 1}", "kinds of song mixtures"),
        ("data.copies=[{codec: wma}]", "codec must be one of"),
        ("data.copies=[{speed: 2}]", "data.copies has no key speed"),
    ],
)
def test_what_is_wrong_with_songs_is_one_sentence(change: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "songs.yaml").write_text(songs.RECIPE, encoding="utf-8")
    with pytest.raises(ValueError, match=sentence):
        read_recipe(tmp_path / "songs.yaml", [change])


def test_a_key_that_stands_twice_is_told(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text(tiny.RECIPE + "name: again\n", encoding="utf-8")
    with pytest.raises(ValueError, match="holds name twice"):
        read_recipe(tmp_path / "twice.yaml")
    for text in ("", "- a\n- b\n", "name: [\n"):
        (tmp_path / "twice.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError):
            read_recipe(tmp_path / "twice.yaml")


def test_pesq_needs_its_rates(recipe_file: Path) -> None:
    changes = ["network.sample_rate=44100", "losses+={loss: pesq_proxy, of: speech, from: 0.5}"]
    with pytest.raises(ValueError, match="pesq_proxy speech: The PESQ proxy works at 16000 or 48000 Hz"):
        read_recipe(recipe_file, changes)


def accepted() -> dict[str, str]:
    """Texts of recipes small enough to run: every head, every kind of outputs."""
    activity = "  - {loss: activity, weight: 0.1}\n"
    speech, noise = tiny.RECIPE, "  - {loss: snr, of: noise, weight: 0.03}\n"
    made = {
        "speech": speech,
        "one source": speech.replace("network: {", "network: {sources: [speech], ").replace(noise, ""),
        "activity": speech.replace("network: {", "network: {activity: true, ").replace(
            "losses:\n", "losses:\n" + activity
        ),
        "residual": speech.replace("network: {", "network: {residual_source: true, ").replace(noise, ""),
        "sum to one": speech.replace("network: {", "network: {masks: sum_to_one, "),
        "songs": songs.RECIPE,
        "mono songs": songs.RECIPE.replace("audio_channels: 2", "audio_channels: 1"),
    }
    return made


@pytest.mark.parametrize("name", accepted())
def test_every_output_has_a_gradient(name: str) -> None:
    """Of every recipe that is accepted: by autograd, not by what the recipe says."""
    recipe = parse_recipe(accepted()[name])
    check_recipe(recipe)
    torch.manual_seed(0)
    network, objective = Network(recipe.network), build_objective(recipe)
    spec = recipe.network
    channels = [2] if spec.audio_channels == 2 else []
    sources = torch.randn(2, 2, *channels, spec.hop * 200) * 0.1
    estimates, activity, _ = network.estimate(sources.sum(1))
    estimates.retain_grad()
    if activity.shape[-1]:
        activity.retain_grad()
    objective(estimates, sources, objective.due(0, 0.0), activity)[0].backward()
    assert estimates.grad is not None
    for index, source in enumerate(spec.sources):
        if not (name == "residual" and source == "noise"):  # what the speech leaves: the speech is learnt
            assert estimates.grad[:, index].abs().sum() > 0, source
    if spec.activity:
        assert activity.grad is not None and (activity.grad.abs().sum((0, 1)) > 0).all()
    for parameter, weight in network.named_parameters():
        assert weight.grad is not None and math.isfinite(weight.grad.abs().sum()), parameter


def test_what_is_refused_has_no_gradient(recipe_file: Path) -> None:
    """The check tells the truth: what it refuses would learn nothing."""
    recipe = read_recipe(recipe_file)
    broken = parse_recipe(
        recipe.text.replace("of: noise", "of: speech").replace("weight: 0.03", "weight: 0.03\n  name: b")
    )
    with pytest.raises(ValueError, match="No loss reaches the source noise"):
        check_recipe(broken)
    sources = torch.randn(2, 2, 128 * 200) * 0.1
    estimates = (0.5 * sources).requires_grad_()
    build_objective(broken)(estimates, sources)[0].backward()
    assert estimates.grad is not None and not estimates.grad[:, 1].any() and estimates.grad[:, 0].any()
