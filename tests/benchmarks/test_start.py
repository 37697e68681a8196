"""benchmarks.start and benchmarks.files --batch: what they tell was measured on the model that they were given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from graphs import Network
from typer.testing import CliRunner

from benchmarks import files, start
from rtsep.errors import RtsepError
from tests.live.servers import install


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    network = Network(hop=128, analysis_window=512, synthesis_window=256)
    return str(network.save(tmp_path_factory.mktemp("start") / "tiny.onnx"))


def test_how_soon_something_happens(model: str, tmp_path: Path) -> None:
    install("jackd2", "libportaudio2", program="jackd")
    app = start.typer.Typer()
    app.command()(start.main)
    done = CliRunner().invoke(app, ["--model", model, "--repeats", "1", "--json", str(tmp_path / "start.json")])
    assert done.exit_code == 0, done.output
    runs = json.loads((tmp_path / "start.json").read_text())["runs"]
    assert set(runs) == {*start.RUNS, start.LIVE_START}
    cpu = {name: values["cpu_s"]["median"] for name, values in runs.items()}
    assert cpu["python -c pass"] < cpu["rtsep --help"] < cpu["first sound of a stream"]
    assert cpu["python -c pass"] < cpu["import numba"]
    assert runs[start.LIVE_START]["memory"]["median"] < 120


def test_a_start_that_fails_is_no_result() -> None:
    with pytest.raises(RtsepError, match="python -c exit"):
        start.run(("-c", "exit(3)"))
    with pytest.raises(RtsepError, match="live session failed"):
        start.run_live("none.onnx")


def test_small_files_workers_and_memory(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SMALL", 3)
    monkeypatch.setattr(files, "FILES_A_WORKER", 1)
    monkeypatch.setattr(files, "SHORT_S", 2.0)
    app = files.typer.Typer()
    app.command()(files.main)
    arguments = ["--batch", model, "--workers", "2", "--seconds", "1", "--repeats", "1"]
    done = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "batch.json")])
    assert done.exit_code == 0, done.output
    (found,) = json.loads((tmp_path / "batch.json").read_text())["models"]
    assert found["workers"] == 2 and found["small / long"]["median"] > 0.5
    assert all(
        found[key]["median"] > 0 for key in ("times as fast", "cpu of several / of one", "times as fast, small files")
    )
    short, long = found["memory MB"].values()
    assert 30 < short < long + 5 < short + 25  # ten times as long, and no more
    with pytest.raises(RtsepError, match="program failed"):
        files.run_program([tmp_path / "none.wav"], tmp_path, model)
