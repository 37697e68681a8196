"""Small causal Conv-TasNets with random weights: as ONNX graphs of both forms, and as a slow numpy sequence.

The three are written from the same weights but not from each other, so a test that compares them checks the host
(windows, rings, overlap-add, latency) and the contract at once.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper


@dataclass
class Network:
    """Sizes and random weights of one network; ``identity`` makes the first source the input itself, the rest zero.

    Encoder -> bottleneck -> per layer (1x1, tanh, depthwise dilated convolution over the past, tanh, 1x1, residual)
    -> a recurrent cell if ``state``, which runs every ``slow_rate``-th hop -> sigmoid masks -> decoder with a sqrt-Hann
    window.
    """

    hop: int = 16
    analysis_window: int = 64
    synthesis_window: int = 32
    lookahead: int = 0
    channels: int = 1
    sources: tuple[str, ...] = ("speech", "noise")
    dilations: tuple[int, ...] = (1, 2, 4)
    kernel: int = 3
    hidden: int = 6
    state: int = 0
    slow_rate: int = 1
    condition: int = 0
    activity: bool = False
    sample_rate: int = 48000
    identity: bool = False
    basis: int = 24
    bottleneck: int = 8
    seed: int = 0
    weights: dict[str, np.ndarray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        draw = np.random.default_rng(self.seed).standard_normal
        window, frame = self.channels * self.analysis_window, self.channels * self.synthesis_window
        hann = np.sin(np.pi * (np.arange(self.synthesis_window) + 0.5) / self.synthesis_window)  # sqrt-Hann
        hann *= np.sqrt(2 * self.hop / self.synthesis_window)
        if self.identity:
            self.basis = frame
            basis = np.zeros((self.channels, self.analysis_window, self.channels, self.synthesis_window))
            first = self.analysis_window - self.lookahead - self.synthesis_window
            for channel in range(self.channels):
                basis[channel, first : first + self.synthesis_window, channel] = np.diag(hann)
            encoder = basis.reshape(window, frame)
            decoder: np.ndarray = np.eye(frame)
        else:
            encoder = draw((window, self.basis)) / np.sqrt(window)
            decoder = draw((self.basis, frame)) / np.sqrt(self.basis)
        decoder = decoder * np.tile(hann, self.channels)

        def dense(rows: int, columns: int) -> np.ndarray:
            return draw((rows, columns)) / np.sqrt(rows)

        weights = {"encoder": encoder, "decoder": decoder, "narrow": 2 * dense(self.basis, self.bottleneck)}
        for layer in range(len(self.dilations)):
            weights[f"in{layer}"] = dense(self.bottleneck, self.hidden)
            weights[f"bias{layer}"] = 0.1 * draw((1, self.hidden))
            weights[f"depthwise{layer}"] = draw((self.kernel, self.hidden)) / np.sqrt(self.kernel)
            weights[f"out{layer}"] = dense(self.hidden, self.bottleneck)
        if self.condition:
            weights["hint"] = dense(self.condition, self.bottleneck)
        if self.state:
            weights |= {"listen": dense(self.bottleneck, self.state), "recall": dense(self.state, self.state)}
            weights["tell"] = dense(self.state, self.bottleneck)
        for k, source in enumerate(self.sources):
            if self.identity:  # sigmoid(+-1e4) is exactly 1 and 0
                weights[f"mask_{source}"] = np.zeros((self.bottleneck, self.basis))
                weights[f"level_{source}"] = np.full((1, self.basis), 1e4 if k == 0 else -1e4)
            else:
                weights[f"mask_{source}"] = dense(self.bottleneck, self.basis)
                weights[f"level_{source}"] = np.zeros((1, self.basis))
        if self.activity:
            weights["active"] = dense(self.bottleneck, len(self.sources))
        self.weights = {name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()}

    # The sequence form: the whole signal at once, zero padding before its beginning.

    def sequence(self, x: np.ndarray, condition: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """x [channels, samples], samples a multiple of the hop, to sources [sources, channels, samples], activity.

        The result is aligned with x; its last ``algorithmic_latency - hop`` samples still lack later frames.
        """
        w = {name: value.astype(np.float64) for name, value in self.weights.items()}
        hops = x.shape[1] // self.hop
        padded = np.pad(x.astype(np.float64), ((0, 0), (self.analysis_window - self.hop, 0)))
        windows = sliding_window_view(padded, self.analysis_window, axis=1)[:, :: self.hop]
        coded = windows.transpose(1, 0, 2).reshape(hops, -1) @ w["encoder"]
        y = coded @ w["narrow"]
        if self.condition:
            hint = np.zeros(self.condition) if condition is None else condition
            y = y + hint @ w["hint"]
        for layer, dilation in enumerate(self.dilations):
            tapped = np.tanh(y @ w[f"in{layer}"] + w[f"bias{layer}"])
            past = np.pad(tapped, (((self.kernel - 1) * dilation, 0), (0, 0)))
            deep = sum(past[j * dilation :][:hops] * w[f"depthwise{layer}"][j] for j in range(self.kernel))
            y = y + np.tanh(deep) @ w[f"out{layer}"]
        if self.state:
            cell = np.zeros(self.state)
            cells = []
            for hop, row in enumerate(y):
                if hop % self.slow_rate == self.slow_rate - 1:
                    cell = np.tanh(row @ w["listen"] + cell @ w["recall"])
                cells.append(cell)
            y = y + np.array(cells) @ w["tell"]
        late = self.synthesis_window + self.lookahead
        result = np.zeros((len(self.sources), self.channels, x.shape[1] + late))
        for k, source in enumerate(self.sources):
            mask = _sigmoid(y @ w[f"mask_{source}"] + w[f"level_{source}"])
            frames = ((mask * coded) @ w["decoder"]).reshape(hops, self.channels, -1)
            for h in range(hops):
                begin = (h + 1) * self.hop  # position end - late, in a result that starts `late` samples early
                result[k, :, begin : begin + self.synthesis_window] += frames[h]
        activity = _sigmoid(y @ w["active"]) if self.activity else None
        return result[..., late:], activity

    # The graphs.

    def metadata(self, form: str = "step") -> dict[str, str]:
        digest = hashlib.sha256()
        for name in sorted(self.weights):
            digest.update(self.weights[name].astype("<f4").tobytes())
        numbers = ("sample_rate", "hop", "analysis_window", "synthesis_window", "lookahead", "channels")
        values = {name: str(getattr(self, name)) for name in (*numbers, "kernel", "hidden", "condition")}
        values |= {"slow_rate": str(self.slow_rate)} if self.slow_rate > 1 else {}
        values |= {
            "format": "1",
            "form": form,
            "name": "tiny",
            "version": "0",
            "target": self.sources[0],
            "licence": "MIT",
            "trained_on": "nothing: random weights",
            "recipe": "none",
            "sources": json.dumps(self.sources),
            "dilations": json.dumps(self.dilations),
            "state": str(self.state if form == "step" else self.flat_state),
            "weights_sha256": digest.hexdigest(),
        }
        return {f"rtsep.{key}": value for key, value in values.items()}

    @property
    def flat_state(self) -> int:
        """Numbers in the flat form's state: past window, tap history, recurrent state, overlap-add tail, phase."""
        history = (self.kernel - 1) * sum(self.dilations) * self.hidden
        tail = len(self.sources) * self.channels * (self.synthesis_window - self.hop)
        phase = int(self.slow_rate > 1)
        return self.channels * (self.analysis_window - self.hop) + history + self.state + tail + phase

    def save(self, path: Path, form: str = "step", /, **overrides: str | None) -> Path:
        """Write the graph to ``path``; ``overrides`` replace metadata (key without prefix), None removes a key."""
        model = self.step_graph() if form == "step" else self.flat_graph()
        metadata = self.metadata(form) | {f"rtsep.{key}": value for key, value in overrides.items()}
        helper.set_model_props(model, {key: value for key, value in metadata.items() if value is not None})
        onnx.save(model, path)
        return path

    def step_graph(self) -> onnx.ModelProto:
        g = _Graph(self.weights)
        g.take_in("window", self.channels, self.analysis_window)
        if self.dilations:
            g.take_in("taps", len(self.dilations), self.kernel - 1, self.hidden)
        taps = []
        for layer in range(len(self.dilations)):
            rows = g.slice("taps", 0, layer, layer + 1)
            taps.append(g.reshape(rows, self.kernel - 1, self.hidden))
        if self.condition:
            g.take_in("condition", self.condition)
        if self.state:
            g.take_in("state", self.state)
        if self.slow_rate > 1:
            g.take_in("phase", kind=TensorProto.INT64)
        columns, cell = self._hop(g, "window", taps, "state", "phase")
        if self.dilations:
            g.give("Concat", columns, "column", (len(self.dilations), self.hidden), axis=0)
        g.outputs.append(("frames", (len(self.sources), self.channels, self.synthesis_window)))
        if self.state:
            g.give("Reshape", [cell, g.shape(self.state)], "next_state", (self.state,))
        if self.activity:
            g.outputs.append(("activity", (len(self.sources),)))
        return g.model()

    def flat_graph(self) -> onnx.ModelProto:
        g = _Graph(self.weights)
        g.take_in("hop", self.channels, self.hop)
        g.take_in("state", self.flat_state)
        at = 0

        def part(*shape: int) -> str:
            nonlocal at
            at += int(np.prod(shape))
            return g.reshape(g.slice("state", 0, at - int(np.prod(shape)), at), *shape)

        window = g.node("Concat", part(self.channels, self.analysis_window - self.hop), "hop", axis=1)
        histories = [part((self.kernel - 1) * d, self.hidden) for d in self.dilations]
        taps = []
        for history, d in zip(histories, self.dilations, strict=True):
            rows = [g.slice(history, 0, j * d, j * d + 1) for j in range(self.kernel - 1)]
            taps.append(g.node("Concat", *rows, axis=0))
        cell_before = part(self.state) if self.state else ""
        whole, overlap = "frames", self.synthesis_window - self.hop
        before = part(len(self.sources), self.channels, overlap) if overlap else ""
        count = part(1) if self.slow_rate > 1 else ""
        phase = g.node("Cast", g.reshape(count), to=TensorProto.INT64) if count else ""
        columns, cell = self._hop(g, window, taps, cell_before, phase)
        if overlap:
            silence = g.constant(np.zeros((len(self.sources), self.channels, self.hop), np.float32))
            whole = g.node("Add", whole, g.node("Concat", before, silence, axis=2))
        g.give("Identity", [g.slice(whole, 2, 0, self.hop)], "audio", (len(self.sources), self.channels, self.hop))
        keep = [g.slice(window, 1, self.hop, self.analysis_window)]
        for history, column, d in zip(histories, columns, self.dilations, strict=True):
            keep.append(g.node("Concat", g.slice(history, 0, 1, (self.kernel - 1) * d), column, axis=0))
        if self.state:
            keep.append(cell)
        if overlap:
            keep.append(g.slice(whole, 2, self.hop, self.synthesis_window))
        if count:
            following = g.node("Add", count, g.constant(np.ones(1, np.float32)))
            keep.append(g.node("Mod", following, g.constant(np.full(1, self.slow_rate, np.float32)), fmod=1))
        g.give("Concat", [g.reshape(value, -1) for value in keep], "next_state", (self.flat_state,), axis=0)
        return g.model()

    def _hop(self, g: _Graph, window: str, taps: list[str], state: str, phase: str) -> tuple[list[str], str]:
        """The nodes of one hop, from window to ``frames`` (and ``activity``); columns and the new cell."""
        coded = g.node("MatMul", g.reshape(window, 1, -1), "encoder")
        y = g.node("MatMul", coded, "narrow")
        if self.condition:
            y = g.node("Add", y, g.node("MatMul", g.reshape("condition", 1, -1), "hint"))
        columns = []
        for layer in range(len(self.dilations)):
            tapped = g.node("Tanh", g.node("Add", g.node("MatMul", y, f"in{layer}"), f"bias{layer}"))
            columns.append(tapped)
            past = g.node("Mul", g.node("Concat", taps[layer], tapped, axis=0), f"depthwise{layer}")
            deep = g.node("ReduceSum", past, g.shape(0), keepdims=1)
            y = g.node("Add", y, g.node("MatMul", g.node("Tanh", deep), f"out{layer}"))
        cell = ""
        if self.state:
            before = g.node("MatMul", g.reshape(state, 1, -1), "recall")
            cell = g.node("Tanh", g.node("Add", g.node("MatMul", y, "listen"), before))
            if self.slow_rate > 1:
                last = g.node("Equal", phase, g.constant(np.array(self.slow_rate - 1, np.int64)))
                cell = g.node("Where", last, cell, g.reshape(state, 1, -1))
            y = g.node("Add", y, g.node("MatMul", cell, "tell"))
        frames = []
        for source in self.sources:
            raw = g.node("Add", g.node("MatMul", y, f"mask_{source}"), f"level_{source}")
            masked = g.node("Mul", g.node("Sigmoid", raw), coded)
            frames.append(g.reshape(g.node("MatMul", masked, "decoder"), 1, self.channels, self.synthesis_window))
        g.node("Concat", *frames, axis=0, name="frames")
        if self.activity:
            score = g.node("Sigmoid", g.node("MatMul", y, "active"))
            g.node("Reshape", score, g.shape(len(self.sources)), name="activity")
        return columns, cell


