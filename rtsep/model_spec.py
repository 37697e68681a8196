"""ModelSpec: what the metadata inside an ONNX graph say about it, held against the graph.

Everything the host has to know travels inside the file as ``rtsep.*`` metadata; nothing is guessed. A file whose
metadata are missing, or contradicted by the graph's own inputs and outputs, is refused with a sentence naming the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rtsep.errors import InputError

FORMAT = "1"
FORMS = ("step", "flat")
MIN_RATE, MAX_RATE, MAX_CHANNELS = 8_000, 192_000, 8

# key: (smallest, largest) value allowed
_INTEGERS = {
    "sample_rate": (MIN_RATE, MAX_RATE),
    "hop": (1, 65_536),
    "analysis_window": (1, 1 << 20),
    "synthesis_window": (1, 65_536),
    "lookahead": (0, 1 << 20),
    "channels": (1, MAX_CHANNELS),
    "kernel": (2, 1 << 10),
    "hidden": (0, 1 << 16),
    "condition": (0, 1 << 20),
    "state": (0, 1 << 24),
    "slow_rate": (1, 1 << 10),
    "side_width": (0, 1 << 16),
}
_USUAL = {"slow_rate": 1, "side_width": 0}  # of keys that a file may leave out
_TEXTS = ("name", "version", "target", "licence", "trained_on", "recipe")

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class ModelSpec:
    """What one model is: parsed from its metadata, checked against its graph.

    Windows, hop and look-ahead are samples at ``sample_rate`` (Hz); ``dilations`` are hops, one a layer. Some of
    a model may run only every ``slow_rate``-th hop: a step graph is then told its phase, its number modulo that.
    A model with a ``condition`` takes so many numbers of side information, one for each of its ``classes``, or a
    sequence of frames of ``side_width`` each, if it has these.
    """

    form: str
    name: str
    version: str
    target: str
    licence: str
    trained_on: str
    recipe: str
    sample_rate: int
    hop: int
    analysis_window: int
    synthesis_window: int
    lookahead: int
    channels: int
    sources: tuple[str, ...]
    kernel: int
    dilations: tuple[int, ...]
    hidden: int
    condition: int
    state: int
    weights_sha256: str
    activity: bool = False
    slow_rate: int = 1
    classes: tuple[str, ...] = ()
    side_width: int = 0

    @property
    def layers(self) -> int:
        """Number of dilated depthwise convolutions."""
        return len(self.dilations)

    @property
    def target_index(self) -> int:
        """Row of the target in the ``sources`` axis."""
        return self.sources.index(self.target)

    @property
    def algorithmic_latency(self) -> int:
        """Synthesis window + look-ahead, in samples at the model's rate; nothing else counts, nothing is left out."""
        return self.synthesis_window + self.lookahead

    @property
    def receptive_field(self) -> int:
        """Past samples (at the model's rate) one output sample can depend on; recurrent state reaches further."""
        past_hops = (self.kernel - 1) * sum(self.dilations)
        return self.analysis_window + self.hop * past_hops + self.synthesis_window

    def inputs(self) -> Shapes:
        """Names and shapes of the graph's inputs (float32, the phase int64), as the metadata promise them."""
        if self.form == "flat":
            flat = {"hop": (self.channels, self.hop), "state": (self.state,)}
            return flat | ({"condition": (self.condition,)} if self.condition else {})
        shapes: Shapes = {"window": (self.channels, self.analysis_window)}
        if self.layers:
            shapes["taps"] = (self.layers, self.kernel - 1, self.hidden)
        if self.condition:
            shapes["condition"] = (self.condition,)
        if self.state:
            shapes["state"] = (self.state,)
        if self.slow_rate > 1:
            shapes["phase"] = ()
        return shapes

    def outputs(self) -> Shapes:
        """Names and shapes of the graph's outputs (float32), as the metadata promise them."""
        sources = len(self.sources)
        if self.form == "flat":
            return {"audio": (sources, self.channels, self.hop), "next_state": (self.state,)}
        shapes: Shapes = {"frames": (sources, self.channels, self.synthesis_window)}
        if self.layers:
            shapes["column"] = (self.layers, self.hidden)
        if self.state:
            shapes["next_state"] = (self.state,)
        if self.activity:
            shapes["activity"] = (sources,)
        return shapes

    @classmethod
    def parse(
        cls, metadata: Mapping[str, str], inputs: Iterable[Any], outputs: Iterable[Any], where: str = "the model"
    ) -> ModelSpec:
        """Read the ``rtsep.*`` keys of ``metadata`` and hold them against the graph.

        ``inputs`` and ``outputs`` are onnxruntime's ``NodeArg`` (anything with ``name``, ``shape`` and ``type``);
        ``where`` names the file in messages. Raises InputError naming the first key or tensor that is wrong.
        """
        if not any(key.startswith("rtsep.") for key in metadata):
            raise InputError(f"{where} carries no rtsep metadata; use a model written by `python -m training.export`.")
        read = Metadata(metadata, where)
        if read.text("format") != FORMAT:
            raise read.wrong("format", f"must be {FORMAT}; update rtsep or export the model again")
        form = read.text("form")
        if form not in FORMS:
            raise read.wrong("form", "must be step or flat")
        numbers = {key: read.integer(key, low, high) for key, (low, high) in _INTEGERS.items()}
        texts = {key: read.text(key) for key in _TEXTS}
        sources = read.strings("sources")
        if texts["target"] not in sources:
            raise read.wrong("target", f"is not one of the sources {', '.join(sources)}")
        if numbers["synthesis_window"] < numbers["hop"]:
            raise read.wrong("synthesis_window", f"is shorter than the hop of {numbers['hop']} samples")
        if numbers["analysis_window"] < numbers["synthesis_window"]:
            window = numbers["synthesis_window"]
            raise read.wrong("analysis_window", f"is shorter than the synthesis window of {window} samples")
        classes = read.strings("classes") if "rtsep.classes" in metadata else ()
        if classes and len(classes) != numbers["condition"]:
            raise read.wrong("classes", f"are not as many as rtsep.condition says, {numbers['condition']}")
        if form == "flat" and not numbers["state"]:
            raise read.wrong("state", "must be positive in the flat form, which keeps its windows in it")
        if numbers["slow_rate"] > 1 and not numbers["state"]:
            raise read.wrong("slow_rate", "needs a state, in which what the slow part puts out is kept")
        digest = read.text("weights_sha256")
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise read.wrong("weights_sha256", "is not a sha256 in hexadecimal")
        dilations = read.positive_integers("dilations")
        if dilations and not numbers["hidden"]:
            raise read.wrong("hidden", "must be positive, for there are convolutions")
        found_in, found_out = list(inputs), list(outputs)
        values: dict[str, Any] = texts | numbers
        spec = cls(
            form=form,
            sources=sources,
            dilations=dilations,
            classes=classes,
            weights_sha256=digest,
            activity=form == "step" and any(node.name == "activity" for node in found_out),
            **values,
        )
        compare_shapes(spec.inputs(), found_in, "input", where)
        compare_shapes(spec.outputs(), found_out, "output", where)
        return spec


