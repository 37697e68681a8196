"""The C function of `native`, as Numba compiles it."""

from __future__ import annotations

import numpy as np
from numba import carray

from rtsep.engine.compiled.memory import call, floats, integers
from rtsep.engine.compiled.native import (
    CHANNELS,
    FRAMES_AT,
    HOP,
    OWN_CHANNELS,
    ROW_BYTES,
    RUN,
    TAIL,
    USED,
    WIDTH,
    WINDOW,
    WINDOW_AT,
    WORDS,
)
from rtsep.engine.compiled.records import ROW_WORDS, ROWS
from rtsep.engine.limits import LIMIT, TINY

_LIMIT = np.float32(LIMIT)


def step(context_at, source, target):
    word = integers(context_at, WORDS)
    hop, channels, own, window = word[HOP], word[CHANNELS], word[OWN_CHANNELS], word[WINDOW]
    rows, width = word[USED], word[WIDTH]
    heard, made = carray(source, (hop * channels,)), carray(target, (hop * channels,))
    for row in range(rows):
        for c in range(own):
            memory = floats(word[WINDOW_AT] + row * word[ROW_BYTES] + 4 * c * window, window)
            for i in range(window - hop):
                memory[i] = memory[i + hop]
            channel = row * own + c if channels > 1 else 0
            for i in range(hop):
                value = heard[i * channels + channel]
                if not np.isfinite(value) or abs(value) < TINY:
                    value = np.float32(0.0)
                memory[window - hop + i] = min(_LIMIT, max(-_LIMIT, value))
    call(word[RUN], context_at, rows)
    table = integers(word[ROWS], ROW_WORDS * rows)
    sound = np.float32(0.0)
    for row in range(rows):
        table[ROW_WORDS * row + 1] += 1
        for c in range(own):
            frame = floats(word[FRAMES_AT] + row * word[ROW_BYTES] + 4 * c * width, width)
            tail = floats(word[TAIL] + 4 * (row * own + c) * width, width)
            for i in range(width - hop):
                tail[i] = tail[i + hop] + frame[i]
            for i in range(width - hop, width):
                tail[i] = frame[i]
    for i in range(hop):
        for channel in range(channels):
            value = floats(word[TAIL] + 4 * channel * width, width)[i]
            if channels < own:  # one channel went in as several: their mean comes out
                for c in range(1, own):
                    value += floats(word[TAIL] + 4 * c * width, width)[i]
                value /= np.float32(own)
            made[i * channels + channel] = value
            sound += value * np.float32(0.0)
    if sound == np.float32(0.0):
        return np.int32(0)
    made[:] = np.float32(0.0)
    floats(word[TAIL], rows * own * width)[:] = np.float32(0.0)
    return np.int32(1)
