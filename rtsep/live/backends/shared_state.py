"""The block of memory that callback, worker and parent share: counters, gains, logs and rings of samples.

Every sample has one absolute position, its number since the start; rings are looked up modulo their length. A counter
says up to where a ring is written, and each counter has one writer, so nothing is ever locked: the writer of a ring
writes samples, then the counter (with a fence between); the reader reads the counter, then samples.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import RtsepError
from rtsep.live.backends.clock_drift import HALF, PHASES

MAX_CHANNELS = 8
TAPS = (PHASES + 1) * 2 * HALF  # numbers in the table of ``drift``
PIECE = 1 << 13  # samples a channel that can be read across two clocks at a time
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE: all pages mapped now, so that the callback never meets a page fault
LOG_ROWS = 1 << 14  # callbacks and worker runs remembered: 44 s of blocks of 128 samples at 48 kHz

# Words of ``head``, int64. The first four are the shape of the block and never change.
TOTAL, CHANNELS, LENGTH, ROWS = range(4)
# Written by the audio process, mostly in its callback
(
    WRITTEN,  # samples heard so far
    CALLBACKS,  # callbacks that ran
    LATE,  # blocks whose result was not there: the delayed dry signal was played
    LOST,  # blocks that are not the result bit for bit: late ones, and those that the join after one reaches into
    XRUNS,  # callbacks that PortAudio flagged with an overflow or underflow
    MISFITS,  # callbacks with another number of frames than BLOCK
    FRAMES,  # of the last callback
    BEAT,  # when the last callback began, ns of the monotonic clock
    BLOCK,  # frames a callback
    RATE,  # Hz of the device
    WAS_LATE,  # 1 after a late block
    JOIN_LEFT,  # samples until a join has died away
    IN_CHANNELS,
    OUT_CHANNELS,
    SCRATCH,  # two words for the clock
    _SCRATCH_2,
    WAS_DELAY,  # DELAY at the last callback
) = range(4, 21)
# Written by the worker
(
    DONE,  # results are there for the positions before this one
    VALID,  # results count from this position on: after a restart the stream's first output is not sound yet
    LATENCY,  # of the stream, samples
    RUNS,  # times the worker processed something
    RESETS,  # times the worker lost its place: the ring was overrun, or it was started anew
    EPOCH_READY,  # the EPOCH for which the worker has its stream
    WORKER_REALTIME,  # 1: SCHED_FIFO, 2: and memory locked
) = range(21, 28)
# Written by the parent
(
    RUN,  # 0: the callback is silent and time stands still
    DELAY,  # samples from handing a block over to playing its result: slack x block
    EPOCH,  # grows when rate or block changed and the worker needs another stream
    TURN,  # grows when STRENGTH changed
    EVENT,  # file descriptor of the eventfd that wakes the worker, -1 for none
    WAIT,  # tests only: the callback waits for its result, so that nothing is ever late. Never set it live
    PAUSE,  # 1: the worker rests, the dry signal plays
    STOP,
    JOIN,  # samples that a join takes
    COPY,  # measurements only: the worker copies instead of running the model
    PING,  # measurements only: samples of noise to play instead of everything else; the callback counts them down
    PING_AT,  # where the callback began to; the parent sets -1 before
) = range(32, 44)
# Written by the audio process when input and output are two streams with clocks of their own, see ``bridge``
(
    TWO,  # 1: they are
    CAUGHT,  # samples that the input's callback has caught
    ARRIVALS,  # callbacks of the input
    IN_FRAMES,  # of the newest of them
    IN_RATE,  # nominal Hz of the input
    IN_XRUNS,
    MARGIN,  # samples of the input kept beyond what the blocks need; grows, within bounds, when they ran out
    TARGET,  # samples of the input between its clock and what is read
    STARVED,  # times that they ran out
    SLIPS,  # times that samples were left out or played twice, because the place had to be found anew
    OUT_OF,  # 1 while there are none
    SEAM,  # samples until a join has died away
    IN_SCRATCH,  # two words for the input's clock
    _IN_SCRATCH_2,
) = range(48, 62)
ARRIVAL, ARRIVAL_ROWS = 64, 16  # the newest arrivals: samples caught by then, and when, ns
HEAD = 128

# Words of ``gains``, float64
BYPASS, LOUD = 0, 1  # where the ramps are: 1 is the dry signal, 1 is not muted
BYPASS_AIM, LOUD_AIM = 2, 3
BYPASS_STEP, LOUD_STEP = 4, 5  # a sample
STRENGTH = 6  # dB, NaN is no limit
ACTIVITY = 7  # NaN when the model does not say
HEARD_POWER, PLAYED_POWER = 8, 9  # sums of squares since the start
GATE_FLOOR, GATE_OPEN, GATE_HOLD, GATE_BACK = 10, 11, 12, 13  # as GateSettings has them; a NaN floor is no gate
GATE_GAIN = 14  # where the gate is: 1 is open
LAST, REST = 16, 16 + MAX_CHANNELS  # a channel each: the last sample played, what a join has to take away
# Words that ``bridge`` uses: the reader's state, samples in the ring between the clocks, and for every channel the last
# sample and what a join has to take away
READER, FILL = 32, 40
SEAM_LAST, SEAM_REST = 48, 48 + MAX_CHANNELS
GAINS = 64

# Columns of the logs
BEGAN, ENDED, COUNT, FLAGS, AT = range(5)  # ns, ns, samples, see below, position after them
LOG = 5
FLAG_LATE, FLAG_JOIN, FLAG_XRUN, FLAG_MIXED = 1, 2, 4, 8  # MIXED: bypassed or muted, partly or wholly


class Block:
    """One shared block, mapped into this process.

    head, gains: int64 and float64 words, see above. calls, works: logs [rows, LOG] int64 of callbacks and worker runs.
    heard, made, played: rings [channels, length] float32 of the input, the worker's results and the output.
    caught: the same of what comes from a device with a clock of its own. taps: the table of ``drift``.
    """

    def __init__(self, memory: mmap.mmap, handle: str) -> None:
        self._memory = memory
        self.handle = handle
        with contextlib.suppress(OSError, ValueError, AttributeError):  # Linux from 5.14 on; elsewhere at first touch
            memory.madvise(_POPULATE_WRITE)
        words: NDArray[np.int64] = np.frombuffer(memory, np.int64)
        self.head = words[:HEAD]
        self.gains: NDArray[np.float64] = words[HEAD : HEAD + GAINS].view(np.float64)
        channels, length, rows = (int(words[word]) for word in (CHANNELS, LENGTH, ROWS))
        self.channels, self.length = channels, length
        at = HEAD + GAINS
        self.calls = words[at : at + rows * LOG].reshape(rows, LOG)
        self.works = words[at + rows * LOG : at + 2 * rows * LOG].reshape(rows, LOG)
        floats: NDArray[np.float32] = words[at + 2 * rows * LOG :].view(np.float32)
        size = channels * length
        rings = [floats[k * size : (k + 1) * size].reshape(channels, length) for k in range(4)]
        self.heard, self.made, self.played, self.caught = rings
        self.taps = floats[4 * size : 4 * size + TAPS].reshape(PHASES + 1, 2 * HALF)

    @classmethod
    def create(cls, channels: int = 1, length: int = 1 << 16) -> Block:
        """A new block. length: samples a ring holds, a power of two."""
        if not 1 <= channels <= MAX_CHANNELS or length < 1024 or length & (length - 1):
            raise ValueError(f"no block of {channels} channels and {length} samples")
        total = HEAD + GAINS + 2 * LOG_ROWS * LOG + (4 * channels * length + TAPS + channels * PIECE + 1) // 2
        if hasattr(os, "memfd_create"):  # vanishes with its last user, however that one dies
            descriptor = os.memfd_create("rtsep-live")
            handle = f"fd:{descriptor}"
        else:
            descriptor, path = tempfile.mkstemp(prefix="rtsep-live-")
            handle = f"path:{path}"
        os.ftruncate(descriptor, 8 * total)
        memory = mmap.mmap(descriptor, 8 * total)
        if handle.startswith("path:"):
            os.close(descriptor)
        words: NDArray[np.int64] = np.frombuffer(memory, np.int64)
        words[TOTAL], words[CHANNELS], words[LENGTH], words[ROWS] = total, channels, length, LOG_ROWS
        words[EVENT] = -1
        block = cls(memory, handle)
        block.gains[LOUD] = block.gains[LOUD_AIM] = 1.0
        block.gains[[STRENGTH, ACTIVITY, GATE_FLOOR]] = np.nan
        block.gains[GATE_GAIN] = 1.0
        return block

    @classmethod
    def attach(cls, handle: str) -> Block:
        """The block that another process created; raises RtsepError when it is gone."""
        kind, _, place = handle.partition(":")
        try:
            descriptor = int(place) if kind == "fd" else os.open(place, os.O_RDWR | getattr(os, "O_BINARY", 0))
            memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        except (OSError, ValueError) as error:
            raise RtsepError(f"The live session's memory cannot be opened ({error}); start it anew.") from None
        if kind == "path":
            os.close(descriptor)
        return cls(memory, handle)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that a child needs to attach."""
        kind, _, place = self.handle.partition(":")
        return (int(place),) if kind == "fd" else ()

    def configure(self, rate: int, block: int, delay: int) -> None:
        """Set what follows from the device: Hz, frames a callback, samples of slack."""
        self.head[RATE], self.head[BLOCK] = rate, block
        self.head[DELAY] = self.head[WAS_DELAY] = delay
        self.head[JOIN] = max(1, round(0.002 * rate))
        self.gains[BYPASS_STEP] = 1.0 / (0.020 * rate)
        self.gains[LOUD_STEP] = 1.0 / (0.500 * rate)

    def recent(self, log: NDArray[np.int64], count: int, rows: int) -> NDArray[np.int64]:
        """The newest ``rows`` rows of ``log`` (a copy, oldest first), of which ``count`` were ever written."""
        rows = min(rows, count, len(log) - 64)  # the writer goes on: rows next to its pen are left alone
        return log[np.arange(count - rows, count) % len(log)]

    def last(self, ring: NDArray[np.float32], end: int, count: int) -> NDArray[np.float32]:
        """The ``count`` samples of ``ring`` before position ``end``, [count, channels], a copy."""
        return ring[:, np.arange(end - count, end) % self.length].T.copy()

    def close(self) -> None:
        """Give up the memory; a block in a file is removed."""
        kind, _, place = self.handle.partition(":")
        if kind == "fd":
            os.close(int(place))
        else:
            try:
                os.unlink(place)
            except OSError as error:  # Windows keeps a file that a child still maps
                print(f"rtsep: {place} was left behind: {error}", file=sys.stderr)


def ring_length(samples: int) -> int:
    """The power of two that holds ``samples`` twice over, at least 1 << 14 (a third of a second)."""
    return 1 << max(14, (2 * samples - 1).bit_length())


def words(block: Block) -> dict[str, Any]:
    """The counters that a person may want to see, by name."""
    names = {
        "written": WRITTEN,
        "callbacks": CALLBACKS,
        "late": LATE,
        "lost": LOST,
        "xruns": XRUNS,
        "misfits": MISFITS,
        "done": DONE,
        "runs": RUNS,
        "resets": RESETS,
    }
    return {name: int(block.head[word]) for name, word in names.items()}
