"""Model: an ONNX graph, opened; and what `load` finds by name: shipped models, and methods that need no training."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtsep.engine.spectral_spec import FORM, SpectralSpec
from rtsep.errors import InputError, RtsepError
from rtsep.model_spec import MAX_CHANNELS, MAX_RATE, MIN_RATE, ModelSpec, is_mono

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rtsep.engine.compiled.native import NativeStep
    from rtsep.engine.compiled.program import Program
    from rtsep.engine.inference import Step
    from rtsep.engine.segment_separator import SegmentSeparator
    from rtsep.engine.stream import Stream

__all__ = [
    "MAX_CHANNELS",
    "MAX_RATE",
    "MIN_RATE",
    "Baseline",
    "Model",
    "ModelFile",
    "ModelSpec",
    "SpectralModel",
    "baselines",
    "installed",
    "is_mono",
    "load",
    "look_at",
    "models_folder",
    "shipped",
]


BACKENDS = ("onnxruntime", "compiled")  # on the processor
CUDA = "cuda"


class Model:
    """A loaded model: its spec, and what runs its graph, which all its streams share and which holds no state.

    ``backend`` says what that is: a session of onnxruntime, the graph compiled to a program of rtsep's own (several
    times as fast), or a session on a GPU. Streams of one backend give the same bits whatever the blocks; the first two
    agree within 1e-5. Any number of streams may run, each in its own thread.

    ``not_compiled`` is a sentence where the compiled backend was asked for, and the graph cannot be.
    """

    spatial = False  # whether it can do nothing with channels that are the same
    streams = True  # whether it works on sound that is still being made
    not_compiled: str | None = None
    spec: ModelSpec

    def __init__(self, path: str | Path, backend: str = "onnxruntime", session: Any = None) -> None:
        """Open ``path``. Raises InputError when it cannot be read, is no ONNX file or no rtsep model.

        session: onnxruntime's, when the file is open already.

        A graph that cannot be compiled runs in onnxruntime, with a warning that says why.
        """
        if backend not in (*BACKENDS, CUDA):
            raise InputError(f"There is no backend {backend!r}; there are {', '.join(BACKENDS)} and {CUDA}.")
        self.path = Path(path)
        self.backend = CUDA if backend == CUDA else "onnxruntime"
        self._program: Program | None = None
        if session is not None and backend != CUDA:
            self.session = session
        if backend == "compiled":
            self._compile()
        if self._program is None:
            metadata = self.session.get_modelmeta().custom_metadata_map
            self.spec = self._parse(metadata, self.session.get_inputs(), self.session.get_outputs(), self.path.name)

    _parse = ModelSpec.parse

    def _compile(self) -> None:
        from rtsep.engine.compiled.compiler import UnsupportedError, compile_model
        from rtsep.engine.compiled.onnx_file import OnnxError, read

        try:
            file = read(_bytes(self.path))
            self.spec = ModelSpec.parse(file.metadata, file.graph.inputs, file.graph.outputs, where=self.path.name)
            self._program, self.backend = compile_model(file, self.spec), "compiled"
        except (OnnxError, UnsupportedError) as error:
            self.not_compiled = f"{self.path.name} runs in onnxruntime: {str(error).rstrip('.')}."
            warnings.warn(self.not_compiled, stacklevel=5)

    @cached_property
    def session(self) -> Any:
        """The graph in onnxruntime, opened when it is first asked for."""
        return _session(self.path, self.backend)

    def step(self, hops: int = 1) -> Step:
        """A new step on this model, with a state of its own: ``step(window) -> frames``, hop after hop.

        hops: how many it shall be able to take at once (``SeveralHops``), if the backend can.
        """
        if self._program is not None:
            from rtsep.engine.compiled.step import CompiledStep

            return CompiledStep(self._program, hops)
        from rtsep.engine.inference import FlatStep, OnnxStep

        return OnnxStep(self.spec, self.session) if self.spec.form == "step" else FlatStep(self.spec, self.session)

    @property
    def program(self) -> Program:
        """What the graph was compiled to. Raises InputError when it is not compiled."""
        if self._program is None:
            raise InputError(self.not_compiled or f"{self.path.name} is not compiled; load it with backend='compiled'.")
        return self._program

    def stream(
        self,
        sample_rate: int | None = None,
        channels: int = 1,
        strength: float | None = None,
        block_multiple: int = 1,
        hops: int = 1,
        condition: NDArray[Any] | str | None = None,
    ) -> Stream:
        """A new stream: blocks of any size in, as many samples out, after a constant latency.

        Args:
            sample_rate: Hz, 8000 to 192000; None is the model's own.
            channels: 1 to 8. A mono model runs once a channel (cost times channels); a stereo model takes 1 or 2.
            strength: most attenuation in dB; None is no limit, 0 is the delayed input.
            block_multiple: promise that every block is a multiple of it, which lowers the latency; needs the model's
                rate.
            hops: of a block that holds so many hops, so many are computed at once: the same bits, more memory, and
                with the compiled backend a multiple of the speed. For files; latency stays.
            condition: side information of a model that takes some: [condition] numbers or the name of a class; None is
                nothing known. It may be changed while the stream runs.

        Raises:
            InputError: a value lies outside these ranges.
        """
        from rtsep.engine.stream import Stream

        return Stream(
            self.spec,
            partial(self.step, hops),
            sample_rate=sample_rate,
            channels=channels,
            strength=strength,
            block_multiple=block_multiple,
            hops=hops,
            condition=condition,
        )

    def native_step(self, channels: int = 1) -> NativeStep:
        """A hop of a stream of ``channels`` channels as a C function without Python; see ``compiled.native``.

        Raises InputError as ``stream`` does, and when the model is not compiled.
        """
        from rtsep.engine.compiled.native import NativeStep

        return NativeStep(self.program, channels)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its path: whoever unpickles it opens the file anew."""
        return type(self), (self.path.absolute(), self.backend)

    def __repr__(self) -> str:
        spec = self.spec
        return (
            f"Model({spec.name} {spec.version}: {spec.target} of {', '.join(spec.sources)}, {spec.sample_rate} Hz, "
            f"{1000 * spec.algorithmic_latency / spec.sample_rate:.2f} ms)"
        )


