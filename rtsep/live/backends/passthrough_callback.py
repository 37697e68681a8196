"""The empty callback: copies its input and writes down when it ran. What rtsep adds is held against it."""

from __future__ import annotations

import numpy as np
from numba import carray

from rtsep.live.backends.shared_state import SCRATCH_AT, STATE
from rtsep.live.backends.stream_callback import clock, log_callback


def passing(source, target, frames, times, status, user):
    """PaStreamCallback of one input and one output channel."""
    state = carray(user, (1,), STATE)[0]
    words = carray(user, (state.total_words,), np.int64)
    now = clock(words[SCRATCH_AT : SCRATCH_AT + 2], carray(times, (3,), np.float64))
    sound, out = carray(source, (frames,), np.float32), carray(target, (frames,), np.float32)
    for i in range(frames):
        out[i] = sound[i]
    state.frames = frames
    state.position += frames
    ended = clock(words[SCRATCH_AT : SCRATCH_AT + 2], carray(times, (3,), np.float64))
    log_callback(state, words, now, ended, np.int64(frames), 0)
    return 0
