"""Model and ModelSpec: an ONNX graph and what its metadata says about it.

Everything the host has to know travels inside the file as ``rtsep.*`` metadata; nothing is guessed. A file whose
metadata are missing, or contradicted by the graph's own inputs and outputs, is refused with a sentence naming the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtsep.errors import InputError

if TYPE_CHECKING:
    from rtsep.engine.inference import Step
    from rtsep.engine.stream import Stream

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
    "hidden": (1, 1 << 16),
    "condition": (0, 1 << 20),
    "state": (0, 1 << 24),
}
_TEXTS = ("name", "version", "target", "licence", "trained_on", "recipe")

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class ModelSpec:
    """What one model is: parsed from its metadata, checked against its graph.

    Windows, hop and look-ahead are samples at ``sample_rate`` (Hz); ``dilations`` are hops, one a layer.
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
        """Names and shapes of the graph's inputs (float32), as the metadata promise them."""
        if self.form == "flat":
            return {"hop": (self.channels, self.hop), "state": (self.state,)}
        shapes: Shapes = {
            "window": (self.channels, self.analysis_window),
            "taps": (self.layers, self.kernel - 1, self.hidden),
        }
        if self.condition:
            shapes["condition"] = (self.condition,)
        if self.state:
            shapes["state"] = (self.state,)
        return shapes

    def outputs(self) -> Shapes:
        """Names and shapes of the graph's outputs (float32), as the metadata promise them."""
        sources = len(self.sources)
        if self.form == "flat":
            return {"audio": (sources, self.channels, self.hop), "next_state": (self.state,)}
        shapes: Shapes = {
            "frames": (sources, self.channels, self.synthesis_window),
            "column": (self.layers, self.hidden),
        }
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
        read = _Metadata(metadata, where)
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
        if form == "flat" and numbers["condition"]:
            raise read.wrong("condition", "must be 0 in the flat form, which has no such input")
        if form == "flat" and not numbers["state"]:
            raise read.wrong("state", "must be positive in the flat form, which keeps its windows in it")
        digest = read.text("weights_sha256")
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise read.wrong("weights_sha256", "is not a sha256 in hexadecimal")
        dilations = read.positive_integers("dilations")
        found_in, found_out = list(inputs), list(outputs)
        values: dict[str, Any] = texts | numbers
        spec = cls(
            form=form,
            sources=sources,
            dilations=dilations,
            weights_sha256=digest,
            activity=form == "step" and any(node.name == "activity" for node in found_out),
            **values,
        )
        _compare(spec.inputs(), found_in, "input", where)
        _compare(spec.outputs(), found_out, "output", where)
        return spec


class _Metadata:
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
        text = self.text(key)
        if not re.fullmatch("[0-9]{1,18}", text):
            raise self.wrong(key, "must be a decimal integer")
        if not low <= int(text) <= high:
            raise self.wrong(key, f"must lie between {low} and {high}")
        return int(text)

    def _array(self, key: str) -> list[Any]:
        try:
            values = json.loads(self.text(key))
        except json.JSONDecodeError:
            raise self.wrong(key, "must be a JSON array") from None
        if not isinstance(values, list) or not values:
            raise self.wrong(key, "must be a JSON array that is not empty")
        return values

    def strings(self, key: str) -> tuple[str, ...]:
        values = self._array(key)
        if not all(isinstance(value, str) and value for value in values) or len(set(values)) < len(values):
            raise self.wrong(key, "must hold different names")
        return tuple(values)

    def positive_integers(self, key: str) -> tuple[int, ...]:
        values = self._array(key)
        if not all(type(value) is int and 0 < value <= 1 << 20 for value in values):
            raise self.wrong(key, "must hold positive integers")
        return tuple(values)


def _compare(promised: Shapes, found: list[Any], side: str, where: str) -> None:
    nodes = {node.name: node for node in found}
    for name, shape in promised.items():
        if name not in nodes:
            raise InputError(f"{where}: the graph has no {side} {name!r}, which its metadata promise.")
        node = nodes[name]
        if node.type != "tensor(float)":
            raise InputError(f"{where}: {side} {name!r} is {node.type}, but must be float32.")
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
    "hop": "rtsep.channels, rtsep.hop",
    "frames": "rtsep.sources, rtsep.channels, rtsep.synthesis_window",
    "column": "rtsep.dilations, rtsep.hidden",
    "next_state": "rtsep.state",
    "activity": "rtsep.sources",
    "audio": "rtsep.sources, rtsep.channels, rtsep.hop",
}


