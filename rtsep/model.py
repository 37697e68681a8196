"""Model: an ONNX graph, opened; and what `load` finds by name: shipped models, and methods that need no training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtsep.engine.spectral_spec import FORM, SpectralSpec
from rtsep.errors import InputError
from rtsep.model_spec import MAX_CHANNELS, MAX_RATE, MIN_RATE, ModelSpec, is_mono

if TYPE_CHECKING:
    from rtsep.engine.inference import Step
    from rtsep.engine.segment_separator import SegmentSeparator
    from rtsep.engine.stream import Stream

__all__ = [
    "MAX_CHANNELS",
    "MAX_RATE",
    "MIN_RATE",
    "Baseline",
    "Model",
    "ModelSpec",
    "SpectralModel",
    "baselines",
    "installed",
    "is_mono",
    "load",
    "models_folder",
    "shipped",
]


class Model:
    """A loaded model: its spec, and the onnxruntime session that all its streams share.

    The session holds the weights and no state, so any number of streams, each in its own thread, may run on it.
    """

    spatial = False  # whether it can do nothing with channels that are the same
    streams = True  # whether it works on sound that is still being made
    spec: ModelSpec

    def __init__(self, path: str | Path, session: Any = None) -> None:
        """Open ``path``. Raises InputError when it cannot be read, is no ONNX file or no rtsep model.

        session: onnxruntime's, when the file is open already.
        """
        self.path = Path(path)
        self.session = _session(self.path) if session is None else session
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.spec = self._parse(metadata, self.session.get_inputs(), self.session.get_outputs(), self.path.name)

    _parse = ModelSpec.parse

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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its path: whoever unpickles it opens the file anew."""
        return type(self), (self.path.absolute(),)

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

    def step(self) -> Step:
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

        self.path = Path(name)
        self.spec = SPECS[name]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its name."""
        return type(self), (self.spec.name,)

    def step(self) -> Step:
        """See Model.step."""
        from rtsep.baselines import step

        return step(self.spec.name)


def _session(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path} is empty; a model is an .onnx file.")
    except InputError:  # a ValueError too, and says all already
        raise
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


def load(name_or_path: str | Path) -> Model:
    """Load a shipped model ("denoise"), one that was added ("spleeter") or a baseline ("mid-side") by its name, or any
    rtsep model by its .onnx's path.

    Raises:
        InputError: there is no such model, or the file is not one.
    """
    if not isinstance(name_or_path, str | Path):
        raise InputError(f"A model is named by a str or a Path, not by {type(name_or_path).__name__}.")
    ships = shipped()
    if str(name_or_path) in ships:
        return _opened(ships[str(name_or_path)])
    if str(name_or_path) in baselines():
        return Baseline(str(name_or_path))
    added = installed()
    if str(name_or_path) in added:
        return _opened(added[str(name_or_path)])
    path = Path(name_or_path)
    if path.exists() or path.suffix == ".onnx":
        return _opened(path)
    raise InputError(
        f"There is no model {str(name_or_path)!r}; give the path of an .onnx file or one of: "
        f"{', '.join([*ships, *added, *baselines()])}."
    )


def _opened(path: Path) -> Model:
    session = _session(path)
    form = session.get_modelmeta().custom_metadata_map.get("rtsep.form")
    return (SpectralModel if form == FORM else Model)(path, session)
