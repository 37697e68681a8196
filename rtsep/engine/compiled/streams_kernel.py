"""The C function of `streams`, as Numba compiles it."""

from __future__ import annotations

import numpy as np
from numba import carray

from rtsep.engine.compiled.memory import call, floats, integers
from rtsep.engine.compiled.records import ROW_WORDS, ROWS
from rtsep.engine.compiled.streams import (
    ACTIVITIES,
    ACTIVITY_AT,
    CHANNELS,
    FAULTS,
    FRAMES_AT,
    HOP,
    HOPS,
    MEMORY,
    MEMORY_BYTES,
    MEMORY_TAIL,
    MEMORY_WINDOW,
    ORDER,
    PLACES,
    ROW_BYTES,
    RUN,
    WIDTH,
    WINDOW,
    WINDOW_AT,
    WORDS,
)
from rtsep.engine.limits import LIMIT, TINY

_LIMIT = np.float32(LIMIT)


def step(context_at, rows, source, target):
    word = integers(context_at, WORDS)
    hop, channels, window, width = word[HOP], word[CHANNELS], word[WINDOW], word[WIDTH]
    size = hop * channels
    heard, made = carray(source, (rows * size,)), carray(target, (rows * size,))
    table, order = integers(word[ROWS], ROW_WORDS * rows), integers(word[ORDER], rows)
    hops, faults = integers(word[HOPS], word[PLACES]), integers(word[FAULTS], word[PLACES])
    activities = floats(word[ACTIVITIES], word[PLACES])
    for row in range(rows):
        place = order[row]
        table[ROW_WORDS * row] = word[MEMORY] + place * word[MEMORY_BYTES]
        table[ROW_WORDS * row + 1] = hops[place]
        hops[place] += 1
        for c in range(channels):
            memory = floats(word[MEMORY_WINDOW] + place * word[MEMORY_BYTES] + 4 * c * window, window)
            seen = floats(word[WINDOW_AT] + row * word[ROW_BYTES] + 4 * c * window, window)
            for i in range(window - hop):
                memory[i] = memory[i + hop]
            for i in range(hop):
                value = heard[row * size + i * channels + c]
                if not np.isfinite(value) or abs(value) < TINY:
                    value = np.float32(0.0)
                memory[window - hop + i] = min(_LIMIT, max(-_LIMIT, value))
            for i in range(window):
                seen[i] = memory[i]
    call(word[RUN], context_at, rows)
    silent = 0
    for row in range(rows):
        place = order[row]
        check = np.float32(0.0)
        if word[ACTIVITY_AT] != 0:
            activities[place] = floats(word[ACTIVITY_AT] + row * word[ROW_BYTES], 1)[0]
            check += activities[place] * np.float32(0.0)
        for c in range(channels):
            frame = floats(word[FRAMES_AT] + row * word[ROW_BYTES] + 4 * c * width, width)
            tail = floats(word[MEMORY_TAIL] + place * word[MEMORY_BYTES] + 4 * c * width, width)
            for i in range(width - hop):
                tail[i] = tail[i + hop] + frame[i]
            for i in range(width - hop, width):
                tail[i] = frame[i]
            for i in range(hop):
                made[row * size + i * channels + c] = tail[i]
                check += tail[i] * np.float32(0.0)
        if check != np.float32(0.0):
            faults[place] = 1
        if faults[place] != 0:
            made[row * size : (row + 1) * size] = np.float32(0.0)
            silent += 1
    return np.int32(silent)
