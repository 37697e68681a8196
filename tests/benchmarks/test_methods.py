"""The benchmark of the methods: its rows can be trained, its figures are right, and what is done is not done again."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks import methods
from benchmarks.method_scores import (
    MEASURES,
    best_sum,
    instrument_scores,
    low_in_pauses,
    score_examples,
    sdr,
    voices_scores,
)
from benchmarks.methods import CLASSIFIER, CODEC, COMPARISONS, ROWS, Comparison, direction, recipe_of
from tests.training.songs import stem_folder
from tests.training.stems import instrument_folder
from tests.training.test_method_tasks import recipe as narrow_recipe
from tests.training.test_method_tasks import task as task_of
from tests.training.tiny import TINY
from training.checkpoints import named_weights
from training.data.datasets import read_dataset
from training.data.manifest import read_manifest
from training.export import export
from training.losses.codec import CodecNetwork
from training.losses.event_classifier import EventClassifier
from training.network import Network
from training.recipe_checks import check_recipe
from training.tasks.events import ESC10

DOCUMENT = Path(__file__).parents[2] / "docs" / "methods.md"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    torch.save(EventClassifier(ESC10, 48000, width=2).packed(), tmp_path / CLASSIFIER)
    torch.save(CodecNetwork(4, 2).packed("opus", 16), tmp_path / CODEC)
    return tmp_path


@pytest.mark.parametrize("name", ROWS)
def test_a_row_can_be_trained(name: str, work: Path) -> None:
    recipe = recipe_of(name, 0.01, work)
    check_recipe(recipe)
    steps = 0.01 * 3600 / (recipe.training.batch * recipe.mix.seconds)
    assert recipe.training.hours == 0.01 and recipe.training.warmup_steps <= max(1, steps / 10)
    assert len({methods.stamp(other, 0.01) for other in ROWS}) == len(ROWS)


def test_every_row_is_compared_and_documented() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert set(ROWS) == {name for each in COMPARISONS.values() for name in each.rows}
    for comparison in COMPARISONS.values():
        assert set(comparison.measures) <= set(MEASURES) and set(comparison.reported) <= set(comparison.rows)
        assert not comparison.reported or comparison.measure in comparison.measures
    missing = [name for name in ROWS if f"`{name}`" not in text]
    assert not missing, missing


def test_directions_by_hand() -> None:
    comparison = Comparison(("a", "b", "c", "d"), ("sdr",), "sdr", {"a": 5.0, "b": 6.0, "c": 4.0}, "x")
    scores = {name: {"sdr": value} for name, value in {"a": 1.0, "b": 2.0, "c": 3.0, "d": 0.0}.items()}
    found = {name: direction(comparison, scores, name) for name in "abcd"}
    assert found == {"a": "", "b": "as reported", "c": "differs in direction", "d": ""}
    assert direction(comparison, {"a": scores["a"]}, "b") == ""


def test_what_is_left_of_wind_in_pauses_by_hand() -> None:
    """Speech in the first half; in the second a 100 Hz wind is left at a tenth (−20 dB), beside a louder 2 kHz."""
    rate, time = 48000, np.arange(96000) / 48000
    speech = np.where(time < 1, np.sin(2 * np.pi * 300 * time), 0).astype(np.float32)
    low, high = (np.sin(2 * np.pi * hertz * time).astype(np.float32) for hertz in (100, 2000))
    found = low_in_pauses(speech + 0.1 * low + 3 * high, speech + low, speech, rate)
    assert found == pytest.approx(-20, abs=0.5)
    assert math.isnan(low_in_pauses(speech, speech, np.ones_like(speech), rate))


def test_sdr_by_hand() -> None:
    one = np.ones(100, np.float32)
    assert sdr(one, 0.9 * one) == pytest.approx(20, abs=1e-3) and sdr(one, 2 * one) == pytest.approx(0, abs=1e-6)


def test_the_best_sum() -> None:
    draw = np.random.default_rng(0).standard_normal
    parts = {name: draw(4000).astype(np.float32) for name in "abcd"}
    assert np.array_equal(best_sum(parts, parts["a"] + parts["c"]), parts["a"] + parts["c"])


@pytest.mark.parametrize(
    "name, changes, measures",
    [
        ("one-and-rest", [], {"si_sdr", "counted"}),
        ("two-speakers", [], {"si_sdr", "si_sdri", "sir"}),
        ("mixit", [], {"si_sdr", "si_sdri"}),
        ("adversarial", ["data.labelled=0.6"], {"sdr", "pes", "pesq_wb", "low_in_pauses"}),
        ("query-by-class", ["network.classes=[rain, chainsaw, helicopter]"], {"sdr", "sir", "precision"}),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_task_is_scored(name: str, changes: list[str], measures: set[str], tmp_path: Path) -> None:
    """An untrained network through rtsep: every measure of the task's table has a value, and no other."""
    made = narrow_recipe(name, *changes)
    about = task_of(made)
    torch.manual_seed(0)
    state = {"average": named_weights(Network(made.network)), "recipe": made.text}
    torch.save(state | {"hours": 0.0, "step": 0, "trained_on": "nothing"}, tmp_path / "checkpoint.pt")
    found, count = score_examples(about, export(tmp_path / "checkpoint.pt", tmp_path / "m.onnx")[0], 2)
    assert count >= 1
    assert all(found[measure] is not None for measure in measures - {"pes", "pesq_wb", "low_in_pauses"}), found
    assert ("counted" in measures) == (found["counted"] is not None) and found["binary_sdr"] is None


