"""The flat form of a model that is there in the form that rtsep runs: window, history and overlap-add in the graph.

`hop [channels, hop]`, `state [n]`, `condition` if any → `audio [sources, channels, hop]`, `next_state [n]`. The state
starts at zero and is handed back with the next hop; it is laid out as `training.network.forms.FlatForm` lays it out.
The step graph itself is carried over as it is, and the nodes around it do what ``engine.inference`` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from rtsep.engine.compiled.onnx_file import OnnxError, read
from rtsep.errors import InputError
from rtsep.export.onnx_writer import (
    GRAPH_INPUT,
    GRAPH_NODE,
    GRAPH_OUTPUT,
    MODEL_GRAPH,
    MODEL_METADATA,
    constant,
    field,
    fields,
    metadata,
    node,
    renamed,
    value,
)
from rtsep.model import Model, load
from rtsep.model_spec import ModelSpec

_LEAST_OPSET = 13  # since when the sizes of Split and the axes of Slice are inputs
_OWN = "flat."  # how names of what is put around begin
_INNER = {"state": _OWN + "inner_state", "next_state": _OWN + "inner_next_state"}  # the step graph's own
_NO_PART = {"rtsep.weights"}  # where training finds its weights, in a step graph


@dataclasses.dataclass(frozen=True)
class FlatModel:
    """A model file in the making.

    nodes: fields of the graph. inputs, outputs: names and shapes. form: what its metadata call it.
    """

    spec: ModelSpec
    source: bytes
    nodes: tuple[bytes, ...]
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    form: str = "flat"

    @property
    def state_size(self) -> int:
        """Numbers of the state, which starts at zero."""
        return self.inputs["state"][0]

    def metadata(self) -> dict[str, str]:
        """The source's, of another form."""
        found = read(self.source).metadata
        kept = {key: text for key, text in found.items() if key not in _NO_PART}
        return kept | {"rtsep.form": self.form, "rtsep.state": str(self.state_size)}

    def content(self) -> bytes:
        """The .onnx file."""
        around = [
            *(value(GRAPH_INPUT, name, shape) for name, shape in self.inputs.items()),
            *(value(GRAPH_OUTPUT, name, shape) for name, shape in self.outputs.items()),
        ]
        model = list(fields(self.source))
        (graph,) = (content for number, content, _ in model if number == MODEL_GRAPH)
        dropped = (GRAPH_NODE, GRAPH_INPUT, GRAPH_OUTPUT)
        kept = [whole for number, _, whole in fields(graph) if number not in dropped]
        head = [whole for number, _, whole in model if number not in (MODEL_GRAPH, MODEL_METADATA)]
        whole = field(MODEL_GRAPH, b"".join([*self.nodes, *kept, *around]))
        return b"".join([*head, whole, metadata(self.metadata())])

    def around(
        self,
        names: dict[str, str],
        before: Iterable[bytes],
        after: Iterable[bytes],
        **changes: Any,
    ) -> FlatModel:
        """This graph with nodes put around it, whose own inputs and outputs get other ``names``; see ``replace``."""
        own = [field(GRAPH_NODE, renamed(content, names)) for node in self.nodes for _, content, _ in fields(node)]
        return dataclasses.replace(self, nodes=(*before, *own, *after), **changes)


def flat_model(name_or_path: str | Path) -> FlatModel:
    """The flat form of a model. Raises InputError where it has no step graph, or one of too old operators."""
    model = load(name_or_path)
    spec = model.spec
    if type(model) is not Model or spec.form != "step":
        raise InputError(
            f"{spec.name} has no step graph that could be made flat; choose a model that live sound takes."
        )
    source = model.path.read_bytes()
    try:
        opset = read(source).opset
    except OnnxError as error:
        raise InputError(f"{model.path.name} cannot be made flat: {error}") from None
    if opset < _LEAST_OPSET:
        raise InputError(f"{model.path.name} is of opset {opset}; export it again, with {_LEAST_OPSET} or newer.")
    sizes = _sizes(spec)
    inputs: dict[str, tuple[int, ...]] = {"hop": (spec.channels, spec.hop), "state": (sum(sizes),)}
    if spec.condition:
        inputs["condition"] = (spec.condition,)
    outputs: dict[str, tuple[int, ...]] = {
        "audio": (len(spec.sources), spec.channels, spec.hop),
        "next_state": (sum(sizes),),
    }
    return FlatModel(spec, source, (*_before(spec, sizes), *_step_nodes(spec, source), *_after(spec)), inputs, outputs)


def _sizes(spec: ModelSpec) -> list[int]:
    """Of the state's parts: past of the window, history of each layer, inner state, overlap, phase."""
    layers = [(spec.kernel - 1) * dilation * spec.hidden for dilation in spec.dilations]
    overlap = len(spec.sources) * spec.channels * (spec.synthesis_window - spec.hop)
    return [spec.channels * (spec.analysis_window - spec.hop), *layers, spec.state, overlap, int(spec.slow_rate > 1)]


def _parts(spec: ModelSpec) -> list[str]:
    """Names of those parts, within the graph."""
    layers = [f"{_OWN}history{layer}" for layer in range(len(spec.dilations))]
    return [_OWN + "past", *layers, _INNER["state"], _OWN + "overlap", _OWN + "phase"]


def _step_nodes(spec: ModelSpec, source: bytes) -> list[bytes]:
    names = _INNER if spec.state else {}
    (graph,) = (content for number, content, _ in fields(source) if number == MODEL_GRAPH)
    inside = (content for number, content, _ in fields(graph) if number == GRAPH_NODE)
    return [field(GRAPH_NODE, renamed(content, names)) for content in inside]


