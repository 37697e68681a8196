"""The tasks of the methods on the tiny recordings: their examples, hand-worked scores, and some steps of training."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor

import rtsep
from tests.training.objectives import objective
from tests.training.songs import stem_folder
from tests.training.tiny import TINY
from training.data.datasets import read_dataset
from training.data.manifest import Row, read_manifest
from training.data.synthetic_noise import generated
from training.losses.event_classifier import EventClassifier
from training.recipe import Recipe, parse_recipe, read_recipe
from training.recipe_checks import check_recipe
from training.run_logger import RunLogger
from training.run_state import RunState
from training.tasks import TASKS, Task
from training.tasks.events import ESC10
from training.tasks.informed_songs import activity_sequence, magnitude_sequence
from training.train import train

METHODS = Path(__file__).parents[2] / "training/recipes/methods"
CACHE = tempfile.TemporaryDirectory()  # recordings are decoded, and rooms simulated, once for all tests
BLACK_BOX = "{loss: black_box, of: speech, weight: 1.0, measure: stoi, every: 2}"
NARROW = ["network.channels=8", "network.analysis_window=768", "training.batch=2", "training.hours=0.002"]


def rows() -> list[Row]:
    """The tiny recordings with everything in both splits, for want of more."""
    known = [row for row in read_manifest(TINY) if row.split != "test"]
    return [replace(row, split=split) for row in known for split in ("train", "valid")]


def recipe(name: str, *changes: str, tmp_path: Path | None = None) -> Recipe:
    """A recipe of a method, narrow and short."""
    text = (METHODS / f"{name}.yaml").read_text("utf-8")
    usual = [
        *(each for each in NARROW if "songs" not in text or "analysis" not in each),
        *([] if "lstm" in text else ["network.hidden=8", "network.dilations=[1, 2]"]),
    ]
    usual += ["data.rooms=2"] if "rooms: 192" in text else []
    usual += [] if "weak-labels" in text or "weakly" in text else ["data.mix.seconds=1.28"]
    return read_recipe(METHODS / f"{name}.yaml", [*usual, *changes])


def task(made: Recipe, known: list[Row] | None = None) -> Task:
    return TASKS[made.task](made, known or rows(), Path(CACHE.name), torch.device("cpu"))


def trained(made: Recipe, folder: Path, known: list[Row] | None = None) -> dict[str, float]:
    """Scores after some steps of `train.py` itself."""
    about = task(made, known)
    console, fabric = Console(stderr=True), Fabric(accelerator="cpu", devices=1)
    folder.mkdir()
    state = RunState(made, "tiny", fabric.device, console)
    with RunLogger(folder, console) as logger:
        scores = train(made, about, folder, state, None, fabric, logger)
    last = json.loads((folder / "log.jsonl").read_text("utf-8").splitlines()[-1])
    assert last["step"] >= 2 and (folder / "checkpoint.pt").exists()
    return scores


@pytest.mark.parametrize(
    "name, changes",
    [
        ("two-speakers", []),
        ("one-and-rest", []),
        ("mixit", ["data.single_share=0.5"]),
        ("adversarial", ["data.labelled=0.6", "losses.critic speech.width=4", "losses.critic noise.width=4"]),
        ("noisy-targets", []),
        ("noisy-targets", ["data.targets=noise2noise"]),
        ("noisy-targets", ["data.targets=bootstrap", "data.teacher=denoise-small"]),
        ("wind", []),
        ("measures", ["losses.quality_net speech=null", f"losses+={BLACK_BOX}"]),
        ("query-by-class", ["network.classes=[rain, chainsaw, helicopter]"]),
    ],
    ids=lambda each: each if isinstance(each, str) else "-".join(each)[:24] or "plain",
)
def test_some_steps(name: str, changes: list[str], tmp_path: Path) -> None:
    made = recipe(name, *changes)
    scores = trained(made, tmp_path / "run")
    assert all(np.isfinite(value) for value in scores.values()) and "si_sdr" in scores
    about, again = task(made), task(made)
    assert torch.equal(about.examples(3, 2), again.examples(3, 2))  # a run goes on to the bit
    assert not torch.equal(about.examples(3, 2), about.examples(4, 2))
    assert about.examples(3, 2).sum(1).abs().max() <= 1.9


def test_two_speakers_by_hand() -> None:
    about = task(recipe("two-speakers"))
    pairs = about.fixed[0]
    power = pairs.square().mean(-1)
    both = (power > 1e-7).all(1)
    references = {"first": pairs[:, 0], "second": pairs[:, 1]}
    swapped = {"first": pairs[:, 1] * 0.5, "second": pairs[:, 0] * 2}
    assert about.scores(swapped, references)["si_sdr"] > 50  # neither order nor scale matters
    silent = dict.fromkeys(references, pairs.sum(1))
    assert both.any() and about.scores(silent, references)["si_sdri"].abs() < 1e-3


def test_one_and_rest_by_hand() -> None:
    """Of three, the one that fits costs nothing (60 dB down), and half of what the rest costs."""
    names, entry = ("first", "second", "third"), {"loss": "one_and_rest", "around": [{"loss": "snr", "ceiling": 60.0}]}
    loss = objective([entry], ("one", "rest"), references=names)
    voices = torch.randn(1, 3, 9600)
    voices = voices / voices.square().mean(-1, keepdim=True).sqrt()
    right = torch.stack([voices[:, 1], voices[:, 0] + voices[:, 2]], 1)
    assert loss(right, voices)[0].item() == pytest.approx(-60 - 60 / 2, abs=0.1)
    half = torch.stack([voices[:, 2], 0 * voices[:, 0]], 1)  # the rest is lost: two thirds of the power
    assert loss(half, voices)[0].item() == pytest.approx(-60 + 10 * np.log10(2 / 3) / 2, abs=0.15)
    alone = voices * torch.tensor([0.0, 1.0, 0.0])[:, None]
    assert loss(torch.stack([voices[:, 1], 0 * voices[:, 1]], 1), alone)[0].item() == pytest.approx(-120, abs=0.1)
    assert loss(torch.stack([0 * voices[:, 1], voices[:, 1]], 1), alone)[0].item() > -5


def test_numbers_of_speakers() -> None:
    about = task(recipe("one-and-rest"))
    counts = (torch.cat([about.examples(step, 4) for step in range(6)]).square().mean(-1) > 1e-8).sum(1)
    assert set(counts.tolist()) <= {0, 1, 2, 3} and len(set(counts.tolist())) >= 2


def test_unlabelled_mixtures_are_of_other_recordings() -> None:
    about = task(recipe("adversarial", "data.labelled=0.6"))
    assert about.others is not None  # type: ignore[attr-defined]
    heard = {row.path for bank in about.mixer.speech.values() for row in bank.rows}  # type: ignore[attr-defined]
    hidden = {row.path for bank in about.others.speech.values() for row in bank.rows}  # type: ignore[attr-defined]
    assert heard and hidden and not heard & hidden
    examples = torch.cat([about.examples(step, 4) for step in range(4)])
    power = examples.square().mean(-1) > 0
    assert not (power[:, 2] & (power[:, 0] | power[:, 1])).any() and power[:, 2].any() and power[:, :2].any()


def test_noisy_targets_by_hand() -> None:
    """Noise2Noise: what is heard is s + n, what is asked for s + n', and the two noises are not the same."""
    made = recipe("noisy-targets", "data.targets=noise2noise")
    clean = task(recipe("noisy-targets", "data.targets=clean")).examples(5, 4)
    found = task(made).examples(5, 2)
    first, second = clean[0::2], clean[1::2]
    assert torch.allclose(found.sum(1), first.sum(1), atol=1e-6)
    assert torch.allclose(found[:, 0], first[:, 0] + second[:, 1], atol=1e-6)
    noisy = task(recipe("noisy-targets")).examples(5, 2)
    assert torch.allclose(noisy[:, 0], first.sum(1), atol=1e-6) and torch.allclose(noisy[:, 1], second[:, 1], atol=1e-6)