def test_a_song_is_scored(tmp_path: Path) -> None:
    stems = stem_folder(tmp_path / "stems", ("a", "b", "c", "d"), 3.0)
    known = [replace(row, split=split) for row in read_dataset(f"stems={stems}", 1.0) for split in ("train", "valid")]
    made = narrow_recipe("weakly-informed", "network.side_frames=8", "data.mix.seconds=1.28", "network.layers=1")
    about = task_of(made, known)
    torch.manual_seed(0)
    state = {"average": named_weights(Network(made.network)), "recipe": made.text}
    torch.save(state | {"hours": 0.0, "step": 0, "trained_on": "nothing"}, tmp_path / "checkpoint.pt")
    found, count = score_examples(about, export(tmp_path / "checkpoint.pt", tmp_path / "m.onnx")[0], 1)
    assert count == 1 and found["sdr"] is not None and found["input_sdr"] is not None
    assert found["binary_sdr"] is not None and found["binary_sdr"] > found["input_sdr"]


def test_voices_are_scored_by_their_number_by_hand() -> None:
    """Two voices, a hundredth of the other left in each: 40 dB, and both found; of three only two are found."""
    draw = np.random.default_rng(0).standard_normal
    one, two, three = (draw(16000).astype(np.float32) * 0.1 for _ in range(3))
    made = {"source-1": two + 0.01 * one, "source-2": one + 0.01 * two}
    found = voices_scores({"first": one, "second": two}, made, 16000)
    assert found["si_sdr_2"] == found["si_sdr"] == pytest.approx(40, abs=0.3)
    assert found["counted_2"] == found["counted"] == 1
    assert not {"si_sdr_1", "counted_1", "si_sdr_3", "counted_3"} & set(found)
    missed = voices_scores({"first": one, "second": two, "third": three}, made, 16000)
    assert missed["counted_3"] == missed["counted"] == 0 and "counted_2" not in missed
    assert voices_scores({}, made, 16000) == {}


def test_instruments_are_scored_by_hand() -> None:
    """Drums and bass as they are but for a hundredth of the other; strings do not sound, and a thousandth is left."""
    draw = np.random.default_rng(0).standard_normal
    rate = 16000
    drums, bass = (draw(4 * rate).astype(np.float32) * 0.1 for _ in range(2))
    strings = np.zeros_like(drums)
    truth = {"drums": drums, "bass": bass, "strings": strings}
    made = {"drums": drums + 0.01 * bass, "bass": bass + 0.01 * drums, "strings": (drums + bass) / 1000}
    found = instrument_scores(truth, made, rate)
    assert found["sdr"] == pytest.approx(40, abs=0.3) and found["si_sdr"] == pytest.approx(40, abs=0.3)
    assert found["input_sdr"] == pytest.approx(0, abs=0.1) and found["binary_sdr"] > 2
    energy = 2 * 0.1**2 * rate / 1000**2  # of a second
    assert found["pes"] == pytest.approx(10 * np.log10(energy), abs=0.1) and "eps" not in found
    soft = instrument_scores(
        truth | {"keys": drums / 100}, made | {"keys": drums}, rate
    )  # neither sounds nor is silent
    assert soft["pes"] == pytest.approx(found["pes"], abs=0.1) and soft["si_sdr"] > 35
    assert instrument_scores({"drums": drums, "bass": strings}, {"drums": drums, "bass": bass}, rate) == {}


def test_instruments_are_scored(tmp_path: Path) -> None:
    known = read_manifest(instrument_folder(tmp_path, noise=0.02))
    made = narrow_recipe("instrument-activity", "network.activity_median=5")
    about = task_of(made, known)
    torch.manual_seed(0)
    state = {"average": named_weights(Network(made.network)), "recipe": made.text}
    torch.save(state | {"hours": 0.0, "step": 0, "trained_on": "nothing"}, tmp_path / "checkpoint.pt")
    found, count = score_examples(about, export(tmp_path / "checkpoint.pt", tmp_path / "m.onnx")[0], 1)
    assert count == 1
    assert {name for name, value in found.items() if value is not None} >= {"sdr", "sir", "sar", "si_sdri", "pes"}
    assert (
        found["binary_sdr"] is not None and found["input_sdr"] is not None and found["binary_sdr"] > found["input_sdr"]
    )


