"""A model says what it is, and is refused, key by key, when it does not or when its graph says otherwise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from graphs import Network
from onnx import TensorProto, helper
from spectral_graphs import SpectralNetwork

import rtsep
from rtsep.errors import InputError
from rtsep.model import look_at, shipped

FULL = Network(state=5, condition=3, activity=True, lookahead=4, channels=2)


def test_spec_says_what_was_written(tmp_path):
    model = rtsep.load(FULL.save(tmp_path / "m.onnx"))
    spec = model.spec
    assert (spec.sample_rate, spec.hop, spec.analysis_window, spec.synthesis_window) == (48000, 16, 64, 32)
    assert (spec.channels, spec.sources, spec.target, spec.dilations) == (2, ("speech", "noise"), "speech", (1, 2, 4))
    assert (spec.kernel, spec.hidden, spec.condition, spec.state, spec.lookahead) == (3, 6, 3, 5, 4)
    assert (spec.layers, spec.activity, spec.form, spec.target_index) == (3, True, "step", 0)
    assert spec.algorithmic_latency == 36
    assert spec.receptive_field == 64 + 16 * 2 * 7 + 32
    with pytest.raises(AttributeError):
        spec.hop = 1  # type: ignore[misc]
    assert "tiny" in repr(model)


def test_flat_form_loads(tmp_path):
    network = Network(state=5)
    spec = rtsep.load(str(network.save(tmp_path / "m.onnx", "flat"))).spec
    assert spec.form == "flat" and spec.state == network.flat_state


@pytest.mark.parametrize("form", ["step", "flat"])
@pytest.mark.parametrize("key", sorted(Network().metadata()))
def test_a_missing_key_is_named(tmp_path, form, key):
    path = Network().save(tmp_path / "m.onnx", form, **{key.removeprefix("rtsep."): None})
    with pytest.raises(InputError, match=re.escape(f"m.onnx: metadata key {key} is missing")):
        rtsep.load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "2"),
        ("form", "round"),
        ("sample_rate", "48k"),
        ("sample_rate", "4000"),
        ("sample_rate", "384000"),
        ("hop", "0"),
        ("hop", "-16"),
        ("hop", "16.0"),
        ("hop", "\u0661\u0666"),
        ("synthesis_window", "8"),
        ("analysis_window", "31"),
        ("lookahead", "x"),
        ("channels", "9"),
        ("kernel", "1"),
        ("hidden", "-1"),
        ("condition", ""),
        ("state", "many"),
        ("sources", "speech"),
        ("sources", "[]"),
        ("sources", '["speech", "speech"]'),
        ("sources", '["speech", 2]'),
        ("sources", '{"speech": 1}'),
        ("target", "vocals"),
        ("dilations", "[1, 0, 2]"),
        ("dilations", "[1, 2.5, 4]"),
        ("dilations", "[true, 2, 4]"),
        ("dilations", "[1, 2"),
        ("slow_rate", "0"),
        ("slow_rate", "four"),
        ("slow_rate", "4"),  # without a state
        ("weights_sha256", "abc"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, key, value):
    path = Network().save(tmp_path / "m.onnx", **{key: value})
    with pytest.raises(InputError, match=rf"m.onnx: metadata key rtsep\.{key} is "):
        rtsep.load(path)


@pytest.mark.parametrize(
    ("form", "key", "value", "tensor"),
    [
        ("step", "analysis_window", "80", "window"),
        ("step", "channels", "1", "window"),
        ("step", "dilations", "[1, 2]", "taps"),
        ("step", "dilations", "[]", "taps"),
        ("step", "slow_rate", "3", "phase"),
        ("step", "kernel", "4", "taps"),
        ("step", "hidden", "7", "taps"),
        ("step", "condition", "4", "condition"),
        ("step", "condition", "0", "condition"),
        ("step", "state", "6", "state"),
        ("step", "state", "0", "state"),
        ("step", "synthesis_window", "48", "frames"),
        ("step", "sources", '["speech"]', "frames"),
        ("step", "form", "flat", "hop"),
        ("flat", "hop", "8", "hop"),
        ("flat", "channels", "1", "hop"),
        ("flat", "state", "77", "state"),
        ("flat", "sources", '["speech", "noise", "music"]', "audio"),
        ("flat", "form", "step", "window"),
    ],
)
def test_a_contradicting_graph_is_refused(tmp_path, form, key, value, tensor):
    network = FULL if form == "step" else Network(channels=2)
    overrides = {key: value} | ({"condition": "0"} if key == "form" else {})
    path = network.save(tmp_path / "m.onnx", form, **overrides)
    with pytest.raises(InputError, match=f"m.onnx: .*'{tensor}'"):
        rtsep.load(path)


def test_flat_form_has_a_state_and_what_it_promises(tmp_path):
    for key, value, said in (("state", "0", r"rtsep\.state"), ("condition", "2", "no input 'condition'")):
        with pytest.raises(InputError, match=said):
            rtsep.load(Network().save(tmp_path / "m.onnx", "flat", **{key: value}))


def test_every_tensor_must_be_float32(tmp_path):
    graph = Network().step_graph()
    graph.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    cast = helper.make_node("Cast", ["window"], ["window32"], to=TensorProto.FLOAT)
    for node in graph.graph.node:
        node.input[:] = ["window32" if name == "window" else name for name in node.input]
    graph.graph.node.insert(0, cast)
    helper.set_model_props(graph, Network().metadata())
    onnx.save(graph, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"'window' is tensor.double., but must be float32"):
        rtsep.load(tmp_path / "m.onnx")


def test_a_phase_is_promised_and_int64(tmp_path):
    slow = Network(state=3, slow_rate=4)
    spec = rtsep.load(slow.save(tmp_path / "m.onnx")).spec
    assert spec.slow_rate == 4 and spec.inputs()["phase"] == () and Network().metadata().get("rtsep.slow_rate") is None
    assert rtsep.load(slow.save(tmp_path / "flat.onnx", "flat")).spec.slow_rate == 4
    with pytest.raises(InputError, match=r"an input 'phase', which its metadata do not promise"):
        rtsep.load(slow.save(tmp_path / "m.onnx", slow_rate=None))
    graph = slow.step_graph()
    (phase,) = (value for value in graph.graph.input if value.name == "phase")
    phase.type.tensor_type.elem_type = TensorProto.FLOAT
    cast = helper.make_node("Cast", ["phase"], ["phase64"], to=TensorProto.INT64)
    for node in graph.graph.node:
        node.input[:] = ["phase64" if name == "phase" else name for name in node.input]
    graph.graph.node.insert(0, cast)
    helper.set_model_props(graph, slow.metadata())
    onnx.save(graph, tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"'phase' is tensor.float., but must be int64"):
        rtsep.load(tmp_path / "m.onnx")


def test_a_model_without_metadata_is_refused(tmp_path):
    onnx.save(Network().step_graph(), tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"m\.onnx carries no rtsep metadata"):
        rtsep.load(tmp_path / "m.onnx")


def test_what_is_no_model_is_refused(tmp_path, tiny_path):
    (tmp_path / "text.onnx").write_text("no model at all")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "cut.onnx").write_bytes(tiny_path.read_bytes()[:1000])
    for name in ("text.onnx", "empty.onnx", "cut.onnx", "missing.onnx", "."):
        with pytest.raises(InputError, match=re.escape(str(tmp_path / name))) as refusal:
            rtsep.load(tmp_path / name)
        assert refusal.value.exit_code == 2 and "\n" not in str(refusal.value)


def test_to_look_at_a_model_is_to_load_it_without_onnxruntime(tmp_path, monkeypatch):
    files = [FULL.save(tmp_path / "m.onnx"), Network().save(tmp_path / "f.onnx", "flat")]
    files.append(SpectralNetwork().save(tmp_path / "s.onnx"))
    specs = {name: rtsep.load(name).spec for name in (*shipped(), "mid-side", *files)}
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for name, spec in specs.items():
        found = look_at(name)
        assert found.spec == spec and found.streams == (found.path.stem != "s")
    with pytest.raises(InputError, match=r"m.onnx: metadata key rtsep.hop is missing"):
        look_at(Network().save(tmp_path / "m.onnx", "step", hop=None))


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(InputError, match="no model 'nonsense'") as refusal:
        rtsep.load("nonsense")
    assert all(name in str(refusal.value) for name in shipped())


def test_every_shipped_model_loads_by_name():
    for name, path in shipped().items():
        assert isinstance(path, Path)
        assert rtsep.load(name).spec.name == name


def test_import_is_light():
    heavy = "{'numba', 'onnxruntime', 'torch', 'sounddevice', 'soxr', 'soundfile'}"
    code = f"import sys, rtsep; rtsep.enhance, rtsep.load; print(sorted({heavy} & set(sys.modules)))"
    root = Path(rtsep.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there():
    for name in rtsep.__all__:
        assert hasattr(rtsep, name)
    assert callable(rtsep.enhance)
    from rtsep.engine.enhance import Enhancer  # the module of the same name must not take the function's place

    assert Enhancer.__module__ == "rtsep.engine.enhance" and rtsep.enhance.__name__ == "enhance"
    with pytest.raises(AttributeError):
        rtsep.nonsense  # noqa: B018
