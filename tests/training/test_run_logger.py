"""What a run tells while it trains: lines, curves, and a bar on a terminal."""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from training.run_logger import RunLogger

ENTRY = {"step": 2, "hours": 0.5, "train": {"loss": 0.25, "snr": 3.0}, "valid": {"si_sdr": 7.5}}


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    told = io.StringIO()
    return Console(file=told, force_terminal=terminal, width=70, color_system=None), told


def keep(run: Path, terminal: bool, steps: range = range(1, 3)) -> str:
    """A session of a few steps that ends in one entry; returns what stood on stderr."""
    screen, told = console(terminal)
    with RunLogger(run, screen) as logger:
        logger.begin(steps.start - 1)
        for step in steps:
            logger.step(step, step / 4, 20.48, 0.125)
        logger.write({**ENTRY, "step": steps[-1]})
    return told.getvalue()


def until_the_next_second() -> None:
    """TensorBoard reads files by name, and a name holds the second in which its session began."""
    began = int(time.time())
    while int(time.time()) == began:
        time.sleep(0.01)


def test_entries_are_lines_of_json_and_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = keep(tmp_path, terminal=False)
    until_the_next_second()
    assert [json.loads(line) for line in told.splitlines()] == [ENTRY]  # plain lines and nothing else
    keep(tmp_path, terminal=False, steps=range(3, 5))
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries] == [2, 4]
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(curves.Tags()["scalars"]) == {"run/step", "run/hours", "train/loss", "train/snr", "valid/si_sdr"}
    assert [(event.step, event.value) for event in curves.Scalars("valid/si_sdr")] == [(2, 7.5), (4, 7.5)]


def test_a_session_begun_again_replaces_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    keep(tmp_path, terminal=False, steps=range(1, 9))
    until_the_next_second()
    keep(tmp_path, terminal=False, steps=range(5, 7))
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in curves.Scalars("train/loss")] == [6]


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    told = keep(tmp_path, terminal=True)
    assert "step 2" in told and "× real time" in told and "loss 0.1250" in told
    assert told.count("\x1b[?25l") == told.count("\x1b[?25h") == 1  # the cursor is given back
    assert "si_sdr" in told


def test_without_tensorboard_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    first, *rest = keep(tmp_path, terminal=False).splitlines()
    assert "install the package tensorboard" in first and json.loads(*rest) == ENTRY
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
