"""Hops of many streams as one C function: each stream has memory of its own, and a fault stays within it.

    int32 step(int64 context, int64 rows, float32 *input, float32 *output)

`input` and `output` are [rows, hop, channels], full scale 1, and may be the same: row r is the next hop of the stream
at place `order[r]`. Of a stream there may be several, unless the program has parts that go from row to row
(`one_each`). Streams that have put out something that is no number have 1 in `faults`; silence comes out of them from
there on, until whoever calls makes them as new. Returned is how many rows were made silent.
"""

from __future__ import annotations

import numpy as np
from numba import carray, float32, int32, int64, types
from numpy.typing import NDArray

from rtsep.engine.compiled.interpreter import ROWS, run
from rtsep.engine.compiled.memory import call, floats, integers
from rtsep.engine.compiled.places import ALIGNMENT
from rtsep.engine.compiled.program import Program, Workspace, aligned
from rtsep.engine.compiled.records import ROW_WORDS
from rtsep.engine.framing import LIMIT, TINY
from rtsep.engine.numba_cache import c_function

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

# Words of the context, after those of `interpreter.run`: its address, sizes, of the first row's window, frames of the
# target and activity the addresses, of the first stream's memory, window and overlap too, and of arrays [places].
RUN, PLACES, HOP, CHANNELS, WINDOW, WIDTH, WINDOW_AT, FRAMES_AT, ACTIVITY_AT, ROW_BYTES = range(5, 15)
MEMORY, MEMORY_WINDOW, MEMORY_TAIL, MEMORY_BYTES, ORDER, HOPS, FAULTS, ACTIVITIES, WORDS = range(15, 24)
_LIMIT = np.float32(LIMIT)


def _step(context_at, rows, source, target):
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


step = c_function(_step, int32(int64, int64, types.CPointer(float32), types.CPointer(float32)))


class StreamMemories:
    """The memory of streams at numbered places, and the C function over it; owns all that it works on.

    `hops` [places] are the numbers of the hops that come next, `faults` [places] is 1 where a stream has had one,
    `activities` [places] are probabilities that the target was active in the newest hop, 0 of a model that does not
    say. `rows` is how many hops go at once; with `one_each` at most one of a stream.
    """

    def __init__(self, program: Program, places: int) -> None:
        spec = self.spec = program.spec
        self.rows, self.one_each = places, bool(program.segments[:, 2].any())
        self._workspace = workspace = Workspace(program, self.rows)
        tail = program.kept_values + spec.channels * spec.analysis_window
        self._used = tail + spec.channels * spec.synthesis_window
        stride = (-(-self._used // ALIGNMENT) | 1) * ALIGNMENT  # odd, as in Workspace
        self._memory = aligned(places * stride).reshape(places, stride)
        self._order, self.hops, self.faults = (np.zeros(places, np.int64) for _ in range(3))
        self.activities = np.zeros(places, np.float32)
        words = self._words = np.zeros(WORDS, np.int64)
        words[: len(workspace.context)] = workspace.context
        words[RUN], words[PLACES], words[HOP], words[CHANNELS] = run.address, places, spec.hop, spec.channels
        words[WINDOW], words[WIDTH], words[ROW_BYTES] = (
            spec.analysis_window,
            spec.synthesis_window,
            4 * workspace.stride,
        )
        words[WINDOW_AT] = workspace.view("window").ctypes.data
        words[FRAMES_AT] = workspace.view("frames")[spec.target_index].ctypes.data
        if spec.activity:
            words[ACTIVITY_AT] = workspace.view("activity")[spec.target_index :].ctypes.data
        first = self._memory.ctypes.data
        words[MEMORY], words[MEMORY_WINDOW], words[MEMORY_TAIL] = (
            first,
            first + 4 * program.kept_values,
            first + 4 * tail,
        )
        words[MEMORY_BYTES] = 4 * stride
        for word, array in ((ORDER, self._order), (HOPS, self.hops), (FAULTS, self.faults)):
            words[word] = array.ctypes.data
        words[ACTIVITIES] = self.activities.ctypes.data

    def step(self, order: Integers, sound: Floats) -> int:
        """A hop a row, at most `rows`, of the streams at places ``order``, in place; how many were made silent.

        sound: [len(order), hop, channels] float32 in one piece.
        """
        self._order[: len(order)] = order
        pointer = np.ctypeslib.as_ctypes(sound.reshape(-1))
        return int(step.ctypes(self._words.ctypes.data, len(order), pointer, pointer))

    def clear(self, place: int, hop: int = 0) -> None:
        """Make the stream at a place as new; its next hop has the number ``hop``."""
        self._memory[place, : self._used] = 0
        self.hops[place], self.faults[place], self.activities[place] = hop, 0, 0
