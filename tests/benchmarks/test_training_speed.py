"""benchmarks.training_speed on the tiny recipe: every part of a step is under the clock, and the sums are right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks import training_speed
from benchmarks.training_speed import EVERY, Stopwatch
from tests.training.tiny import RECIPE, TINY


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    return file


def run(*words: object) -> object:
    app = typer.Typer()
    app.command()(training_speed.main)
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(word) for word in words])


def test_the_parts_of_a_step_add_up(recipe_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    losses = "{loss: snr, of: [speech, noise], weight: 0.1}, {loss: pesq_proxy, of: speech, weight: 0.1, from: 0.5}"
    done = run(recipe_file, "--data", TINY, "--steps", "2", "--json", out, "--set", f"losses=[{losses}]")
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    parts = found["parts"]
    assert set(parts) == set(training_speed.PARTS) and all(seconds > 0 for seconds in parts.values())
    assert found["audio_seconds"] == pytest.approx(2 * 1.28)
    assert parts["late losses"] > parts["losses"]
    early = sum(seconds for part, seconds in parts.items() if part != "late losses")
    mean = early + 0.5 * (parts["late losses"] - parts["losses"]) + found["validation_seconds"] / EVERY
    assert found["step_seconds"] == pytest.approx(mean, rel=1e-3, abs=1e-5)
    assert found["hours_an_hour"] == pytest.approx(found["audio_seconds"] / mean, rel=1e-3)
    assert all(part in done.output for part in (*parts, "validation", "whole step"))
    assert str(tmp_path) not in out.read_text()


def test_a_stopwatch_leaves_out_the_first_uses() -> None:
    clock = Stopwatch(torch.device("cpu"))
    clock.seconds = {"a": [9.0, 9.0, 1.0, 2.0, 4.0], "once": [3.0]}
    assert clock.medians() == {"a": 2.0, "once": 3.0}


def test_bad_words_get_a_sentence(recipe_file: Path, tmp_path: Path) -> None:
    done = run(recipe_file, "--data", tmp_path / "none.csv", "--json", tmp_path / "x.json")
    assert done.exit_code == 2 and "none.csv" in done.output
    assert not (tmp_path / "x.json").exists()
