"""The stability benchmark: what it hears, what it calls drift, and what it prints and writes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import typer
from typer.testing import CliRunner

pytest.importorskip("pesq")
pytest.importorskip("scipy")

import rtsep
from benchmarks import stability
from tests.graphs import Network
from training.evaluation import evaluate

DATA = Path(__file__).parents[1] / "data"
RATE = 16_000


@pytest.fixture(scope="module")
def testset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of eleven and of five seconds."""
    home = tmp_path_factory.mktemp("sets") / "mini"
    for kind in ("clean", "noisy"):
        (home / kind).mkdir(parents=True)
        x, _ = sf.read(DATA / f"demo.{kind}.flac", dtype="float32")
        sf.write(home / kind / "0_voice_rain_snr5.flac", x[: 11 * RATE], RATE)
        sf.write(home / kind / "1_voice_keys_snr0.flac", x[3 * RATE : 8 * RATE], RATE)
    return home


def pairs(testset: Path) -> list[evaluate.Pair]:
    return evaluate.find_pairs(testset)["mini"]


def test_passes_are_equal_and_whole(testset: Path) -> None:
    """16 s of pairs, a minute asked for: four passes, each of two segments, which is a little more."""
    heard = stability.assemble(pairs(testset), RATE, 1.0)
    assert (heard.passes, heard.segments) == (4, 2) and len(heard.clean) == len(heard.noisy) == 80 * RATE
    first, *others = np.split(heard.noisy, 4)
    assert all(np.array_equal(first, other) for other in others)
    one = stability.assemble(pairs(testset), 3 * RATE, 0.3)
    assert (one.passes, one.segments) == (1, 2) and len(one.noisy) == 20 * 3 * RATE
    assert np.array_equal(one.noisy[16 * 3 * RATE :], one.noisy[: 4 * 3 * RATE])  # goes on with its own beginning
    assert not np.array_equal(one.clean, one.noisy)


@pytest.mark.parametrize("recurrent", [0, 3])
def test_fresh_streams_are_aligned(testset: Path, tmp_path: Path, recurrent: int) -> None:
    """Without recurrence every segment is the long stream's to the bit; with it, there is something to see."""
    network = Network(sample_rate=RATE, state=recurrent)
    model = rtsep.load(network.save(tmp_path / "model.onnx"))
    heard = stability.assemble(pairs(testset), RATE, 0.5)
    whole = stability.streamed(model, heard.noisy)
    assert len(whole) == len(heard.noisy)
    for segment in range(3):
        alone = stability.fresh(model, heard, segment)
        long = whole[segment * heard.length :][: heard.length]
        assert len(alone) == heard.length
        assert np.array_equal(alone, long) == (segment == 0 or not recurrent)
        assert np.abs(alone - long).max() < np.abs(long).max()  # aligned at least


def test_a_stream_that_gets_worse_is_seen() -> None:
    """A slope put into scores is found within its interval, and a constant has none."""
    noise = np.random.default_rng(0).standard_normal(60) * 0.1
    falling = 2 - 0.05 * np.arange(60) / 6 + noise
    found = stability.slope(list(falling))
    assert found["low"] < -0.05 < found["high"] < 0 and found["high"] - found["low"] < 0.04
    assert stability.slope([1.5] * 60) == {"mean": 0.0, "low": 0.0, "high": 0.0}
    with_holes = stability.slope([math.nan, *falling[1:-1], -math.inf])
    assert with_holes["mean"] == pytest.approx(found["mean"], abs=0.01)
    assert math.isnan(stability.slope([1.0, 2.0])["mean"])


def test_it_prints_and_writes_what_it_measured(testset: Path, tmp_path: Path) -> None:
    model = Network(identity=True, sample_rate=RATE).save(tmp_path / "identity.onnx")
    app = typer.Typer()
    app.command()(stability.main)
    words = ["--testset", testset, "--model", model, "--minutes", 1, "--json", tmp_path / "stability.json"]
    done = CliRunner(env={"COLUMNS": "160"}).invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert "8 of 8 segments equal" in done.output and "pass 4" in done.output and "nan" not in done.output
    report = json.loads((tmp_path / "stability.json").read_text())
    assert report["model"]["file"] == "identity.onnx" and report["minutes"] == pytest.approx(8 / 6)
    assert report["passes"] == 4 and report["equal"] == 8 and report["largest_difference"] == 0
    assert len(report["rows"]) == 8 and report["rows"][2]["noisy"] == report["rows"][0]["noisy"]
    for name in stability.SHOWN:
        found = report["summary"][name]
        assert len(found["passes"]["stream"]) == 4
        assert found["passes"]["stream"] == pytest.approx(found["passes"]["noisy"], abs=0.01)
        assert found["slope"]["low"] <= found["slope"]["mean"] <= found["slope"]["high"]
        assert found["slope_of_difference"] == {"mean": 0, "low": 0, "high": 0}
    missing = CliRunner().invoke(app, ["--testset", str(tmp_path / "nowhere")])
    assert missing.exit_code == 2 and "no folder" in missing.output
