"""What docs/training.md says about adding a part is true: its files and lines, and nothing else, train in a copy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import rtsep

HOME = Path(__file__).parents[2]
TINY = HOME / "tests" / "data" / "tiny"
PAGE = (HOME / "docs" / "training.md").read_text("utf-8")
BLOCK = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
RECIPE = {
    "recipe_version": 3,
    "name": "toy",
    "target": "speech",
    "task": "speech",
    "network": {"analysis_window": 512, "channels": 12, "hidden": 16, "dilations": [1, 2, 4]},
    "data": {"mix": {"seconds": 1.28}},
    "losses": [{"loss": "snr", "of": "speech", "weight": 0.1}, {"loss": "snr", "of": "noise", "weight": 0.1}],
    "training": {"batch": 2, "hours": 0.002},
}


def section(title: str) -> list[tuple[str, str, str]]:
    """(language, title, text) of the blocks below `### title`."""
    begin = PAGE.index(f"### {title}\n")
    return BLOCK.findall(PAGE[begin : PAGE.find("\n### ", begin + 1) if "\n### " in PAGE[begin + 1 :] else None])


def add(blocks: list[tuple[str, str, str]], home: Path) -> list[dict]:
    """Writes the files, adds the lines where the names are; returns the losses that the recipe gets."""
    losses: list[dict] = []
    for language, title, text in blocks:
        file = home / title
        if language == "python":
            assert not file.exists() and len(text.splitlines()) < 30
            file.write_text(text, "utf-8")
        elif language == "diff":
            lines = [line.removeprefix("+") for line in text.splitlines()]
            imports = "".join(f"{line}\n" for line in lines if line.startswith("from"))
            entry = "".join(line for line in lines if not line.startswith("from"))
            known = file.read_text("utf-8")
            names = re.search(r" = \{", known)
            first = re.search(r"^from training", known, re.MULTILINE)
            assert names and first and len(lines) <= 2
            known = known[: names.end()] + entry + known[names.end() :]
            file.write_text(known[: first.start()] + imports + known[first.start() :], "utf-8")
        else:
            losses += yaml.safe_load(text)
    return losses


def train(home: Path, recipe: dict, *arguments: str) -> dict:
    """Some steps in the copy; the last line of the log. Fails with what the program said."""
    (home / "toy.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    command = [sys.executable, "-m", "training.train", "toy.yaml", "--run", "run", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(home)}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (home / "run" / "checkpoint.pt").exists()
    return json.loads((home / "run" / "log.jsonl").read_text("utf-8").splitlines()[-1])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A checkout of one's own."""
    for room in ("training", "rtsep"):
        shutil.copytree(HOME / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_loss_a_separator_and_a_dataset(home: Path) -> None:
    """In one run. It also becomes a model that a stream runs as it was trained: `training.export` holds both forms
    together.
    """
    losses = add(section("A loss"), home)
    assert losses and not add(section("A separator"), home) and not add(section("A dataset"), home)
    for folder, place in (("voices", "speech16"), ("noises", "noise")):
        (home / "own" / folder).mkdir(parents=True)
        for file in (TINY / place).rglob("*.opus"):
            shutil.copy(file, home / "own" / folder)
    network = RECIPE["network"] | {"separator": "gru"}
    recipe = RECIPE | {"network": network, "losses": RECIPE["losses"] + losses}
    last = train(home, recipe, "--dataset", "home=own")
    assert any("mean_error" in key for key in flat(last)), last
    command = [sys.executable, "-m", "training.export", "run/checkpoint.pt", "toy.onnx"]
    environment = {**os.environ, "PYTHONPATH": str(home)}
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    model = rtsep.load(home / "toy.onnx")
    assert model.spec.state == 12 and model.spec.layers == 0
    assert np.isfinite(model.stream().process(np.ones(4800, np.float32))).all()


def test_a_task(home: Path) -> None:
    losses = add(section("A task"), home)
    network = RECIPE["network"] | {"sources": ["one", "other"]}
    recipe = RECIPE | {"task": "two_voices", "target": "one", "network": network, "losses": losses}
    last = train(home, recipe, "--data", str(TINY / "manifest.csv"))
    assert any("si_sdr" in key for key in flat(last)), last


def flat(entry: dict) -> list[str]:
    return [key for key, value in entry.items() for key in (key, *(value if isinstance(value, dict) else ()))]
