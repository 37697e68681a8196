"""rtsep cleans speech while the sound is playing, on an ordinary CPU core.

>>> import rtsep
>>> model = rtsep.load("denoise")                                   # a shipped name or a path to an .onnx
>>> y = rtsep.enhance(x, sample_rate=44100, model=model)            # whole signal, aligned with x
>>> stream = model.stream(sample_rate=48000, channels=1)            # blocks of any size, constant latency
>>> out = stream.process(block)
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# onnxruntime reads it once, when it is imported, and reports to its maker otherwise. Child processes inherit it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from rtsep.errors import InputError, RtsepError
from rtsep.model import Model, ModelSpec, load

if TYPE_CHECKING:
    from rtsep.engine.enhance import enhance
    from rtsep.engine.many_streams import Engine
    from rtsep.engine.separate import separate
    from rtsep.engine.stream import Stream

__version__ = "0.2.0"

__all__ = [
    "Engine",
    "InputError",
    "Model",
    "ModelSpec",
    "RtsepError",
    "Stream",
    "__version__",
    "enhance",
    "load",
    "separate",
]


# Bring numpy or numba along, so not before somebody asks.
_LATER = {"Engine": "many_streams", "Stream": "stream", "enhance": "enhance", "separate": "separate"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'rtsep' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"rtsep.engine.{_LATER[name]}"), name)
    return found
