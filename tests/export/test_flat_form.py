"""The flat form made of a step graph: the same bits, the same weights, for every kind of network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import rtsep
from rtsep.errors import InputError
from rtsep.export.flat_form import flat_model
from tests.graphs import Network
from tests.program import assert_one_sentence, names
from tests.program import rtsep as run
from tests.recordings import noisy

NETWORKS = {
    "small": Network(),
    "stereo": Network(channels=2),
    "ahead": Network(lookahead=32),
    "state": Network(state=4),
    "slow": Network(state=4, slow_rate=4),
    "told": Network(condition=3),
    "activity": Network(activity=True),
}


def flat_of(source: str | Path, folder: Path) -> rtsep.Model:
    file = folder / "flat.onnx"
    file.write_bytes(flat_model(source).content())
    onnx.checker.check_model(str(file), full_check=True)
    return rtsep.load(file)


def outputs(model: rtsep.Model, seconds: float = 0.5) -> np.ndarray:
    """Every source of a stream of noise; a model that is told something is told it."""
    spec = model.spec
    condition = np.linspace(-1, 1, spec.condition, dtype=np.float32) if spec.condition else None
    stream = model.stream(channels=spec.channels, block_multiple=spec.hop, condition=condition)
    count = round(seconds * spec.sample_rate) // spec.hop * spec.hop
    sound = noisy(spec.sample_rate, spec.channels, seconds)[:count]
    return stream.process(sound if spec.channels > 1 else sound[:, 0], sources=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_network_puts_out_the_same_bits(name: str, tmp_path: Path) -> None:
    step = rtsep.load(NETWORKS[name].save(tmp_path / "step.onnx"))
    flat = flat_of(tmp_path / "step.onnx", tmp_path)
    assert flat.spec.form == "flat" and np.abs(outputs(step)).max() > 0
    assert np.array_equal(outputs(flat), outputs(step))


@pytest.mark.parametrize("name", ["denoise-small", "denoise", "denoise-ahead", "karaoke"])
def test_the_shipped_models(name: str, tmp_path: Path) -> None:
    step, flat = rtsep.load(name), flat_of(name, tmp_path)
    assert flat.spec.weights_sha256 == step.spec.weights_sha256  # what is put around has no weights
    assert flat.spec.algorithmic_latency == step.spec.algorithmic_latency
    assert np.array_equal(outputs(flat, 1.0), outputs(step, 1.0))


def test_from_the_command_line(here: Path) -> None:
    done = run("export-flat", "a.onnx")
    assert done.exit_code == 0 and "state [28147]" in done.stderr and "speech, noise" in done.stderr
    before = Path("a.onnx").read_bytes()
    assert_one_sentence(run("export-flat", "a.onnx", "--model", "denoise"), "--overwrite")
    assert Path("a.onnx").read_bytes() == before
    assert run("export-flat", "a.onnx", "--model", "denoise", "--overwrite").exit_code == 0
    assert Path("a.onnx").read_bytes() != before
    Path("file").write_text("")
    for words, said in (
        (["a.wav"], ".onnx"),
        (["file/b.onnx"], "cannot be written"),
        (["b.onnx", "--model", "mid-side"], "no step graph"),
        (["b.onnx", "--model", "a.onnx"], "no step graph"),
        (["b.onnx", "--model", "none"], "no model"),
    ):
        refused = run("export-flat", *words)
        assert refused.exit_code == 2
        assert_one_sentence(refused, said)
    assert names(here) == ["a.onnx", "file"]


def test_what_is_no_step_graph_is_refused() -> None:
    with pytest.raises(InputError, match="no step graph"):
        flat_model("mid-side")