class _Graph:
    """A small writer of ONNX graphs: each method adds nodes and returns the name of the value."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[tuple[str, tuple[int, ...]]] = []
        self.initialisers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
        self._count = 0

    def take_in(self, name: str, *shape: int, kind: int = TensorProto.FLOAT) -> None:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))

    def give(self, kind: str, values: list[str], name: str, shape: tuple[int, ...], **attributes: int) -> None:
        self.node(kind, *values, name=name, **attributes)
        self.outputs.append((name, shape))

    def node(self, kind: str, *values: str, name: str = "", **attributes: Any) -> str:
        self._count += 1
        name = name or f"v{self._count}"
        self.nodes.append(helper.make_node(kind, list(values), [name], **attributes))
        return name

    def constant(self, value: np.ndarray) -> str:
        self._count += 1
        self.initialisers.append(numpy_helper.from_array(value, f"c{self._count}"))
        return f"c{self._count}"

    def shape(self, *sizes: int) -> str:
        return self.constant(np.array(sizes, np.int64))

    def reshape(self, value: str, *sizes: int) -> str:
        return self.node("Reshape", value, self.shape(*sizes))

    def slice(self, value: str, axis: int, begin: int, end: int) -> str:
        return self.node("Slice", value, self.shape(begin), self.shape(end), self.shape(axis))

    def model(self) -> onnx.ModelProto:
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in self.outputs]
        graph = helper.make_graph(self.nodes, "tiny", self.inputs, outputs, self.initialisers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        return model


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))
