"""NativeStep: wave in, wave out, one hop a call, by a C function that needs neither Python nor its lock.

    int32 step(int64 context, float32 *input, float32 *output)

`input` and `output` are `hop` frames of interleaved channels, full scale 1, and may be the same. 0 is returned when all
is well. When something that is no number comes out, the output is silence, the overlap is forgotten, and 1 is returned.
The delay is that of a Stream with blocks of whole hops: synthesis window + look-ahead - hop.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.compiled.functions import run, step_stream
from rtsep.engine.compiled.program import Program, Workspace, aligned
from rtsep.errors import InputError

Floats = NDArray[np.float32]

# Words of the context, after those of `interpreter.run` (in `records`): its address, sizes, and the addresses of the
# first row's window, of its frames of the target, and of what earlier frames still owe ([channels, synthesis window]).
RUN, USED, HOP, CHANNELS, OWN_CHANNELS, WINDOW, WIDTH, WINDOW_AT, FRAMES_AT, ROW_BYTES, TAIL, WORDS = range(5, 17)


class Rows:
    """Streams side by side behind the C function, one a row; owns all memory that it works on.

    `context` is what the function is called with. `words[USED]` rows take part, the others' channels are left out.
    """

    def __init__(self, program: Program, rows: int, channels: int) -> None:
        """channels: of input and output, of all rows together; 1 may stand in for all that a row has."""
        spec = self.spec = program.spec
        self.workspace = Workspace(program, rows)
        self._kept = [aligned(program.kept_values) for _ in range(rows)]
        self.workspace.table[:, 0] = [kept.ctypes.data for kept in self._kept]
        self._tail = aligned(rows * spec.channels * spec.synthesis_window)
        self._tails = self._tail.reshape(rows, spec.channels, spec.synthesis_window)
        words = self.words = np.zeros(WORDS, np.int64)
        words[: len(self.workspace.context)] = self.workspace.context
        words[RUN], words[USED], words[HOP] = run.address, rows, spec.hop
        words[CHANNELS], words[OWN_CHANNELS] = channels, spec.channels
        words[WINDOW], words[WIDTH] = spec.analysis_window, spec.synthesis_window
        words[WINDOW_AT] = self.workspace.view("window").ctypes.data
        words[FRAMES_AT] = self.workspace.view("frames")[spec.target_index].ctypes.data
        words[ROW_BYTES], words[TAIL] = 4 * self.workspace.stride, self._tail.ctypes.data
        self.context = int(words.ctypes.data)
        silence = np.zeros(spec.hop * channels, np.float32)
        for _ in range(2 * spec.slow_rate):  # touches all memory
            self.step(silence)
        for row in range(rows):
            self.clear(row)

    def step(self, hop: Floats) -> tuple[Floats, int]:
        """One hop from Python, float32 interleaved, in one piece: what comes out, and what the function returns."""
        out = np.empty_like(hop)
        return out, int(step_stream(self.context, hop.ctypes.data, out.ctypes.data))

    def activity(self, row: int) -> float | None:
        """Probability that the target was active in the newest hop of a row, if the model says."""
        return float(self.workspace.view("activity", row)[self.spec.target_index]) if self.spec.activity else None

    def clear(self, row: int) -> None:
        """Make the stream of a row as new."""
        self._kept[row][:] = 0
        self._tails[row] = 0
        self.workspace.view("window", row)[:] = 0
        self.workspace.table[row, 1] = 0
        if self.spec.activity:
            self.workspace.view("activity", row)[:] = 0


class NativeStep:
    """One stream of one or several channels as a C function; owns all memory that it works on.

    `address` and `context` are what a callback needs: `step(context, input, output)`. `hop` is in frames at the model's
    rate. A mono model runs once a channel, all channels in one product. Belongs to one thread at a time.
    """

    def __init__(self, program: Program, channels: int = 1) -> None:
        """channels: of input and output. Raises InputError when the model cannot run on so many."""
        from rtsep.engine.stream_settings import check_channels

        spec = self.spec = program.spec
        self.channels, self.hop = check_channels(channels, spec), spec.hop
        self._count = max(1, self.channels // spec.channels)
        self._rows = Rows(program, self._count, self.channels)
        self.context = self._rows.context
        self.address = step_stream.address

    def step(self, hop: Floats) -> tuple[Floats, int]:
        """One hop from Python, [hop × channels] float32 interleaved: what comes out, and what the function returns.

        Raises InputError for another length; another type is converted.
        """
        sound = np.ascontiguousarray(hop, np.float32).reshape(-1)  # the function gets no more than an address
        if sound.size != self.hop * self.channels:
            raise InputError(f"The hop has {sound.size} values; it must be {self.hop} × {self.channels}.")
        return self._rows.step(sound)

    @property
    def activity(self) -> float | None:
        """Probability that the target was active in the newest hop (the most of all channels), if the model says."""
        found = [self._rows.activity(row) for row in range(self._count)]
        return max((value for value in found if value is not None), default=None)

    def reset(self) -> None:
        """Forget all sound, as if the step were new."""
        for row in range(self._count):
            self._rows.clear(row)