class SpectralModel(Model):
    """A separator that sees whole segments of a song (form ``spectral``, see SpectralSpec): no streams, only files."""

    streams = False
    spec: SpectralSpec  # type: ignore[assignment]
    _parse = SpectralSpec.parse  # type: ignore[assignment]

    def segment_separator(self, sample_rate: int) -> SegmentSeparator:
        """What separates the segments of songs at ``sample_rate`` (Hz)."""
        from rtsep.engine.segment_separator import SegmentSeparator

        return SegmentSeparator(self.spec, self.session, sample_rate)

    def step(self, hops: int = 1) -> Step:
        """Raises InputError: it has none."""
        raise InputError(
            f"{self.spec.name} sees {self.spec.segment / self.spec.sample_rate:.0f} s of a song at once; it separates "
            "songs in files, and for sound that is still being made there are other models, see `rtsep models`."
        )

    def stream(self, *_: Any, **__: Any) -> Stream:
        """Raises InputError: it has none."""
        self.step()
        raise AssertionError


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

    def step(self, hops: int = 1) -> Step:
        """See Model.step; one hop at a time."""
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


def _session(path: Path, backend: str = "onnxruntime") -> Any:
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
        if backend == CUDA:
            from rtsep.engine.cuda import cuda_session

            return cuda_session(path, options)
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except RtsepError:
        raise
    except Exception as error:  # onnxruntime has a dozen exception types without a common base of their own
        if type(error).__name__ == "InvalidProtobuf":
            raise InputError(f"{path} is not an ONNX model, or damaged; fetch it again.") from error
        raise InputError(
            f"{path} cannot be run by onnxruntime {onnxruntime.__version__}; update onnxruntime, or export it again."
        ) from error


