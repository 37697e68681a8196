"""What all compiled callbacks have in common: how the audio system calls them, the clock, ramps and the log."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from numba import float32, float64, int64, types, void

from rtsep.engine.framing import LIMIT
from rtsep.engine.numba_cache import compiled
from rtsep.live.backends.memory_fence import fence
from rtsep.live.backends.shared_state import LOG_TYPE, STATE_TYPE

LINUX = sys.platform == "linux"
_POINTER = types.voidptr
# PaStreamCallback: input, output, frames, times, status, user
STREAM_CALLBACK = types.int32(_POINTER, _POINTER, types.uint64, _POINTER, types.uint64, _POINTER)
XRUN_FLAGS = 15  # PortAudio's flags of over- and underflow, without "priming"
LOG_ARRAY = types.Array(LOG_TYPE, 1, "C")
SOUND = float32[:, ::1]
_LIMIT = np.float32(LIMIT)

if sys.platform == "win32":  # there is no clock_gettime

    @compiled(int64(int64[::1], float64[::1]))
    def clock(scratch, times):
        """Nanoseconds of PortAudio's clock at the beginning of the callback."""
        return np.int64(times[1] * 1e9)

else:
    _MONOTONIC = int(time.CLOCK_MONOTONIC)
    _gettime: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.intp))

    @compiled(int64(int64[::1], float64[::1]))
    def clock(scratch, times):
        """Nanoseconds of the monotonic clock, that of time.monotonic_ns."""
        _gettime(np.int32(_MONOTONIC), scratch.ctypes.data)
        return scratch[0] * 1_000_000_000 + scratch[1]


@compiled(float32(SOUND, int64, int64, int64))
def input_sample(block, i, channel, mix):
    """Sample ``i`` of ``block`` ([frames, channels]) as ``mix`` says (see ``shared_state``); faulty ones harmless."""
    last = block.shape[1] - 1
    if mix < 0:
        value = np.float32(0.0)
        for each in range(block.shape[1]):
            value += block[i, each]
        value = np.float32(value / block.shape[1])
    elif mix > 0:
        value = block[i, min(mix - 1, last)]
    else:
        value = block[i, min(channel, last)]
    if not np.isfinite(value):
        value = np.float32(0.0)
    return min(_LIMIT, max(-_LIMIT, value))


@compiled(float64(float64, float64, float64))
def ramp(value, target, step):
    """``value``, nearer to ``target`` by at most ``step``."""
    return value + min(step, max(-step, target - value))


@compiled(void(SOUND))
def silence(out):
    """Fill ``out`` with zeros."""
    for i in range(out.shape[0]):
        for channel in range(out.shape[1]):
            out[i, channel] = 0.0


@compiled(void(STATE_TYPE, int64))
def finish(state, began):
    """The last thing that a callback does: it is counted, after all that it wrote."""
    fence()
    state.callbacks += 1
    state.last_callback_ns = began


@compiled(void(STATE_TYPE, LOG_ARRAY, int64, int64, int64, int64))
def log_callback(state, calls, began, ended, frames, flags):
    """Write a callback's row, and count it."""
    if frames != state.block:
        state.irregular_callbacks += 1
    row = calls[state.callbacks % calls.shape[0]]
    row.began = began
    row.ended = ended
    row.count = frames
    row.flags = flags
    row.position = state.position
    finish(state, began)
