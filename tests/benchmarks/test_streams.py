"""benchmarks.streams: where p99 crosses half a hop, and what a run writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from graphs import Network
from typer.testing import CliRunner

from benchmarks import markdown, streams, tables
from rtsep.errors import InputError


def test_the_crossing_lies_on_the_line_between_two_counts() -> None:
    counts = [10, 20, 30]
    assert streams.crossing(counts, [100.0, 200.0, 300.0], 250.0) == 25
    assert streams.crossing(counts, [100.0, 300.0, 200.0], 250.0) == 17  # the first time counts
    assert streams.crossing(counts, [100.0, 200.0, 300.0], 50.0) == 0
    assert streams.crossing(counts, [100.0, 200.0, 300.0], 400.0) == 30


def test_more_streams_cost_more_and_each_of_them_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a shipped model: the engine does the work, and reads the weights once."""
    monkeypatch.setattr(streams, "CALLS", 40)
    found = streams.Streams("denoise-small")
    assert found.counts == sorted(found.counts) and found.counts[0] > 8
    for _ in range(5):
        turn = {count: float(np.median(times)) for count, times in found.turn().items()}
        few, many = found.counts[0], found.counts[-1]
        if turn[many] > 1.3 * turn[few] and turn[few] < 0.7 * turn[0]:
            return
    pytest.fail(f"five times nothing was gained: {turn}")


def test_a_run_writes_what_the_table_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Network(hop=128, analysis_window=256, synthesis_window=256, hidden=64, basis=64).save(tmp_path / "tiny.onnx")
    monkeypatch.setattr(streams, "CALLS", 12)
    monkeypatch.setattr(streams, "TURNS", 1)
    monkeypatch.setattr(streams, "AROUND", (0.01, 0.02))
    app = streams.typer.Typer()
    app.command()(streams.main)
    done = CliRunner().invoke(app, [str(path), "--repeats", "2", "--json", str(tmp_path / "streams.json")])
    assert done.exit_code == 0, done.output
    entry = json.loads((tmp_path / "streams.json").read_text())["models"][0]
    assert len(entry["p99_us"]) >= 1 and all(value["least"] > 0 for value in entry["p99_us"].values())
    assert entry["streams"]["least"] <= entry["streams"]["median"] <= entry["streams"]["most"]
    monkeypatch.setattr(markdown, "RESULTS", tmp_path)
    assert f"{entry['streams']['median']:.0f} (" in tables.TABLES["streams"]()


def test_what_cannot_be_compiled_is_refused(models) -> None:
    with pytest.warns(UserWarning), pytest.raises(InputError, match="cannot be compiled"):
        streams.Streams(str(models(Network(), "flat").path))