def test_bootstrapped_targets_by_hand() -> None:
    """The target is what the teacher makes of the noisy speech; the noise is what it left of the example before."""
    made = task(recipe("noisy-targets", "data.targets=bootstrap", "data.teacher=denoise-small")).examples(5, 3)
    noisy = task(recipe("noisy-targets", "data.targets=clean")).examples(5, 3).sum(1)
    speech = torch.from_numpy(np.stack([rtsep.enhance(each.numpy(), 48000, "denoise-small") for each in noisy]))
    assert torch.allclose(made[:, 0], speech, atol=1e-6)
    assert torch.allclose(made[:, 1], (noisy - speech)[[2, 0, 1]], atol=1e-6)


def test_a_class_is_asked_for() -> None:
    made = recipe("query-by-class", "network.classes=[rain, chainsaw, helicopter]")
    about = task(made)
    conditions = about.conditions(7, 6)
    assert conditions is not None and conditions.shape == (6, 3) and bool((conditions.sum(1) == 1).all())
    pairs = about.fixed[0]
    assert pairs.shape[1] == 2 and len(about.fixed_conditions) == len(about.fixed)
    perfect = about.scores({"event": pairs[:, 0], "rest": pairs[:, 1]}, {"event": pairs[:, 0], "rest": pairs[:, 1]})
    assert perfect["si_sdr"] > 50