class Metadata:
    """Typed reading of the rtsep keys; every refusal names its key."""

    def __init__(self, metadata: Mapping[str, str], where: str) -> None:
        self._metadata, self._where = metadata, where

    def wrong(self, key: str, why: str) -> InputError:
        value = self._metadata[f"rtsep.{key}"]
        shown = value if len(value) <= 60 else value[:57] + "..."
        return InputError(f"{self._where}: metadata key rtsep.{key} is {shown!r} and {why}.")

    def text(self, key: str) -> str:
        try:
            return self._metadata[f"rtsep.{key}"]
        except KeyError:
            raise InputError(f"{self._where}: metadata key rtsep.{key} is missing; export the model again.") from None

    def integer(self, key: str, low: int, high: int) -> int:
        if key in _USUAL and f"rtsep.{key}" not in self._metadata:
            return _USUAL[key]
        text = self.text(key)
        if not re.fullmatch("[0-9]{1,18}", text):
            raise self.wrong(key, "must be a decimal integer")
        if not low <= int(text) <= high:
            raise self.wrong(key, f"must lie between {low} and {high}")
        return int(text)

    def _array(self, key: str, least: int = 1) -> list[Any]:
        try:
            values = json.loads(self.text(key))
        except json.JSONDecodeError:
            raise self.wrong(key, "must be a JSON array") from None
        if not isinstance(values, list) or len(values) < least:
            raise self.wrong(key, "must be a JSON array" + (" that is not empty" if least else ""))
        return values

    def strings(self, key: str) -> tuple[str, ...]:
        values = self._array(key)
        if not all(isinstance(value, str) and value for value in values) or len(set(values)) < len(values):
            raise self.wrong(key, "must hold different names")
        return tuple(values)

    def positive_integers(self, key: str) -> tuple[int, ...]:
        values = self._array(key, least=0)
        if not all(type(value) is int and 0 < value <= 1 << 20 for value in values):
            raise self.wrong(key, "must hold positive integers")
        return tuple(values)


def compare_shapes(promised: Shapes, found: list[Any], side: str, where: str) -> None:
    """Hold onnxruntime's ``NodeArg`` s against what the metadata promise; raises InputError naming the tensor."""
    nodes = {node.name: node for node in found}
    for name, shape in promised.items():
        if name not in nodes:
            raise InputError(f"{where}: the graph has no {side} {name!r}, which its metadata promise.")
        node = nodes[name]
        kind = "int64" if name == "phase" else "float"
        if node.type != f"tensor({kind})":
            needed = "int64" if name == "phase" else "float32"
            raise InputError(f"{where}: {side} {name!r} is {node.type}, but must be {needed}.")
        if tuple(node.shape) != shape:
            raise InputError(
                f"{where}: {side} {name!r} has shape {list(node.shape)}, but the metadata say {list(shape)} "
                f"({_SHAPED_BY[name]})."
            )
    for name in nodes:
        if name not in promised:
            raise InputError(f"{where}: the graph has an {side} {name!r}, which its metadata do not promise.")


_SHAPED_BY = {
    "window": "rtsep.channels, rtsep.analysis_window",
    "taps": "rtsep.dilations, rtsep.kernel, rtsep.hidden",
    "condition": "rtsep.condition",
    "state": "rtsep.state",
    "phase": "rtsep.slow_rate",
    "hop": "rtsep.channels, rtsep.hop",
    "frames": "rtsep.sources, rtsep.channels, rtsep.synthesis_window",
    "column": "rtsep.dilations, rtsep.hidden",
    "next_state": "rtsep.state",
    "activity": "rtsep.sources",
    "audio": "rtsep.sources, rtsep.channels, rtsep.hop",
    "magnitudes": "rtsep.channels, rtsep.frames, rtsep.bins",
    "masks": "rtsep.sources, rtsep.channels, rtsep.frames, rtsep.bins",
    "spectra": "rtsep.channels, rtsep.frames, rtsep.bins",
    "separated": "rtsep.sources, rtsep.channels, rtsep.frames, rtsep.bins",
}


def is_mono(mid: float, side: float) -> bool:
    """Whether channels whose sum has the energy ``mid``, and difference ``side``, are the same but for lossy coding."""
    return side <= 1e-6 * mid