def _before(spec: ModelSpec, sizes: list[int]) -> list[bytes]:
    """From `hop` and `state` to what the step graph takes."""
    there = [(name, size) for name, size in zip(_parts(spec), sizes, strict=True) if size]
    nodes = [
        _integers("sizes", [size for _, size in there]),
        node("Split", ["state", _OWN + "sizes"], [name for name, _ in there], axis=0),
        _integers("past_shape", [spec.channels, spec.analysis_window - spec.hop]),
        node("Reshape", [_OWN + "past", _OWN + "past_shape"], [_OWN + "past_rows"]),
        node("Concat", [_OWN + "past_rows", "hop"], ["window"], axis=1),
    ]
    if spec.dilations:
        nodes += [_integers("rows", [-1, spec.hidden]), _integers("first", [0])]
        taps = []
        for layer, dilation in enumerate(spec.dilations):
            history, rows = f"{_OWN}history{layer}", f"{_OWN}rows{layer}"
            taps.append(f"{_OWN}taps{layer}")
            nodes += [
                node("Reshape", [history, _OWN + "rows"], [rows]),
                _integers(f"end{layer}", [(spec.kernel - 1) * dilation]),
                _integers(f"dilation{layer}", [dilation]),
                node(
                    "Slice",
                    [rows, _OWN + "first", f"{_OWN}end{layer}", _OWN + "first", f"{_OWN}dilation{layer}"],
                    [taps[-1]],
                ),
            ]
        nodes += [
            node("Concat", taps, [_OWN + "all_taps"], axis=0),
            _integers("taps_shape", [len(spec.dilations), spec.kernel - 1, spec.hidden]),
            node("Reshape", [_OWN + "all_taps", _OWN + "taps_shape"], ["taps"]),
        ]
    if spec.slow_rate > 1:
        nodes += [
            _integers("scalar", []),
            node("Reshape", [_OWN + "phase", _OWN + "scalar"], [_OWN + "phase_now"]),
            node("Cast", [_OWN + "phase_now"], ["phase"], to=7),
        ]
    return nodes


def _after(spec: ModelSpec) -> list[bytes]:
    """From what the step graph makes to `audio` and `next_state`."""
    sources, channels, hop, width = len(spec.sources), spec.channels, spec.hop, spec.synthesis_window
    nodes = [
        _integers("zero", [0]), _integers("one", [1]), _integers("two", [2]), _integers("hop", [hop]),
        _integers("flat", [-1]), _integers("width", [width]), _integers("window_end", [spec.analysis_window]),
        _integers("overlap_shape", [sources, channels, width - hop]),
        constant(_OWN + "silence", np.zeros((sources, channels, hop)), np.float32),
        node("Reshape", [_OWN + "overlap", _OWN + "overlap_shape"], [_OWN + "overlap_now"]),
        node("Concat", [_OWN + "overlap_now", _OWN + "silence"], [_OWN + "before"], axis=2),
        node("Add", ["frames", _OWN + "before"], [_OWN + "total"]),
        node("Slice", [_OWN + "total", _OWN + "zero", _OWN + "hop", _OWN + "two"], ["audio"]),
        node("Slice", [_OWN + "total", _OWN + "hop", _OWN + "width", _OWN + "two"], [_OWN + "tail"]),
        node("Reshape", [_OWN + "tail", _OWN + "flat"], [_OWN + "next_overlap"]),
        node("Slice", ["window", _OWN + "hop", _OWN + "window_end", _OWN + "one"], [_OWN + "newest"]),
        node("Reshape", [_OWN + "newest", _OWN + "flat"], [_OWN + "next_past"]),
    ]  # fmt: skip
    kept = [_OWN + "next_past"]
    if spec.dilations:
        columns = [f"{_OWN}column{layer}" for layer in range(len(spec.dilations))]
        nodes += [
            _integers("hidden", [spec.hidden]),
            _integers("column_sizes", [spec.hidden] * len(columns)),
            node("Reshape", ["column", _OWN + "flat"], [_OWN + "columns"]),
            node("Split", [_OWN + "columns", _OWN + "column_sizes"], columns, axis=0),
        ]
        for layer, dilation in enumerate(spec.dilations):
            rest, end = f"{_OWN}rest{layer}", f"{_OWN}size{layer}"
            nodes += [
                _integers(f"size{layer}", [(spec.kernel - 1) * dilation * spec.hidden]),
                node("Slice", [f"{_OWN}history{layer}", _OWN + "hidden", end, _OWN + "zero"], [rest]),
            ]
            kept += [rest, columns[layer]]
    kept += [_INNER["next_state"]] * bool(spec.state) + [_OWN + "next_overlap"]
    if spec.slow_rate > 1:
        nodes += [
            constant(_OWN + "one_hop", [1.0], np.float32),
            constant(_OWN + "rate", [float(spec.slow_rate)], np.float32),
            node("Add", [_OWN + "phase", _OWN + "one_hop"], [_OWN + "counted"]),
            node("Mod", [_OWN + "counted", _OWN + "rate"], [_OWN + "next_phase"], fmod=1),
        ]
        kept.append(_OWN + "next_phase")
    return [*nodes, node("Concat", kept, ["next_state"], axis=0)]


def _integers(name: str, values: list[int]) -> bytes:
    return constant(_OWN + name, np.array(values, np.int64), np.int64)
