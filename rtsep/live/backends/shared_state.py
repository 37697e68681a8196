"""The memory that callback, worker and parent share: typed records of counters and gains, logs, and rings of samples.

Every sample has one absolute position, its number since the start; rings are looked up modulo their length. A counter
says up to where a ring is written, and each field has one writer, so nothing is ever locked: the writer of a ring
writes samples, then the counter (with a fence between); the reader reads the counter, then samples.

The records are NumPy structured types, which compiled code (see ``record_types``) reads and writes by the same names
(``state.position``). Whoever only looks on needs no Numba, which takes its time to load.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import tempfile
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import RtsepError

MAX_CHANNELS = 8
MAX_FRAMES = 1 << 13  # of one callback
_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE: all pages mapped now, so that the callback never meets a page fault
LOG_ROWS = 1 << 14  # callbacks and worker runs remembered: 44 s of blocks of 128 samples at 48 kHz
ARRIVALS = 16  # callbacks of a second clock that are remembered
_INT, _FLOAT = np.int64, np.float64

STATE = np.dtype(
    [
        # The shape of the memory; never changes
        ("total_words", _INT),  # of 8 bytes
        ("channels", _INT),
        ("ring_length", _INT),
        ("log_rows", _INT),
        # Written by the audio process, mostly in its callback
        ("position", _INT),  # samples handled so far
        ("callbacks", _INT),
        ("late_blocks", _INT),  # the result was not there: the delayed dry signal was played
        ("lost_blocks", _INT),  # not the result bit for bit: late ones, and those that the join after one reaches into
        ("xruns", _INT),  # callbacks that the audio system flagged with an overflow or underflow
        ("irregular_callbacks", _INT),  # with another number of frames than ``block``
        ("frames", _INT),  # of the last callback
        ("last_callback_ns", _INT),  # when the last callback began, by the monotonic clock
        ("was_late", _INT),  # 1 after a late block
        ("last_delay", _INT),  # ``delay`` at the last callback
        ("join_left", _INT),  # samples until a join has died away
        ("input_channels", _INT),
        ("output_channels", _INT),
        ("clock_scratch", _INT, (2,)),
        ("bypass", _FLOAT),  # where the ramp is: 1 is the dry signal
        ("volume", _FLOAT),  # where the ramp is
        ("last_sample", _FLOAT, (MAX_CHANNELS,)),  # played
        ("join_offset", _FLOAT, (MAX_CHANNELS,)),  # what a join has to take away
        ("last_inside", _INT),  # ``inside`` at the last callback
        # The network inside the callback, see ``callback_steps``; addresses are the audio process's own
        ("step_address", _INT),  # of the native step, 0 without one
        ("step_context", _INT),
        ("step_scratch", _INT),  # room for three hops
        ("step_hop", _INT),  # samples
        ("step_latency", _INT),  # algorithmic, samples
        ("step_running", _INT),  # 1: the callback steps
        ("step_epoch", _INT),  # the ``epoch`` since which it does so
        ("step_busy", _INT),  # 1: it is doing so now
        ("step_taken", _INT),  # hops were stepped up to this position
        ("step_position", _INT),  # what they made is there for the positions before this one
        ("step_valid_from", _INT),  # and counts from here on
        ("step_faults", _INT),  # steps that failed
        ("step_strength_version", _INT),
        ("step_gain", _FLOAT, (4,)),  # of the dry signal, as ``framing.mix`` has it
        # Written by the worker
        ("processed", _INT),  # results are there for the positions before this one
        ("valid_from", _INT),  # results count from here on: a stream's first output after a restart is not sound yet
        ("stream_latency", _INT),  # samples; the audio process, whose callback may step, writes the same
        ("runs", _INT),  # times the worker processed something
        ("resets", _INT),  # times the worker lost its place: the ring was overrun, or it was started anew
        ("ready_epoch", _INT),  # the ``epoch`` for which the worker has its stream
        ("worker_realtime", _INT),  # 1: SCHED_FIFO, 2: and memory locked
        ("activity", _FLOAT),  # NaN when the model does not say; with slack 0 written by the audio process
        ("gate_gain", _FLOAT),  # where the gate is: 1 is open
        # Written by the parent
        ("running", _INT),  # 0: the callback is silent and time stands still
        ("stop", _INT),
        ("rate", _INT),  # Hz of the device
        ("block", _INT),  # frames a callback
        ("period", _INT),  # frames that come at once: those of several callbacks where the server's period is large
        ("delay", _INT),  # samples from handing a block over to playing its result: slack x period
        ("join_samples", _INT),  # that a join takes
        ("epoch", _INT),  # grows when rate or block changed and the worker needs another stream
        ("strength_version", _INT),  # grows when ``strength`` changed
        ("wake_descriptor", _INT),  # of the eventfd that wakes the worker, -1 for none
        ("worker_paused", _INT),  # 1: the worker rests, the dry signal plays
        ("inside", _INT),  # 1: what the callback's own steps make is played, not what the worker makes
        ("step_wanted", _INT),  # 1: the callback is to step
        ("without_model", _INT),  # measurements only: the worker copies instead of running the model
        ("input_mix", _INT),  # channels of the device that are heard, see below
        ("bypass_target", _FLOAT),
        ("bypass_step", _FLOAT),  # a sample
        ("volume_target", _FLOAT),
        ("volume_step", _FLOAT),
        ("strength", _FLOAT),  # dB, NaN is no limit
        ("gate", _FLOAT, (4,)),  # floor, open, hold, look-back as GateSettings has them; a NaN floor is no gate
    ],
    align=True,
)

CLOCKS = np.dtype(  # Input and output are two streams with clocks of their own, see ``clock_bridge``
    [
        ("separate", _INT),  # 1: they are
        ("captured", _INT),  # samples that the input's callback has taken
        ("callbacks", _INT),  # of the input
        ("frames", _INT),  # of the newest of them
        ("rate", _INT),  # nominal Hz of the input
        ("xruns", _INT),
        ("margin", _INT),  # samples of the input kept beyond what the blocks need; grows when they ran out
        ("target", _INT),  # samples of the input between its clock and what is read
        ("underruns", _INT),  # times that the samples ran out
        ("slips", _INT),  # times that samples were left out or played twice, because the place had to be found anew
        ("empty", _INT),  # 1 while there are none
        ("join_left", _INT),
        ("clock_scratch", _INT, (2,)),
        ("arrival_position", _INT, (ARRIVALS,)),  # samples captured by then
        ("arrival_ns", _INT, (ARRIVALS,)),
        ("fill", _FLOAT),  # samples in the ring between the clocks
        ("last_sample", _FLOAT, (MAX_CHANNELS,)),
        ("join_offset", _FLOAT, (MAX_CHANNELS,)),
    ],
    align=True,
)

RESAMPLER = np.dtype(  # see ``adaptive_resampler``
    [
        ("place", _FLOAT),  # position in the ring that is read next
        ("ratio", _FLOAT),  # samples of the ring for each one put out
        ("nominal", _FLOAT),  # the ratio without drift
        ("integral", _FLOAT),  # of the loop: the drift found so far, as a share of the ratio
        ("error", _FLOAT),  # smoothed, samples
        ("started", _INT),
    ],
    align=True,
)
HALF = 16  # its taps on either side: a delay of 0.33 ms at 48 kHz
PHASES = 512  # linearly interpolated: below -110 dB
TABLE_SHAPE = (PHASES + 1, 2 * HALF)

PLAYER = np.dtype(  # see ``player_callback``
    [
        # Written by the callback
        ("position", _INT),  # that is played next
        ("jumps_made", _INT),  # the ``jump_version`` up to which jumps were made
        ("accompaniment", _FLOAT),  # where the ramps are
        ("vocals", _FLOAT),
        ("playing", _FLOAT),
        # Written by the worker: from ``jump_at`` on (-1: now) playing goes on at ``jump_to``. Odd versions are not yet
        # whole.
        ("jump_version", _INT),
        ("jump_at", _INT),
        ("jump_to", _INT),
        ("end", _INT),  # position at which the last song is over, 0 while that is not known
        # Written by the parent
        ("accompaniment_target", _FLOAT),
        ("vocals_target", _FLOAT),
        ("playing_target", _FLOAT),
    ],
    align=True,
)

PING = np.dtype(  # Measurements only, see ``live_callback``: noise to play instead of everything else
    [
        ("remaining", _INT),  # samples; the callback counts them down
        ("position", _INT),  # where the callback began to; the parent sets -1 before
    ],
    align=True,
)

LOG_ROW = np.dtype(
    [
        ("began", _INT),  # ns of the monotonic clock
        ("ended", _INT),
        ("count", _INT),  # samples
        ("flags", _INT),
        ("position", _INT),  # after them
    ],
    align=True,
)
FLAG_LATE, FLAG_JOIN, FLAG_XRUN, FLAG_MIXED = 1, 2, 4, 8  # MIXED: bypassed or muted, partly or wholly

# ``state.input_mix``: n > 0 is the n-th channel of the device alone
ALL_CHANNELS, MEAN_OF_CHANNELS = 0, -1

# Where things begin, in words of 8 bytes
_SIZES = [dtype.itemsize // 8 for dtype in (STATE, CLOCKS, RESAMPLER, PLAYER, PING)]
CLOCKS_AT, RESAMPLER_AT, PLAYER_AT, PING_AT, LOGS_AT = (int(at) for at in np.cumsum(_SIZES))
SCRATCH_AT = int(STATE.fields["clock_scratch"][1]) // 8  # type: ignore[index]
STEP_GAIN_AT = int(STATE.fields["step_gain"][1]) // 8  # type: ignore[index]
CAPTURE_SCRATCH_AT = CLOCKS_AT + int(CLOCKS.fields["clock_scratch"][1]) // 8  # type: ignore[index]
LOG_WORDS = LOG_ROW.itemsize // 8
RINGS = 5
TABLE_SIZE = TABLE_SHAPE[0] * TABLE_SHAPE[1]


class Fields:
    """One record by its fields' names. Numbers are read as int or float; arrays are views.

    record: the same memory as compiled functions take it.
    """

    __slots__ = ("_fields", "record")
    record: Any
    _fields: dict[str, NDArray[Any]]

    def __init__(self, words: NDArray[np.int64], dtype: np.dtype[Any]) -> None:
        array = words[: dtype.itemsize // 8].view(dtype)
        object.__setattr__(self, "record", array[0])
        fields = {name: array[name].reshape(array[name].shape[1:]) for name in dtype.names or ()}
        object.__setattr__(self, "_fields", fields)

    def __getattr__(self, name: str) -> Any:
        try:
            field = self._fields[name]
        except KeyError:
            raise AttributeError(f"There is no field {name!r}.") from None
        return field if field.ndim else field.item()

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._fields:
            raise AttributeError(f"There is no field {name!r}.")
        self._fields[name][...] = value


class SharedBlock:
    """One shared block, mapped into this process.

    state, clocks, resampler, player, ping: records, see above. calls, works: logs [rows] of callbacks and worker runs.
    heard, results, played: rings [channels, length] float32 of the input, the worker's results and the output.
    captured: the same of what comes from a device with a clock of its own. stepped: of what the callback's own steps
    make. taps: the resampler's table.
    """

    def __init__(self, memory: mmap.mmap, handle: str) -> None:
        self._memory = memory
        self.handle = handle
        with contextlib.suppress(OSError, ValueError, AttributeError):  # Linux from 5.14 on; elsewhere at first touch
            memory.madvise(_POPULATE_WRITE)
        words: NDArray[np.int64] = np.frombuffer(memory, np.int64)
        self.state = Fields(words, STATE)
        self.clocks = Fields(words[CLOCKS_AT:], CLOCKS)
        self.resampler = Fields(words[RESAMPLER_AT:], RESAMPLER)
        self.player = Fields(words[PLAYER_AT:], PLAYER)
        self.ping = Fields(words[PING_AT:], PING)
        self.address = words.ctypes.data
        self.channels, self.length = self.state.channels, self.state.ring_length
        logs = words[LOGS_AT : LOGS_AT + 2 * self.state.log_rows * LOG_WORDS].view(LOG_ROW)
        self.calls, self.works = np.split(logs, 2)
        floats: NDArray[np.float32] = words[LOGS_AT + len(logs) * LOG_WORDS :].view(np.float32)
        size = self.channels * self.length
        rings = [floats[k * size : (k + 1) * size].reshape(self.channels, self.length) for k in range(RINGS)]
        self.heard, self.results, self.played, self.captured, self.stepped = rings
        self.taps = floats[RINGS * size : RINGS * size + TABLE_SIZE].reshape(TABLE_SHAPE)

    @classmethod
    def create(cls, channels: int = 1, length: int = 1 << 16) -> SharedBlock:
        """A new block. length: samples a ring holds, a power of two. Raises ValueError for an impossible shape."""
        if not 1 <= channels <= MAX_CHANNELS or length < 1024 or length & (length - 1):
            raise ValueError(f"no block of {channels} channels and {length} samples")
        floats = RINGS * channels * length + TABLE_SIZE + channels * MAX_FRAMES
        total = LOGS_AT + 2 * LOG_ROWS * LOG_WORDS + (floats + 1) // 2
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
        state = Fields(np.frombuffer(memory, np.int64), STATE)
        state.total_words, state.channels, state.ring_length, state.log_rows = total, channels, length, LOG_ROWS
        state.wake_descriptor = -1
        state.volume = state.volume_target = state.gate_gain = 1.0
        state.strength = state.activity = state.gate = np.nan
        return cls(memory, handle)

    @classmethod
    def attach(cls, handle: str) -> SharedBlock:
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
        """File descriptors that a child needs: the memory's, and the one that wakes the worker."""
        kind, _, place = self.handle.partition(":")
        wake = self.state.wake_descriptor
        return ((int(place),) if kind == "fd" else ()) + ((wake,) if wake >= 0 else ())

    def configure(self, rate: int, block: int, delay: int, period: int = 0) -> None:
        """Set what follows from the device: Hz, frames a callback, samples of slack, frames that come at once."""
        state = self.state
        state.rate, state.block, state.period = rate, block, max(block, period)
        state.delay = state.last_delay = delay
        state.join_samples = max(1, round(0.002 * rate))
        state.bypass_step = 1.0 / (0.020 * rate)
        state.volume_step = 1.0 / (0.500 * rate)

    def wake_worker(self) -> None:
        """Make a sleeping worker look around."""
        if self.state.wake_descriptor >= 0:
            os.eventfd_write(self.state.wake_descriptor, 1)  # type: ignore[attr-defined,unused-ignore]

    def log_run(self, began: int, count: int, position: int) -> None:
        """The worker's: it began, ns, did ``count`` samples, and is at ``position`` now."""
        runs = self.state.runs
        self.works[runs % len(self.works)] = (began, time.monotonic_ns(), count, 0, position)
        self.state.runs = runs + 1

    def newest_rows(self, log: NDArray[Any], count: int, rows: int) -> NDArray[Any]:
        """The newest ``rows`` rows of ``log`` (a copy, oldest first), of which ``count`` were ever written."""
        rows = min(rows, count, len(log) - 64)  # the writer goes on: rows next to where it writes are left alone
        return log[np.arange(count - rows, count) % len(log)]

    def samples_before(self, ring: NDArray[np.float32], end: int, count: int) -> NDArray[np.float32]:
        """The ``count`` samples of ``ring`` before position ``end``, [count, channels], a copy."""
        return ring[:, np.arange(end - count, end) % self.length].T.copy()

    def close(self) -> None:
        """Give up the memory; a block in a file is removed."""
        if self.state.wake_descriptor >= 0:
            os.close(self.state.wake_descriptor)
            self.state.wake_descriptor = -1
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


def counters(block: SharedBlock) -> dict[str, int]:
    """What was counted since the start, by the names that a status has for it (see ``status``)."""
    state = block.state
    return {
        "samples": state.position,
        "callbacks": state.callbacks,
        "late": state.late_blocks,
        "lost": state.lost_blocks,
        "xruns": state.xruns,
        "irregular": state.irregular_callbacks,
        "processed": state.processed,
        "runs": state.runs,
        "resets": state.resets,
    }