class Model:
    """A loaded model: its spec, and the onnxruntime session that all its streams share.

    The session holds the weights and no state, so any number of streams, each in its own thread, may run on it.
    """

    spatial = False  # whether it can do nothing with channels that are the same

    def __init__(self, path: str | Path) -> None:
        """Open ``path``. Raises InputError when it cannot be read, is no ONNX file or no rtsep model."""
        self.path = Path(path)
        self.session = _session(self.path)
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.spec = ModelSpec.parse(
            metadata, self.session.get_inputs(), self.session.get_outputs(), where=self.path.name
        )

    def step(self) -> Step:
        """A new step on this model, with a state of its own: ``step(window) -> frames``, hop after hop."""
        from rtsep.engine.inference import FlatStep, OnnxStep

        return OnnxStep(self.spec, self.session) if self.spec.form == "step" else FlatStep(self.spec, self.session)

    def stream(
        self,
        sample_rate: int | None = None,
        channels: int = 1,
        strength: float | None = None,
        block_multiple: int = 1,
    ) -> Stream:
        """A new stream: blocks of any size in, as many samples out, after a constant latency.

        sample_rate: Hz, 8000 to 192000; None is the model's own.
        channels: 1 to 8. A mono model runs once a channel (cost times channels); a stereo model takes 1 or 2.
        strength: most attenuation in dB; None is no limit, 0 is the delayed input.
        block_multiple: promise that every block is a multiple of it, which lowers the latency; needs the model's rate.

        Raises InputError for a value outside these ranges.
        """
        from rtsep.engine.stream import Stream

        return Stream(
            self.spec,
            self.step,
            sample_rate=sample_rate,
            channels=channels,
            strength=strength,
            block_multiple=block_multiple,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its path: whoever unpickles it opens the file anew."""
        return type(self), (self.path.absolute(),)

    def __repr__(self) -> str:
        spec = self.spec
        return (
            f"Model({spec.name} {spec.version}: {spec.target} of {', '.join(spec.sources)}, {spec.sample_rate} Hz, "
            f"{1000 * spec.algorithmic_latency / spec.sample_rate:.2f} ms)"
        )


def _session(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path} is empty; a model is an .onnx file.")
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One hop is too little work to share out; spinning helpers only heat the cores the sound system needs.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a dozen exception types without a common base of their own
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{path} is not an ONNX model that onnxruntime can open ({reason}).") from None


def is_mono(mid: float, side: float) -> bool:
    """Whether channels whose sum has the energy ``mid``, and difference ``side``, are the same but for lossy coding."""
    return side <= 1e-6 * mid


def shipped() -> dict[str, Path]:
    """The models that come with rtsep: name to path of the .onnx."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "models").glob("*.onnx"))}


def baselines() -> tuple[str, ...]:
    """Names of the methods that need no training; `load` takes them too."""
    from rtsep.baselines import SPECS

    return tuple(SPECS)


def load(name_or_path: str | Path) -> Model:
    """Load a shipped model ("denoise") or a baseline ("mid-side") by its name, or any rtsep model by its .onnx's path.

    Raises InputError when there is no such model, or the file is not one.
    """
    if not isinstance(name_or_path, str | Path):
        raise InputError(f"A model is named by a str or a Path, not by {type(name_or_path).__name__}.")
    ships = shipped()
    if str(name_or_path) in ships:
        return Model(ships[str(name_or_path)])
    if str(name_or_path) in baselines():
        from rtsep.baselines import Baseline

        return Baseline(str(name_or_path))
    path = Path(name_or_path)
    if path.exists() or path.suffix == ".onnx":
        return Model(path)
    raise InputError(
        f"There is no model {str(name_or_path)!r}; give the path of an .onnx file or one of: "
        f"{', '.join([*ships, *baselines()])}."
    )