def test_anchors_and_probabilities_come_from_a_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = EventClassifier(("chainsaw", "helicopter", "rain"), 48000, width=2)
    torch.save(classifier.packed(), tmp_path / "classifier.pt")
    made = recipe("query-by-class", "network.classes=[rain, chainsaw]", f"data.classifier={tmp_path / 'classifier.pt'}")
    about = task(made)
    conditions = about.conditions(0, 3)
    event = about.examples(0, 3)[:, 0]
    scaled = event / (event.square().mean(-1, keepdim=True).sqrt() * 10 + 1e-6)
    expected = torch.sigmoid(classifier.clip(scaled))[:, [2, 0]]
    assert conditions is not None and torch.allclose(conditions, expected, atol=1e-5)


def test_weak_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources are in the places of their classes, two at a time, and the recipe trains through a classifier."""
    classifier = EventClassifier(("chainsaw", "helicopter", "rain"), 48000, width=2)
    torch.save(classifier.packed(), tmp_path / "classifier.pt")
    changes = ["network.sources=[rain, chainsaw]", "target=rain"]
    entry = f"{{loss: classifier, of: [rain, chainsaw], file: {tmp_path / 'classifier.pt'}}}"
    made = recipe("weak-labels", *changes, f"losses=[{entry}]", "data.mix.seconds=1.28")
    about = task(made)
    examples = about.examples(0, 3)
    there = examples.square().mean(-1) > 0
    assert examples.shape[1] == len(ESC10) and bool((there.sum(1) == 2).all())
    assert there[:, ESC10.index("rain")].all() and there[:, ESC10.index("chainsaw")].all()
    scores = trained(made, tmp_path / "run")
    assert np.isfinite(scores["si_sdr"])


def test_wind_lies_low_and_comes_in_gusts() -> None:
    """The measured thing about wind: most of its energy lies under 500 Hz, and its level swings."""
    sound = generated("wind", np.random.default_rng(0), 8, 48000 * 2, 48000)
    power = torch.fft.rfft(sound).abs().square()
    low = power[:, : 500 * 2].sum(1) / power.sum(1)
    assert bool((low > 0.9).all())
    level = 10 * sound.unflatten(-1, (20, -1)).square().mean(-1).log10()
    assert bool((level.amax(1) - level.amin(1) > 6).float().mean() > 0.7)
    mixed = task(recipe("wind")).examples(0, 4)
    assert mixed.shape[1] == 2


def test_side_sequences_by_hand() -> None:
    """A voice in the second half: active there, and a tone of 2 kHz in the band that holds it."""
    rate, samples = 48000, 48000
    voice = torch.zeros(2, samples)
    voice[:, samples // 2 :] = torch.sin(2 * torch.pi * 2000 * torch.arange(samples // 2) / rate)
    activity = activity_sequence(voice, 10, 2).view(2, 10, 2)
    assert activity[:, :2, 0].sum() == 0 and activity[:, 5:, 0].eq(1).all()
    assert torch.equal(activity.sum(-1), torch.ones(2, 10))
    bands = magnitude_sequence(voice, 10, 9, rate).view(2, 10, 9)
    assert bands[:, :, 0].eq(1).all() and bool((bands[:, 7, 1:].argmax(-1) - 2 <= 0).all())
    assert bands[:, 1, 1:].sum() < 0.01 * bands[:, 8, 1:].sum()
    with pytest.raises(ValueError, match="side_width of 2"):
        activity_sequence(voice, 10, 3)


def test_informed_songs(tmp_path: Path) -> None:
    stems = stem_folder(tmp_path / "stems", ("a", "b", "c", "d"), 3.0)
    known = read_dataset(f"stems={stems}", 1.0)
    known = [replace(row, split=split) for row in known for split in ("train", "valid")]
    changes = ["network.side_frames=8", "data.mix.seconds=1.28", "network.layers=1"]
    made = recipe("weakly-informed", *changes)
    about = task(made, known)
    side = about.conditions(0, 2)
    assert isinstance(side, Tensor) and side.shape == (2, 16)
    nothing = task(recipe("weakly-informed", *changes, "data.side=constant"), known).conditions(0, 2)
    assert isinstance(nothing, Tensor) and torch.equal(nothing, torch.ones(2, 16))
    scores = trained(made, tmp_path / "run", known)
    assert np.isfinite(scores["loss"])
    plain = recipe(
        "weakly-informed",
        "network.condition=''",
        "network.side_frames=0",
        "network.side_width=0",
        "data.mix.seconds=1.28",
    )
    assert task(plain, known).conditions(0, 2) is None


def test_a_side_sequence_of_another_length_and_place(tmp_path: Path) -> None:
    """Of 8 frames 4 to 8 are told, in one piece anywhere: what the vocals do, in so many frames."""
    stems = stem_folder(tmp_path / "stems", ("a", "b", "c", "d"), 3.0)
    known = [replace(row, split=split) for row in read_dataset(f"stems={stems}", 1.0) for split in ("train", "valid")]
    changes = ["network.side_frames=8", "data.mix.seconds=1.28", "network.layers=1", "data.side_room=0.5"]
    about = task(recipe("weakly-informed", *changes), known)
    spans = set()
    for step in range(6):
        songs, sides = about.examples(step, 2), about.conditions(step, 2)
        vocals = songs[:, 1].mean(1) / songs.sum(1).square().flatten(1).mean(1).sqrt()[:, None]
        for wave, side in zip(vocals, sides.view(2, 8, 2), strict=True):
            told = side.sum(-1).nonzero().flatten().tolist()
            assert 4 <= len(told) <= 8 and told == list(range(told[0], told[-1] + 1))
            assert torch.equal(side[told].flatten(), activity_sequence(wave[None], len(told), 2)[0])
            spans.add((told[0], len(told)))
    assert len({begin for begin, _ in spans}) > 1 and len({length for _, length in spans}) > 1
    assert torch.equal(about.conditions(3, 2), about.conditions(3, 2))
    assert all(torch.equal(*each) for each in zip(about.valid_conditions(), about.fixed_conditions, strict=True))


def test_songs(tmp_path: Path) -> None:
    stems = stem_folder(tmp_path / "stems", ("a", "b", "c", "d"), 3.0)
    known = [replace(row, split=split) for row in read_dataset(f"stems={stems}", 1.0) for split in ("train", "valid")]
    made = recipe("open-unmix", "network.layers=1", "data.mix.seconds=1.28", "network.features=16")
    scores = trained(made, tmp_path / "run", known)
    assert np.isfinite(scores["loss"]) and "sdr" in scores


@pytest.mark.parametrize(
    "name, change, said",
    [
        ("adversarial", "data.labelled=2", "shares, 0 to 1"),
        ("noisy-targets", "data.targets=dirty", "data.targets is one of"),
        ("noisy-targets", "data.targets=bootstrap", "data.teacher names the model"),
        ("weakly-informed", "data.side=smell", "data.side is one of"),
        ("weakly-informed", "data.side_room=1", "a share of the side frames"),
        ("two-speakers", "data.labelled=0.5", "data has no key labelled"),
    ],
)
def test_what_a_task_refuses(name: str, change: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        recipe(name, change)


def test_a_condition_that_the_task_lacks_is_refused() -> None:
    tree = yaml.safe_load((METHODS / "wind.yaml").read_text("utf-8"))
    tree["network"] |= {"condition": "film", "classes": ["a", "b"]}
    with pytest.raises(ValueError, match=r"network\.condition is none in the task speech"):
        check_recipe(parse_recipe(yaml.safe_dump(tree)))