def shipped() -> dict[str, Path]:
    """The models that come with rtsep: name to path of the .onnx."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "models").glob("*.onnx"))}


def models_folder() -> Path:
    """Where models lie that a person added (`rtsep models add`): in the user's data folder."""
    import platformdirs

    return platformdirs.user_data_path("rtsep", appauthor=False) / "models"


def installed() -> dict[str, Path]:
    """The models that were added: name to path of the .onnx."""
    return {path.stem: path for path in sorted(models_folder().glob("*.onnx")) if not path.name.startswith(".")}


def baselines() -> tuple[str, ...]:
    """Names of the methods that need no training; `load` takes them too."""
    from rtsep.baselines import SPECS

    return tuple(SPECS)


@dataclass(frozen=True)
class ModelFile:
    """A model that was looked at and not opened: its path, as ``load`` takes it, and its spec."""

    path: Path
    spec: ModelSpec

    @property
    def streams(self) -> bool:
        """See Model."""
        return isinstance(self.spec, ModelSpec)


def load(name_or_path: str | Path, backend: str = "onnxruntime") -> Model:
    """Load a shipped model ("denoise"), one that was added ("spleeter") or a baseline ("mid-side") by its name, or any
    rtsep model by its .onnx's path.

    Args:
        name_or_path: what to load.
        backend: "onnxruntime", or "compiled", several times as fast (see Model), or "cuda", onnxruntime on a GPU;
            baselines take any and need none.

    Raises:
        InputError: there is no such model or backend, or the file is not one.
        RtsepError: there is no CUDA where it is asked for.
    """
    found = _find(name_or_path)
    return found if isinstance(found, Baseline) else _opened(found, backend)


def look_at(name_or_path: str | Path) -> ModelFile:
    """What ``load`` would say of a model, far sooner than it can be run. Raises InputError as ``load`` does."""
    from rtsep.engine.compiled.onnx_file import OnnxError, read

    found = _find(name_or_path)
    if isinstance(found, Baseline):
        return ModelFile(found.path, found.spec)
    try:
        file = read(_bytes(found))
    except OnnxError:  # onnxruntime reads more than is read here, and says what is wrong
        return ModelFile(found, load(found).spec)
    graph, spec = file.graph, SpectralSpec if file.metadata.get("rtsep.form") == FORM else ModelSpec
    if spec is SpectralSpec and any(-1 in node.shape for node in graph.outputs):
        return ModelFile(found, load(found).spec)  # onnxruntime works out shapes that the file leaves open
    return ModelFile(found, spec.parse(file.metadata, graph.inputs, graph.outputs, found.name))  # type: ignore[arg-type]


def _find(name_or_path: str | Path) -> Path | Baseline:
    """The path of a model's file, or a baseline. Raises InputError when there is none."""
    if not isinstance(name_or_path, str | Path):
        raise InputError(f"A model is named by a str or a Path, not by {type(name_or_path).__name__}.")
    name = str(name_or_path)
    if not name:
        raise InputError("The name of the model is empty; name a model or an .onnx file.")
    known, added = shipped(), installed()
    if name in known:
        return known[name]
    if name in baselines():
        return Baseline(name)
    if name in added:
        return added[name]
    path = Path(name_or_path)
    if path.exists() or path.suffix == ".onnx":
        return path
    raise InputError(
        f"There is no model {name!r}; give the path of an .onnx file or one of: "
        f"{', '.join([*known, *added, *baselines()])}."
    )


def check_target(name: str | Path, target: str) -> None:
    """Raises InputError for a model that does not put out ``target``, or is none at all."""
    spec = look_at(name).spec
    if spec.target != target:
        raise InputError(
            f"{spec.name} keeps {spec.target}, not {target}; choose another that `rtsep models` lists, or "
            "take files apart with `rtsep separate`."
        )


def _opened(path: Path, backend: str) -> Model:
    from rtsep.engine.compiled.onnx_file import OnnxError, read_metadata

    session = None
    try:
        form = read_metadata(_bytes(path)).get("rtsep.form")
    except OnnxError:
        session = _session(path)
        form = session.get_modelmeta().custom_metadata_map.get("rtsep.form")
    return SpectralModel(path, session=session) if form == FORM else Model(path, backend, session)
