"""The C function of `streams`, as Numba compiles it."""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from rtsep.engine.compiled.memory import call, floats, integers
from rtsep.engine.compiled.records import RATE, ROW_WORDS, ROWS
from rtsep.engine.compiled.streams import (
    ACTIVITIES,
    ACTIVITY_AT,
    CHANNELS,
    CHOSEN,
    FAULTS,
    FRAMES_AT,
    HOP,
    HOPS,
    MEMORY,
    MEMORY_BYTES,
    MEMORY_TAIL,
    MEMORY_WINDOW,
    ONE_EACH,
    PLACES,
    ROW_BYTES,
    ROWS_TOGETHER,
    RUN,
    SEEN,
    TURNS,
    WIDTH,
    WINDOW,
    WINDOW_AT,
    WORDS,
)
from rtsep.engine.limits import LIMIT, TINY

_LIMIT = np.float32(LIMIT)


@njit(error_model="numpy")
def _copy(source, target, size):
    """So many bytes of float32, from an address to another."""
    values, places = floats(source, size // 4), floats(target, size // 4)
    for i in range(size // 4):
        places[i] = values[i]


@njit(error_model="numpy")
def _hear(word, row, place, number, sound):
    """A hop [hop × channels], the stream's hop of this number, into its window, and the window into a row.

    What a stream keeps of each channel is a ring: sample n lies at n modulo the window's length.
    """
    hop, channels, window = word[HOP], word[CHANNELS], word[WINDOW]
    newest = 4 * (number * hop % window)
    oldest, end = (newest + 4 * hop) % (4 * window), 4 * window
    before_end = min(4 * hop, end - newest)
    for c in range(channels):
        memory = word[MEMORY_WINDOW] + place * word[MEMORY_BYTES] + c * end
        seen = word[WINDOW_AT] + row * word[ROW_BYTES] + c * end
        new = floats(seen + end - 4 * hop, hop)
        for i in range(hop):
            value = sound[i * channels + c]
            if not np.isfinite(value) or abs(value) < TINY:
                value = np.float32(0.0)
            new[i] = min(_LIMIT, max(-_LIMIT, value))
        _copy(seen + end - 4 * hop, memory + newest, before_end)
        _copy(seen + end - 4 * hop + before_end, memory, 4 * hop - before_end)
        _copy(memory + oldest, seen, end - oldest)
        _copy(memory, seen + end - oldest, oldest)


@njit(error_model="numpy")
def _tell(word, row, place, sound):
    """What the network made of a row, added to what earlier frames said, to a hop [hop × channels]; 1 if silence."""
    hop, channels, width = word[HOP], word[CHANNELS], word[WIDTH]
    faults, activities = integers(word[FAULTS], word[PLACES]), floats(word[ACTIVITIES], word[PLACES])
    broken = 0
    if word[ACTIVITY_AT] != 0:
        activities[place] = floats(word[ACTIVITY_AT] + row * word[ROW_BYTES], 1)[0]
        broken += not np.isfinite(activities[place])
    for c in range(channels):
        frame = floats(word[FRAMES_AT] + row * word[ROW_BYTES] + 4 * c * width, width)
        tail = floats(word[MEMORY_TAIL] + place * word[MEMORY_BYTES] + 4 * c * width, width)
        for i in range(width - hop):
            tail[i] = tail[i + hop] + frame[i]
        for i in range(width - hop, width):
            tail[i] = frame[i]
        for i in range(hop):
            sound[i * channels + c] = tail[i]
            broken += not np.isfinite(tail[i])
    if broken:
        faults[place] = 1
    if faults[place] != 0:
        sound[:] = np.float32(0.0)
    return faults[place]


@njit(error_model="numpy")
def _sort(word, rows, order):
    """Tell of each row how many of its stream come before it, and its phase, as one number; how many turns there are.

    Where several rows of a stream may go together, all are of one turn.
    """
    hops, seen = integers(word[HOPS], word[PLACES]), integers(word[SEEN], word[PLACES])
    turns, rate, most = integers(word[TURNS], rows), word[RATE], 1
    for row in range(rows):
        place = order[row]
        turn = seen[place] * word[ONE_EACH]
        turns[row] = turn * rate + (hops[place] + turn) % rate * word[ONE_EACH]
        seen[place] += 1
        most = max(most, turn + 1)
    for row in range(rows):
        seen[order[row]] = 0
    return most


def step(context_at, rows, order_at, source, target):
    word = integers(context_at, WORDS)
    hop, channels, rate = word[HOP], word[CHANNELS], word[RATE]
    heard, made = carray(source, (rows, hop * channels)), carray(target, (rows, hop * channels))
    table, hops = integers(word[ROWS], ROW_WORDS * ROWS_TOGETHER), integers(word[HOPS], word[PLACES])
    order, turns, chosen = integers(order_at, rows), integers(word[TURNS], rows), integers(word[CHOSEN], rows)
    silent = 0
    for turn in range(_sort(word, rows, order)):
        count = 0
        for number in range(turn * rate, (turn + 1) * rate):
            for row in range(rows):
                if turns[row] == number:
                    chosen[count] = row
                    count += 1
        for begin in range(0, count, ROWS_TOGETHER):
            together = min(ROWS_TOGETHER, count - begin)
            for row in range(together):
                at = chosen[begin + row]
                place = order[at]
                table[ROW_WORDS * row] = word[MEMORY] + place * word[MEMORY_BYTES]
                table[ROW_WORDS * row + 1] = hops[place]
                _hear(word, row, place, hops[place], heard[at])
                hops[place] += 1
            call(word[RUN], context_at, together)
            for row in range(together):
                at = chosen[begin + row]
                silent += _tell(word, row, order[at], made[at])
    return np.int32(silent)
