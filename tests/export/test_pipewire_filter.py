"""The export for PipeWire: the graph as its filter calls it, and the configuration as it reads it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import rtsep
from rtsep.engine.stream import Stream
from rtsep.errors import InputError
from rtsep.export.flat_form import flat_model
from rtsep.export.pipewire import pipewire_model
from tests.graphs import Network
from tests.program import assert_one_sentence, names
from tests.program import rtsep as run
from tests.recordings import noisy


def filtered(file: Path, sound: np.ndarray, rubbish: float) -> np.ndarray:
    """As plugin_onnx.c does it: a hop and the last state in, the beginning of a tensor out; memory is not cleared."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    size, hop = session.get_inputs()[1].shape[0], session.get_inputs()[0].shape[1]
    state, out = np.full(size, rubbish, np.float32), []
    for at in range(0, len(sound), hop):
        clean, state = session.run(None, {"hop": sound[None, at : at + hop], "state": state})
        out.append(clean.ravel()[:hop])
    return np.concatenate(out)


@pytest.mark.parametrize("rubbish", [0.0, float("nan"), 1e30])
def test_the_graph_is_the_stream_whatever_lay_in_the_memory(rubbish: float, tmp_path: Path) -> None:
    """For a network that would never forget a wrong state, whose target is not the first source."""
    network = Network(state=4, slow_rate=4, sources=("noise", "speech"))
    step = rtsep.load(network.save(tmp_path / "step.onnx", target="speech"))
    file = tmp_path / "filter.onnx"
    file.write_bytes(pipewire_model(flat_model(tmp_path / "step.onnx")).content())
    onnx.checker.check_model(str(file), full_check=True)
    hop = step.spec.hop
    sound = noisy(48000, 1, 0.3)[: 14400 // hop * hop, 0].astype(np.float32)
    expected = step.stream(block_multiple=hop).process(sound)
    assert np.abs(expected).max() > 0 and np.array_equal(filtered(file, sound, rubbish), expected)


def number(text: str, name: str) -> float:
    found = re.search(rf'{re.escape(name)}"? = (?:\[ )?([\d.]+)', text)
    assert found, name
    return float(found[1])


def test_the_configuration_says_what_the_model_is(here: Path) -> None:
    assert run("export-pipewire", "out").exit_code == 0
    assert names(here / "out") == ["denoise-small.onnx", "rtsep-denoise-small.conf"]
    text = Path("out/rtsep-denoise-small.conf").read_text("utf-8")
    (named,) = re.findall(r'filename = "(.*)"', text)
    assert Path(named) == here / "out" / "denoise-small.onnx"
    session = onnxruntime.InferenceSession(named, providers=["CPUExecutionProvider"])
    for tensor in (*session.get_inputs(), *session.get_outputs()):
        assert f'"{tensor.name}" = {{ dimensions = [ {", ".join(map(str, tensor.shape))} ]' in text
    assert number(text, "blocksize") == number(text, "node.force-quantum") == 128
    assert number(text, "audio.rate") == number(text, "node.force-rate") == 48000
    assert text.count("{") == text.count("}") and text.count("[") == text.count("]") and text.count('"') % 2 == 0
    assert_one_sentence(run("export-pipewire", "out"), "--overwrite")


@pytest.mark.parametrize("name", ["denoise-small", "denoise-ahead"])
def test_strength_is_the_streams(here: Path, name: str) -> None:
    """The mixture that the chain makes, done by hand with its numbers, against a stream of that strength."""
    assert run("export-pipewire", "out", "--strength", "12", "--model", name, "--overwrite").exit_code == 0
    text = Path(f"out/rtsep-{name}.conf").read_text("utf-8")
    sound = noisy(48000, 1, 0.5)[: 24000 // 128 * 128, 0].astype(np.float32)
    late = int(np.float32(number(text, "Delay (s)")) * 48000)  # the builtin's own arithmetic
    dry = np.concatenate([np.zeros(late, np.float32), sound])[: len(sound)]
    mixed = number(text, "Gain 1") * filtered(Path(f"out/{name}.onnx"), sound, 0.0) + number(text, "Gain 2") * dry
    stream: Stream = rtsep.load(name).stream(strength=12.0, block_multiple=128)
    assert np.abs(mixed - stream.process(sound)).max() < 1e-5


@pytest.mark.parametrize("version,said", [("0.3.65", True), ("1.5.85", True), ("1.6.0", False), ("2.0.1", False)])
def test_a_pipewire_that_is_too_old_is_said(
    here: Path, monkeypatch: pytest.MonkeyPatch, version: str, said: bool
) -> None:
    program = here / "bin" / "pipewire"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho pipewire; echo Linked with libpipewire {version}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    done = run("export-pipewire", "out")
    assert done.exit_code == 0 and (f"is {version}, which has no such filter" in done.output) == said
    monkeypatch.setenv("PATH", "/nowhere")
    assert "no such filter" not in run("export-pipewire", "out", "--overwrite").output


def test_what_cannot_be_a_filter_is_refused(here: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be mono"):
        pipewire_model(flat_model("karaoke"))
    Network(condition=3).save(tmp_path / "told.onnx")
    refused = run("export-pipewire", "new", "--model", tmp_path / "told.onnx")
    assert refused.exit_code == 2
    assert_one_sentence(refused, "side information")
    assert_one_sentence(run("export-pipewire", "new", "--strength", "loud"), "--strength")
    assert not Path("new").exists()
