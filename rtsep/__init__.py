"""rtsep cleans speech while the sound is playing, on an ordinary CPU core.

>>> import rtsep
>>> model = rtsep.load("denoise")                                   # a shipped name or a path to an .onnx
>>> y = rtsep.enhance(x, sample_rate=44100, model=model)            # whole signal, aligned with x
>>> stream = model.stream(sample_rate=48000, channels=1)            # blocks of any size, constant latency
>>> out = stream.process(block)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# onnxruntime reads it once, when it is imported, and reports to its maker otherwise. Child processes inherit it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Bound here and now: loading the module of the same name later would put the module in the function's place.
from rtsep.engine.enhance import enhance
from rtsep.engine.separate import separate
from rtsep.errors import InputError, RtsepError
from rtsep.model import Model, ModelSpec, load

if TYPE_CHECKING:
    from rtsep.engine.many_streams import Engine
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


def __getattr__(name: str) -> Any:
    if name == "Stream":  # brings numba along, so not before somebody asks
        from rtsep.engine.stream import Stream

        return Stream
    if name == "Engine":  # so does this
        from rtsep.engine.many_streams import Engine

        return Engine
    raise AttributeError(f"module 'rtsep' has no attribute {name!r}")
