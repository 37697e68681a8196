"""What all compiled callbacks have in common: how the audio system calls them, the clock, ramps and the log."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from numba import carray, float32, float64, int64, types, void

from rtsep.engine.compiled.memory import pointer_to_floats
from rtsep.engine.limits import LIMIT
from rtsep.engine.numba_cache import compiled
from rtsep.live.backends.memory_fence import fence
from rtsep.live.backends.record_types import STATE_TYPE
from rtsep.live.backends.shared_state import FLAG_XRUN, LOG_ROW, LOG_WORDS, LOGS_AT, RINGS

LINUX = sys.platform == "linux"
XRUN_FLAGS = 15  # PortAudio's flags of over- and underflow, without "priming"
SOUND = float32[:, ::1]
WORDS = int64[::1]  # the shared block
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


@compiled(types.UniTuple(SOUND, RINGS)(STATE_TYPE, WORDS))
def rings(state, words):
    """The rings heard, results, played, captured and stepped, each [channels, length]; see ``SharedBlock``."""
    channels, length = state.channels, state.ring_length
    first = words.ctypes.data + 8 * (LOGS_AT + 2 * state.log_rows * LOG_WORDS)
    size = 4 * channels * length
    return (
        carray(pointer_to_floats(first), (channels, length)),
        carray(pointer_to_floats(first + size), (channels, length)),
        carray(pointer_to_floats(first + 2 * size), (channels, length)),
        carray(pointer_to_floats(first + 3 * size), (channels, length)),
        carray(pointer_to_floats(first + 4 * size), (channels, length)),
    )


@compiled(int64(STATE_TYPE, types.uint64))
def count_xrun(state, status):
    """FLAG_XRUN, counted, if ``status`` has a flag of an over- or underflow, else 0."""
    if status & XRUN_FLAGS:
        state.xruns += 1
        return FLAG_XRUN
    return 0


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


@compiled(void(STATE_TYPE, WORDS, int64, int64, int64, int64))
def log_callback(state, words, began, ended, frames, flags):
    """Write a callback's row, and count it."""
    calls = words[LOGS_AT : LOGS_AT + state.log_rows * LOG_WORDS].view(LOG_ROW)
    if frames != state.block:
        state.irregular_callbacks += 1
    row = calls[state.callbacks % calls.shape[0]]
    row.began = began
    row.ended = ended
    row.count = frames
    row.flags = flags
    row.position = state.position
    finish(state, began)
