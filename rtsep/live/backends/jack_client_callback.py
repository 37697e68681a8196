"""The compiled callbacks of `jack_client`: the next samples out, what came in beside them down; and xruns counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types

from rtsep.live.backends.jack_client import AT, BEATS, GO, IN, OUT, SIZE, WORDS, XRUNS

_get_buffer: Any = types.ExternalFunction("jack_port_get_buffer", types.voidptr(types.intp, types.uint32))


def process(frames, user):
    """JackProcessCallback."""
    words = carray(user, (WORDS,), np.int64)
    size = words[SIZE]
    signals = carray(user, (2 * WORDS + 2 * size,), np.float32)
    out = carray(_get_buffer(words[OUT], frames), (frames,), np.float32)
    source = carray(_get_buffer(words[IN], frames), (frames,), np.float32)
    words[BEATS] += 1
    at = words[AT]
    going = words[GO] == 1
    for i in range(frames):
        out[i] = np.float32(0.0)
        if going and at < size:
            out[i] = signals[2 * WORDS + at]
            signals[2 * WORDS + size + at] = source[i]
            at += 1
    words[AT] = at
    return 0


def xrun(user):
    """JackXRunCallback."""
    words = carray(user, (WORDS,), np.int64)
    words[XRUNS] += 1
    return 0
