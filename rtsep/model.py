"""Model: an ONNX graph, opened; and what `load` finds by name: shipped models, and methods that need no training."""

from __future__ import annotations

import warnings
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtsep.errors import InputError, RtsepError
from rtsep.model_spec import MAX_CHANNELS, MAX_RATE, MIN_RATE, ModelSpec, is_mono

if TYPE_CHECKING:
    from rtsep.engine.compiled.program import Program
    from rtsep.engine.inference import Step
    from rtsep.engine.native.step import NativeStep
    from rtsep.engine.stream import Stream

__all__ = [
    "MAX_CHANNELS",
    "MAX_RATE",
    "MIN_RATE",
    "Baseline",
    "Model",
    "ModelSpec",
    "baselines",
    "is_mono",
    "load",
    "shipped",
]


BACKENDS = ("onnxruntime", "compiled")


class Model:
    """A loaded model: its spec, and what runs its graph, which all its streams share and which holds no state.

    ``backend`` says what that is: a session of onnxruntime, or the graph compiled to a program of rtsep's own (several
    times as fast). Streams of one backend give the same bits whatever the blocks, the two agree within 1e-5. Any
    number of streams may run, each in its own thread.
    """

    spatial = False  # whether it can do nothing with channels that are the same

    def __init__(self, path: str | Path, backend: str = "onnxruntime") -> None:
        """Open ``path``. Raises InputError when it cannot be read, is no ONNX file or no rtsep model.

        A graph that cannot be compiled runs in onnxruntime, with a warning that says why.
        """
        if backend not in BACKENDS:
            raise InputError(f"There is no backend {backend!r}; there are {' and '.join(BACKENDS)}.")
        self.path = Path(path)
        self.backend = "onnxruntime"
        self._program: Program | None = None
        if backend == "compiled":
            self._compile()
        if self._program is None:
            metadata = self.session.get_modelmeta().custom_metadata_map
            self.spec = ModelSpec.parse(
                metadata, self.session.get_inputs(), self.session.get_outputs(), where=self.path.name
            )

    def _compile(self) -> None:
        from rtsep.engine.compiled.compiler import UnsupportedError, compile_model
        from rtsep.engine.compiled.onnx_file import OnnxError, read

        try:
            file = read(_bytes(self.path))
            self.spec = ModelSpec.parse(file.metadata, file.graph.inputs, file.graph.outputs, where=self.path.name)
            self._program, self.backend = compile_model(file, self.spec), "compiled"
        except (OnnxError, UnsupportedError) as error:
            warnings.warn(f"{self.path.name} runs in onnxruntime: {str(error).rstrip('.')}.", stacklevel=4)

    @cached_property
    def session(self) -> Any:
        """The graph in onnxruntime, opened when it is first asked for."""
        return _session(self.path)

    def step(self) -> Step:
        """A new step on this model, with a state of its own: ``step(window) -> frames``, hop after hop."""
        if self._program is not None:
            from rtsep.engine.compiled.step import CompiledStep

            return CompiledStep(self._program)
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

        Args:
            sample_rate: Hz, 8000 to 192000; None is the model's own.
            channels: 1 to 8. A mono model runs once a channel (cost times channels); a stereo model takes 1 or 2.
            strength: most attenuation in dB; None is no limit, 0 is the delayed input.
            block_multiple: promise that every block is a multiple of it, which lowers the latency; needs the model's
                rate.

        Raises:
            InputError: a value lies outside these ranges.
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

    def native_step(self, channels: int = 1) -> NativeStep:
        """A hop of a stream of ``channels`` channels as a C function without Python; see ``rtsep.engine.native.step``.

        By the model's backend. Raises InputError as ``stream`` does, RtsepError with one sentence when there is none.
        """
        if self._program is not None:
            from rtsep.engine.compiled import native

            return native.NativeStep(self._program, channels)
        from rtsep.engine.native.onnx_frames import onnx_frames
        from rtsep.engine.native.step import FramedStep

        return FramedStep(self.spec, onnx_frames(self.spec, self.path), channels)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its path: whoever unpickles it opens the file anew."""
        return type(self), (self.path.absolute(), self.backend)

    def __repr__(self) -> str:
        spec = self.spec
        return (
            f"Model({spec.name} {spec.version}: {spec.target} of {', '.join(spec.sources)}, {spec.sample_rate} Hz, "
            f"{1000 * spec.algorithmic_latency / spec.sample_rate:.2f} ms)"
        )


class Baseline(Model):
    """A method without weights in the place of a model: same spec, same streams, nothing to open.

    ``path`` is its name, which is what ``load`` takes.
    """

    spatial = True

    def __init__(self, name: str) -> None:
        """name: one of ``baselines()``."""
        from rtsep.baselines import SPECS

        self.path, self.backend = Path(name), "numpy"
        self.spec = SPECS[name]
        self._program = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its name."""
        return type(self), (self.spec.name,)

    def native_step(self, channels: int = 1) -> NativeStep:
        """See Model.native_step; a method without a graph has none."""
        raise RtsepError(f"{self.spec.name} is no network, and runs in a worker only.")

    def step(self) -> Step:
        """See Model.step."""
        from rtsep.baselines import step

        return step(self.spec.name)


def _bytes(path: Path, count: int = -1) -> bytes:
    """The first `count` bytes of a model's file, or all."""
    try:
        with path.open("rb") as file:
            data = file.read(count)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    if not data:
        raise InputError(f"{path} is empty; a model is an .onnx file.")
    return data


def _session(path: Path) -> Any:
    _bytes(path, 1)
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
        if type(error).__name__ == "InvalidProtobuf":
            raise InputError(f"{path} is not an ONNX model, or damaged; fetch it again.") from error
        raise InputError(
            f"{path} cannot be run by onnxruntime {onnxruntime.__version__}; update onnxruntime, or export it again."
        ) from error


def shipped() -> dict[str, Path]:
    """The models that come with rtsep: name to path of the .onnx."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "models").glob("*.onnx"))}


def baselines() -> tuple[str, ...]:
    """Names of the methods that need no training; `load` takes them too."""
    from rtsep.baselines import SPECS

    return tuple(SPECS)


def load(name_or_path: str | Path, backend: str = "onnxruntime") -> Model:
    """Load a shipped model ("denoise") or a baseline ("mid-side") by its name, or any rtsep model by its .onnx's path.

    Args:
        name_or_path: what to load.
        backend: "onnxruntime", or "compiled", several times as fast (see Model); baselines take either and need none.

    Raises:
        InputError: there is no such model or backend, or the file is not one.
    """
    if not isinstance(name_or_path, str | Path):
        raise InputError(f"A model is named by a str or a Path, not by {type(name_or_path).__name__}.")
    ships = shipped()
    if str(name_or_path) in ships:
        return Model(ships[str(name_or_path)], backend)
    if str(name_or_path) in baselines():
        return Baseline(str(name_or_path))
    path = Path(name_or_path)
    if path.exists() or path.suffix == ".onnx":
        return Model(path, backend)
    raise InputError(
        f"There is no model {str(name_or_path)!r}; give the path of an .onnx file or one of: "
        f"{', '.join([*ships, *baselines()])}."
    )


def check_target(name: str | Path, target: str) -> None:
    """Raises InputError for a model that does not put out ``target``, or is none at all."""
    spec = load(name).spec
    if spec.target != target:
        raise InputError(f"{spec.name} keeps {spec.target}, not {target}; choose another that `rtsep models` lists.")
