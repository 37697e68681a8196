"""benchmarks.limit: it times the products that the graph has, and its ratios are those of its times."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import Network
from typer.testing import CliRunner

import rtsep
import training.network
from benchmarks import limit
from benchmarks.cost import multiply_adds, parameters
from benchmarks.peers import FastEnhancer
from rtsep.engine.compiled.compiler import compile_model
from rtsep.engine.compiled.onnx_file import read
from rtsep.errors import InputError
from rtsep.model import shipped
from training.recipe import parse_recipe


@pytest.mark.parametrize("path", shipped().values(), ids=lambda path: path.stem)
def test_the_products_are_those_of_the_graph(path: Path) -> None:
    spec = rtsep.load(path).spec
    phases = limit.shapes(compile_model(read(path.read_bytes()), spec))
    assert len(phases) == spec.slow_rate
    counts = [sum(math.prod(sizes[:3]) for sizes in phase) for phase in phases]
    # The correlations that pitch frames are found by are counted too, and are no products of matrices.
    pitch = training.network.Network(parse_recipe(spec.recipe).network).encoder.pitch
    coherence = pitch.channels * (1 + 2 * pitch.frames) * pitch.bands.numel() if pitch else 0
    correlations = pitch.products - coherence if pitch else 0
    assert round(np.mean(counts)) == multiply_adds(path) - correlations


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


def stand_in(folder: Path, window: int = 8, hop: int = 4) -> Path:
    """A file with FastEnhancer's inputs and outputs: what it puts out is the window's beginning plus what it keeps."""
    make, float32 = onnx.helper, onnx.TensorProto.FLOAT
    numbers = {"begin": 0, "hop": hop, "end": window}
    graph = make.make_graph(
        [
            make.make_node("Slice", ["wav_in", "begin", "hop", "axis"], ["first"]),
            make.make_node("Slice", ["wav_in", "hop", "end", "axis"], ["cache_out_0"]),
            make.make_node("Add", ["first", "cache_in_0"], ["wav_out"]),
        ],
        "stand-in",
        [
            make.make_tensor_value_info(name, float32, [1, size])
            for name, size in (("wav_in", window), ("cache_in_0", window - hop))
        ],
        [
            make.make_tensor_value_info(name, float32, [1, size])
            for name, size in (("wav_out", hop), ("cache_out_0", window - hop))
        ],
        [onnx.numpy_helper.from_array(np.array([n], np.int64), name) for name, n in (numbers | {"axis": 1}).items()],
    )
    path = folder / "fastenhancer_t.onnx"
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_fastenhancer_runs_from_its_file(tmp_path: Path) -> None:
    peer = FastEnhancer(str(stand_in(tmp_path)), 48_000)
    assert (peer.frame, peer.delay, peer.sample_rate) == (4, 4, 48_000)
    x = np.arange(12, dtype=np.float32)
    out = np.concatenate([peer.process(part) for part in np.split(x, 3)])
    past = np.concatenate([np.zeros(4, np.float32), x])[:12]
    np.testing.assert_array_equal(out, past + np.concatenate([np.zeros(4, np.float32), x])[:12])
    other = Network(hop=128, analysis_window=256, synthesis_window=256).save(tmp_path / "tiny.onnx")
    with pytest.raises(InputError, match="is no FastEnhancer from wave to wave"):
        FastEnhancer(str(other))


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
    words = [str(path), "--repeats", "1", "--json", str(tmp_path / "limit.json")]
    words += ["--fastenhancer", str(stand_in(tmp_path)), "--picture", str(tmp_path / "limit.svg")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    peers = json.loads((tmp_path / "limit.json").read_text())["peers"]
    assert [entry["name"].split()[-1] for entry in peers] == ["compiled", "onnxruntime", "fastenhancer"]
    assert peers[0]["parameters"] == parameters(path) > 64 * 256 and peers[2]["parameters"] == 0
    drawn = (tmp_path / "limit.svg").read_text()
    assert "compiled" in drawn and "fastenhancer" not in drawn  # it has learnt nothing
    written = json.loads((tmp_path / "limit.json").read_text())["models"][0]["ratios"]
    for title, ratio in found["ratios"].items():
        assert written[title]["median"] == pytest.approx(ratio["median"], rel=1e-3)
