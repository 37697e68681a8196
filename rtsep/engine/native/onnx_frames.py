"""OnnxFrames: the step graph run by ONNX Runtime's C library, as a C function.

The same arithmetic in the same order as ``OnnxStep``, hence the same bits. What ONNX Runtime allocates within a run
comes from an arena that the first runs have filled, but for a few small pieces from the heap.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import carray, types
from numpy.typing import NDArray

from rtsep.engine.framing import gather, scatter, settle
from rtsep.engine.inference import StepMemory
from rtsep.engine.native.calls import call, pointer
from rtsep.engine.native.onnxruntime_library import LibraryError, NativeSession
from rtsep.engine.native.step import FAILED, WELL
from rtsep.engine.numba_cache import c_function
from rtsep.model_spec import ModelSpec

_INT = np.int64
_CONTEXT = np.dtype(
    [
        ("time", _INT),  # hops since the last reset
        ("slow_rate", _INT),
        ("layers", _INT),
        ("reach", _INT),
        ("hidden", _INT),
        ("history_rows", _INT),
        ("state_size", _INT),
        # Addresses: what OrtApi.Run takes, each twice where even and odd hops differ, then arrays
        ("run", _INT),
        ("release_status", _INT),
        ("session", _INT),
        ("input_names", _INT),
        ("inputs", _INT, (2,)),
        ("input_count", _INT),
        ("output_names", _INT),
        ("outputs", _INT, (2,)),
        ("output_count", _INT),
        ("phase", _INT),
        ("history", _INT),
        ("dilations", _INT),
        ("starts", _INT),
        ("taps", _INT),
        ("column", _INT),
        ("states", _INT, (2,)),
    ],
    align=True,
)


def _frames(address):
    """One run of the graph; the next in turn of two sets of tensors."""
    step = carray(pointer(address), (1,), _CONTEXT)[0]
    time, turn = step.time, step.time & 1
    step.time = time + 1
    dilations = carray(pointer(step.dilations), (step.layers,), np.int64)
    starts = carray(pointer(step.starts), (step.layers,), np.int64)
    history = carray(pointer(step.history), (step.history_rows, step.hidden), np.float32)
    taps = carray(pointer(step.taps), (step.layers, step.reach, step.hidden), np.float32)
    column = carray(pointer(step.column), (step.layers, step.hidden), np.float32)
    carray(pointer(step.phase), (1,), np.int64)[0] = time % step.slow_rate
    gather(history, dilations, starts, time, taps)
    inputs = (step.input_names, step.inputs[turn], step.input_count)
    outputs = (step.output_names, step.output_count, step.outputs[turn])
    status = call(step.run, (step.session, 0, *inputs, *outputs))
    if status != 0:
        call(step.release_status, (status,))
        return FAILED
    scatter(history, dilations, starts, time, step.reach, column)
    if step.state_size > 0:
        settle(carray(pointer(step.states[1 - turn]), (step.state_size,), np.float32))
    return WELL


class OnnxFrames:
    """See ``step.Frames``. All streams of one session share its weights."""

    def __init__(self, spec: ModelSpec, session: NativeSession, window: NDArray[np.float32]) -> None:
        self._session = session  # and with it the tensors
        self._memory = memory = StepMemory(spec, window)
        self.frames, self.activity = memory.frames, memory.activity
        self._context = np.zeros(1, _CONTEXT)
        context: Any = self._context[0]
        context["slow_rate"], context["state_size"] = spec.slow_rate, spec.state
        context["layers"], context["reach"], context["hidden"] = memory.taps.shape
        context["history_rows"] = len(memory.history)
        context["run"], context["release_status"] = session.run, session.release_status
        context["session"] = session.handle
        for side, sets in (("input", memory.inputs), ("output", memory.outputs)):
            context[f"{side}_names"], context[f"{side}_count"] = session.names(list(sets[0])), len(sets[0])
            context[f"{side}s"] = [session.values(list(arrays.values())) for arrays in sets]
        for name in ("phase", "history", "dilations", "starts", "taps", "column"):
            context[name] = getattr(memory, name).ctypes.data
        if spec.state:
            context["states"] = [state.ctypes.data for state in memory.states]
        self._function = c_function(_frames, types.int64(types.int64))
        self.function, self.context = int(self._function.address), int(self._context.ctypes.data)

    def reset(self) -> None:
        """See Frames."""
        self._memory.clear()
        self._context["time"] = 0


def onnx_frames(spec: ModelSpec, path: Path) -> Callable[[NDArray[np.float32]], OnnxFrames]:
    """What makes networks of the model at ``path``, as FramedStep wants it. Raises LibraryError."""
    if spec.form != "step":
        raise LibraryError(f"{spec.name} is a graph of form {spec.form}, which runs in a worker only.")
    session = NativeSession(path)
    return lambda window: OnnxFrames(spec, session, window)
