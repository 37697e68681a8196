"""benchmarks.limit: it times the products that the graph has, and its ratios are those of its times."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from graphs import Network
from typer.testing import CliRunner

import rtsep
from benchmarks import limit
from benchmarks.cost import multiply_adds
from rtsep.engine.compiled.compiler import compile_model
from rtsep.engine.compiled.onnx_file import read
from rtsep.model import shipped

SLOW_FAST = Path(__file__).parents[2] / "training" / "runs" / "denoise-slow-fast.onnx"


@pytest.mark.parametrize("path", [*shipped().values(), SLOW_FAST], ids=lambda path: path.stem)
def test_the_products_are_those_of_the_graph(path: Path) -> None:
    spec = rtsep.load(path).spec
    phases = limit.shapes(compile_model(read(path.read_bytes()), spec))
    assert len(phases) == spec.slow_rate
    counts = [sum(math.prod(sizes[:3]) for sizes in phase) for phase in phases]
    assert round(np.mean(counts)) == multiply_adds(path)


def test_both_ways_of_multiplying_agree() -> None:
    products = limit.Products([(1, 30, 7, 0), (4, 8, 9, 1)], {})
    products.blas()
    by_blas = [y.copy() for y in products.outputs]
    for y in products.outputs:
        y[:] = 0
    products.numba()
    for found, expected in zip(products.outputs, by_blas, strict=True):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_run_tells_times_and_ratios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Network(hop=128, analysis_window=256, synthesis_window=256, hidden=64, basis=64).save(tmp_path / "tiny.onnx")
    monkeypatch.setattr(limit, "CALLS", 16)
    monkeypatch.setattr(limit, "PEERS", ())
    found = limit.measure(str(path), 3)
    assert set(found["ratios"]) == set(limit.RATIOS)
    assert all(0 < value["least"] <= value["median"] <= value["most"] for value in found["us"].values())
    monkeypatch.setattr(limit, "measure", lambda name, repeats: found)
    app = limit.typer.Typer()
    app.command()(limit.main)
    done = CliRunner().invoke(app, [str(path), "--repeats", "1", "--json", str(tmp_path / "limit.json")])
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "limit.json").read_text())["models"][0]["ratios"]
    for title, ratio in found["ratios"].items():
        assert written[title]["median"] == pytest.approx(ratio["median"], rel=1e-3)