def test_a_row_of_a_dataset_beside_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stems = instrument_folder(tmp_path, noise=0.02)
    narrow = ("network.channels=8", "network.hidden=8", "network.dilations=[1, 2]", "data.mix.seconds=1.28")
    monkeypatch.setitem(ROWS, "instrument-activity", methods.Row("instrument-activity", (*narrow, "training.batch=2")))
    monkeypatch.chdir(tmp_path)  # a path is that of who gives it
    app = typer.Typer()
    app.command()(methods.main)
    options = ["instrument-activity", "--run", "--data", str(TINY), "--hours", "0.002", "--clips", "1"]
    options += ["--dataset", f"manifest={stems.relative_to(tmp_path)}", "--results", "results", "--work", "work"]
    ran = CliRunner().invoke(app, options)
    assert ran.exit_code == 0, ran.output
    found = json.loads((tmp_path / "results/0.002h/instrument-activity.json").read_text("utf-8"))
    assert found["steps"] == 3 and math.isfinite(found["scores"]["sdr"]) and "made stems" in ran.output


def test_a_row_on_a_tiny_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained by train.py, exported, scored by rtsep; then printed, and not trained again."""
    from training.tasks import speech

    monkeypatch.setattr(speech, "VALID_SIZE", 3)
    narrow = ("network.channels=8", "network.hidden=8", "network.dilations=[1, 2]", "data.mix.seconds=1.28")
    narrow += ("data.rooms=2", "training.batch=2")
    row = methods.plain(*narrow)
    monkeypatch.setitem(ROWS, "supervised-speech", row)
    app = typer.Typer()
    app.command()(methods.main)
    options = ["supervised-speech", "--hours", "0.002", "--results", str(tmp_path / "results"), "--clips", "3"]
    ran = CliRunner().invoke(app, [*options, "--run", "--data", str(TINY), "--work", str(tmp_path / "work")])
    assert ran.exit_code == 0, ran.output
    file = tmp_path / "results" / "0.002h" / "supervised-speech.json"
    found = json.loads(file.read_text("utf-8"))
    assert found["budget_hours"] == 0.002 and found["steps"] == 3 and found["examples"] >= 1
    assert math.isfinite(found["scores"]["si_sdr"]) and str(tmp_path) not in file.read_text("utf-8")
    assert "supervised-speech" in ran.output and "Separators" in ran.output
    before = file.stat().st_mtime_ns
    monkeypatch.setattr(methods, "perform", lambda *_: pytest.fail("it was there"))
    again = CliRunner().invoke(app, [*options, "--run", "--data", str(TINY), "--work", str(tmp_path / "work")])
    assert again.exit_code == 0 and file.stat().st_mtime_ns == before
    monkeypatch.setitem(ROWS, "supervised-speech", methods.plain(*narrow, "training.seed=2"))
    assert methods.recorded("supervised-speech", 0.002, tmp_path / "results") is None


def test_a_shipped_model_is_scored_on_the_examples_of_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained; with other weights the result counts no more."""
    from training.tasks import speech

    monkeypatch.setattr(speech, "VALID_SIZE", 3)
    changes = ("data.mix.seconds=1.28", "data.rooms=2")
    monkeypatch.setitem(ROWS, "wind-denoise", methods.Row("wind", changes, shipped="denoise-small"))
    app = typer.Typer()
    app.command()(methods.main)
    words = ["wind-denoise", "--run", "--data", str(TINY), "--work", str(tmp_path / "work"), "--clips", "2"]
    ran = CliRunner().invoke(app, [*words, "--results", str(tmp_path / "results")])
    assert ran.exit_code == 0, ran.output
    found = methods.recorded("wind-denoise", 1.0, tmp_path / "results")
    assert found and found["model"] == "denoise-small" and "steps" not in found
    assert math.isfinite(found["scores"]["si_sdr"])
    monkeypatch.setitem(ROWS, "wind-denoise", methods.Row("wind", changes, shipped="denoise"))
    assert methods.recorded("wind-denoise", 1.0, tmp_path / "results") is None


def test_what_it_refuses() -> None:
    app = typer.Typer()
    app.command()(methods.main)
    assert "There is no row nonsense" in CliRunner().invoke(app, ["nonsense"]).output
    assert "--run needs --data" in CliRunner().invoke(app, ["wind", "--run"]).output
