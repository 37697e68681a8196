"""`bench live` through devices: PulseAudio's loudspeaker and its monitor are a cable."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from servers import PulseServer
from typer.testing import CliRunner

from rtsep.cli import app
from rtsep.errors import RtsepError
from rtsep.report.cable import echo
from rtsep.report.live import measure_live
from rtsep.report.live_page import live_lines, live_page

pytestmark = pytest.mark.usefixtures("patient")


def test_an_echo_is_found_where_it_first_comes() -> None:
    rng = np.random.default_rng(0)
    sound = (rng.random(240) - 0.5).astype(np.float32)
    recording = (0.01 * rng.standard_normal(28800)).astype(np.float32)
    assert echo(sound, recording) is None and echo(sound, 0 * recording) is None
    for round_trip in (0, 1, 1437):
        heard = recording.copy()
        for turn, gain in enumerate((0.3, 0.28, -0.3)):
            heard[round_trip + 2000 * turn :][:240] += np.float32(gain) * sound
        assert echo(sound, heard) == round_trip


def test_bench_live_through_a_cable(random_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with PulseServer():
        monkeypatch.setenv("PULSE_SOURCE", "speakers.monitor")
        monkeypatch.setenv("PULSE_SINK", "speakers")
        for _ in range(3):  # where PulseAudio runs out of sound again and again, the way round is not always as long
            with contextlib.suppress(RtsepError):  # and a ping may not come back
                result = measure_live(random_model, 480, 3, 0.5, names=("idle",), devices=("pulse", "pulse"))
                budget = result["budget"]
                if budget["added_samples"] == budget["announced_samples"]:
                    break
    result = json.loads(json.dumps(result))
    # 480 frames have 32 in common with the hop of 128: the stream takes 256 - 32, and the worker three blocks.
    assert budget["parts_samples"]["stream"] == 224 and budget["parts_samples"]["slack"] == 3 * 480
    assert budget["added_samples"] == budget["announced_samples"] == 224 + 3 * 480
    assert 480 <= budget["parts_samples"]["device"] < 48000 / 2
    assert sum(budget["parts_samples"].values()) == budget["round_trip_samples"]
    (entry,) = result["loads"]
    assert entry["callbacks"] > 10 and entry["empty_callback"] is None
    page = live_page(result)
    assert "A ping of noise" in page and "pulse to pulse by a cable" in page
    assert any("cable" in line for line in live_lines(result))


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["--input", "pulse"], "two ends"),
        (["--html", os.path.join("nowhere", "report.html")], "there is no folder"),
        (["--json", os.sep], "it is a folder"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_measured(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtsep.report.live.measure_live", lambda *_, **__: pytest.fail("measured"))
    done = CliRunner().invoke(app, ["bench", "live", *arguments])
    assert done.exit_code == 2 and words in done.output


def test_pictures_that_cannot_be_drawn_are_missed_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtsep.report.live.measure_live", lambda *_, **__: pytest.fail("measured"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = CliRunner().invoke(app, ["bench", "live", "--html", str(tmp_path / "report.html")])
    assert done.exit_code == 1 and "matplotlib" in done.output and not list(tmp_path.iterdir())
