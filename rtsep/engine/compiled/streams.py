"""Hops of many streams as one C function: each stream has memory of its own, and a fault stays within it.

    int32 step(int64 context, int64 rows, int64 *order, float32 *input, float32 *output)

`input` and `output` are [rows, hop, channels], full scale 1, and may be the same: row r is the next hop of the stream
at place `order[r]`, of which there may be several. They go through the network by at most `ROWS_TOGETHER`; of a program
that has parts that go from row to row, first the first hop of each stream, then the second of each, ..., those
in the same phase side by side. Streams that have put out something that is no number have 1 in `faults`; silence comes
out of them from there on, until whoever calls makes them as new. Returned is how many rows were made silent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.compiled.functions import run, step_streams
from rtsep.engine.compiled.places import ALIGNMENT
from rtsep.engine.compiled.program import Program, Workspace, aligned

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

# Words of the context, after those of `interpreter.run` (in `records`): its address, sizes, of the first row's window,
# frames of the target and activity the addresses, of the first stream's memory, window and overlap too, and of
# arrays.
RUN, PLACES, HOP, CHANNELS, WINDOW, WIDTH, WINDOW_AT, FRAMES_AT, ACTIVITY_AT, ROW_BYTES = range(5, 15)
MEMORY, MEMORY_WINDOW, MEMORY_TAIL, MEMORY_BYTES, HOPS, FAULTS, ACTIVITIES = range(15, 22)
ONE_EACH, TURNS, CHOSEN, SEEN, WORDS = range(22, 27)  # how rows are sorted, and room for it

ROWS_TOGETHER = 16  # rows: what the network works on then stays in the cache, and more cost no less each
HOPS_A_CALL = 16  # of a stream, on the average; as many as a long message hands over, or a round takes several calls


class StreamMemories:
    """The memory of streams at numbered places, and the C function over it; owns all that it works on.

    `hops` [places] are the numbers of the hops that come next, `faults` [places] is 1 where a stream has had one,
    `activities` [places] are probabilities that the target was active in the newest hop, 0 of a model that does not
    say. `rows` is how many hops the function may be given at once.
    """

    def __init__(self, program: Program, places: int) -> None:
        spec = self.spec = program.spec
        self.rows = places * HOPS_A_CALL
        self._workspace = workspace = Workspace(program, ROWS_TOGETHER)
        tail = program.kept_values + spec.channels * spec.analysis_window
        self._used = tail + spec.channels * spec.synthesis_window
        stride = (-(-self._used // ALIGNMENT) | 1) * ALIGNMENT  # odd, as in Workspace
        self._memory = aligned(places * stride).reshape(places, stride)
        self.hops, self.faults, self._seen = (np.zeros(places, np.int64) for _ in range(3))
        self._turns, self._chosen = np.zeros(self.rows, np.int64), np.zeros(self.rows, np.int64)
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
        words[ONE_EACH] = program.segments[:, 2].any()
        arrays = (self.hops, self.faults, self.activities, self._turns, self._chosen, self._seen)
        words[[HOPS, FAULTS, ACTIVITIES, TURNS, CHOSEN, SEEN]] = [array.ctypes.data for array in arrays]

    @property
    def native(self) -> tuple[int, int]:
        """Address of the C function, and of its context."""
        return step_streams.address, int(self._words.ctypes.data)

    def step(self, order: Integers, sound: Floats) -> int:
        """A hop a row, at most `rows`, of the streams at places ``order``, in place; how many were made silent.

        sound: [len(order), hop, channels] float32 in one piece.
        """
        at = sound.ctypes.data
        return int(step_streams(self._words.ctypes.data, len(order), order.ctypes.data, at, at))

    def clear(self, place: int, hop: int = 0) -> None:
        """Make the stream at a place as new; its next hop has the number ``hop``."""
        self._memory[place, : self._used] = 0
        self.hops[place], self.faults[place], self.activities[place] = hop, 0, 0
