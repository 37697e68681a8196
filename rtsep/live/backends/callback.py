"""The live callback: compiled, without the GIL, allocations or locks.

``hear`` takes a block in, ``speak`` plays what is due: the worker's result from ``DELAY`` samples ago, or, when that is
not there, the dry signal delayed just as much. Where one follows the other, the difference between the last sample
played and the first of the new kind is added and dies away within 2 ms: no step, and never more delay.

PortAudio calls ``address()``, a C function around both; on Linux it wakes the worker through an eventfd.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from numba import carray, types

from rtsep.engine.framing import LIMIT
from rtsep.engine.numba_cache import c_function, compiled
from rtsep.live.backends.clock_bridge import catch, cross
from rtsep.live.backends.clock_drift import HALF, PHASES, STARTED
from rtsep.live.backends.memory_fence import fence
from rtsep.live.backends.shared_state import (
    AT,
    BEAT,
    BEGAN,
    BLOCK,
    BYPASS,
    BYPASS_AIM,
    BYPASS_STEP,
    CALLBACKS,
    CHANNELS,
    COUNT,
    DELAY,
    DONE,
    ENDED,
    EVENT,
    FLAG_JOIN,
    FLAG_LATE,
    FLAG_MIXED,
    FLAG_XRUN,
    FLAGS,
    FRAMES,
    GAINS,
    HEAD,
    HEARD_POWER,
    IN_CHANNELS,
    IN_SCRATCH,
    IN_XRUNS,
    JOIN,
    JOIN_LEFT,
    LAST,
    LATE,
    LATENCY,
    LENGTH,
    LOG,
    LOST,
    LOUD,
    LOUD_AIM,
    LOUD_STEP,
    MISFITS,
    OUT_CHANNELS,
    PIECE,
    PING,
    PING_AT,
    PLAYED_POWER,
    READER,
    REST,
    ROWS,
    RUN,
    SCRATCH,
    STOP,
    TAPS,
    TOTAL,
    TWO,
    VALID,
    WAIT,
    WAS_DELAY,
    WAS_LATE,
    WRITTEN,
    XRUNS,
)

LINUX = sys.platform == "linux"
_POINTER = types.voidptr
# PaStreamCallback: input, output, frames, times, status, user
STREAM_CALLBACK = types.int32(_POINTER, _POINTER, types.uint64, _POINTER, types.uint64, _POINTER)
_PROBLEMS = 15  # PortAudio's flags of over- and underflow, without "priming"
_PATIENCE_NS = 5_000_000_000  # how long a test's callback waits for its result
_LIMIT = np.float32(LIMIT)


@compiled("void(int64[::1], float64[::1], float32[:,::1], float32[:,::1])")
def hear(head, gains, heard, block):
    """Append ``block`` ([frames, channels]) to the ring ``heard`` and publish it; faulty samples become harmless."""
    mask = heard.shape[1] - 1
    at = head[WRITTEN]
    power = 0.0
    for channel in range(heard.shape[0]):
        source = min(channel, block.shape[1] - 1)
        for i in range(block.shape[0]):
            value = block[i, source]
            if not np.isfinite(value):
                value = np.float32(0.0)
            elif value > _LIMIT:
                value = _LIMIT
            elif value < -_LIMIT:
                value = -_LIMIT
            heard[channel, (at + i) & mask] = value
            power += value * value
    gains[HEARD_POWER] += power / heard.shape[0]
    fence()
    head[WRITTEN] = at + block.shape[0]


@compiled("int64(int64[::1], float64[::1], float32[:,::1], float32[:,::1], float32[:,::1], float32[:,::1])")
def speak(head, gains, heard, made, played, out):
    """Fill ``out`` ([frames, channels]) with what is due now, after ``hear`` took as many frames; the log's flags."""
    channels = heard.shape[0]
    mask = heard.shape[1] - 1
    frames = out.shape[0]
    now = head[WRITTEN] - frames
    first = now - head[DELAY]
    dry_first = first - head[LATENCY]
    # A result is there when all of it is.
    there = head[DONE] >= first + frames and (first >= head[VALID] or head[VALID] == 0)
    fence()
    late = 0 if there else 1
    if gains[BYPASS] == 1.0 and gains[BYPASS_AIM] == 1.0:
        late = 0  # the dry signal is what is wanted
    begins = late != head[WAS_LATE] or head[DELAY] != head[WAS_DELAY]
    head[WAS_LATE], head[WAS_DELAY] = late, head[DELAY]
    total = head[JOIN]
    if begins:
        head[JOIN_LEFT] = total
    flags = FLAG_LATE if late else 0
    if head[JOIN_LEFT] > 0:
        flags |= FLAG_JOIN
    power = 0.0
    for i in range(frames):
        gains[BYPASS] += min(gains[BYPASS_STEP], max(-gains[BYPASS_STEP], gains[BYPASS_AIM] - gains[BYPASS]))
        gains[LOUD] += min(gains[LOUD_STEP], max(-gains[LOUD_STEP], gains[LOUD_AIM] - gains[LOUD]))
        share = gains[BYPASS]
        loud = gains[LOUD]
        if share != 0.0 or loud != 1.0:
            flags |= FLAG_MIXED
        left = head[JOIN_LEFT]
        for channel in range(channels):
            dry = heard[channel, (dry_first + i) & mask]
            value = dry
            if late == 0 and share < 1.0:
                value = made[channel, (first + i) & mask]
                if share > 0.0:
                    value = np.float32((1.0 - share) * value + share * dry)
            if loud != 1.0:
                value = np.float32(value * loud)
            if i == 0 and begins:
                gains[REST + channel] = gains[LAST + channel] - value
            if left > 0:
                value = np.float32(value + gains[REST + channel] * (left / total))
            gains[LAST + channel] = value
            played[channel, (now + i) & mask] = value
            power += value * value
        if left > 0:
            head[JOIN_LEFT] = left - 1
        for channel in range(out.shape[1]):
            out[i, channel] = played[channel % channels, (now + i) & mask]
    gains[PLAYED_POWER] += power / channels
    if flags & (FLAG_LATE | FLAG_JOIN):
        head[LOST] += 1
    head[LATE] += late
    return flags


if sys.platform == "win32":  # PortAudio's own clock: there is no clock_gettime

    @compiled("int64(int64[::1], float64[::1])")
    def clock(scratch, times):
        return np.int64(times[1] * 1e9)

else:
    _MONOTONIC = int(time.CLOCK_MONOTONIC)
    _gettime: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.intp))

    @compiled("int64(int64[::1], float64[::1])")
    def clock(scratch, times):
        _gettime(np.int32(_MONOTONIC), scratch.ctypes.data)
        return scratch[0] * 1_000_000_000 + scratch[1]


if LINUX:
    _eventfd_write: Any = types.ExternalFunction("eventfd_write", types.int32(types.int32, types.uint64))
    _usleep: Any = types.ExternalFunction("usleep", types.int32(types.uint32))

    @compiled("void(int64[::1])")
    def _wake(head):
        if head[EVENT] >= 0:
            _eventfd_write(np.int32(head[EVENT]), np.uint64(1))
        if head[WAIT] == 1:
            for _ in range(_PATIENCE_NS // 50_000):
                fence()
                if head[DONE] >= head[WRITTEN] - head[DELAY] or head[STOP] == 1:
                    break
                _usleep(np.uint32(50))

else:

    @compiled("void(int64[::1])")
    def _wake(head):
        pass


@compiled("void(int64[::1], float32[:,::1], float32[:,::1])")
def _ping(head, played, out):
    """Noise over what was to be played, for measuring what comes back: by a generator, so that nothing is read."""
    mask = played.shape[1] - 1
    now = head[WRITTEN] - out.shape[0]
    if head[PING_AT] < 0:
        head[PING_AT] = now
    for i in range(min(out.shape[0], head[PING])):
        state = now - head[PING_AT] + i + 1
        for _ in range(3):  # neighbours must not resemble each other
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            state ^= state >> 11
        value = np.float32((state & 0xFFFF) / 65536.0 - 0.5)
        for channel in range(played.shape[0]):
            played[channel, (now + i) & mask] = value
        for channel in range(out.shape[1]):
            out[i, channel] = value
    head[PING] -= min(out.shape[0], head[PING])


@compiled(
    "void(int64[::1], float64[::1], int64[:,::1], float32[:,::1], float32[:,::1], float32[:,::1], float32[:,::1], "
    "float32[:,::1], int64, int64)"
)
def turn(head, gains, calls, heard, made, played, sound, out, began, flags):
    """One block: ``sound`` ([frames, channels]) is heard, the worker woken, ``out`` played; logged but for its end."""
    hear(head, gains, heard, sound)
    _wake(head)
    flags |= speak(head, gains, heard, made, played, out)
    if head[PING] > 0:
        _ping(head, played, out)
    if out.shape[0] != head[BLOCK]:
        head[MISFITS] += 1
    row = head[CALLBACKS] % calls.shape[0]
    calls[row, BEGAN] = began
    calls[row, COUNT] = out.shape[0]
    calls[row, FLAGS] = flags
    calls[row, AT] = head[WRITTEN]


def _callback(source, target, frames, times, status, user):
    """PaStreamCallback: input and output float32, interleaved; ``user`` is the shared block.

    With two streams this is the output's, and what is heard comes over the bridge.
    """
    head = carray(user, (HEAD,), np.int64)
    words = carray(user, (head[TOTAL],), np.int64)
    gains = words[HEAD : HEAD + GAINS].view(np.float64)
    now = clock(head[SCRATCH : SCRATCH + 2], carray(times, (3,), np.float64))
    out = carray(target, (frames, head[OUT_CHANNELS]), np.float32)
    head[FRAMES] = frames
    if head[RUN] == 0 or frames > PIECE:
        gains[READER + STARTED] = 0.0
        for i in range(out.shape[0]):
            for channel in range(out.shape[1]):
                out[i, channel] = 0.0
        head[CALLBACKS] += 1
        head[BEAT] = now
        return 0
    channels, length, rows = head[CHANNELS], head[LENGTH], head[ROWS]
    at = HEAD + GAINS
    calls = words[at : at + rows * LOG].reshape((rows, LOG))
    floats = words[at + 2 * rows * LOG :].view(np.float32)
    size = channels * length
    heard = floats[:size].reshape((channels, length))
    made = floats[size : 2 * size].reshape((channels, length))
    played = floats[2 * size : 3 * size].reshape((channels, length))
    flags = 0
    if status & _PROBLEMS:
        flags = FLAG_XRUN
        head[XRUNS] += 1
    if head[TWO] == 1:
        caught = floats[3 * size : 4 * size].reshape((channels, length))
        taps = floats[4 * size : 4 * size + TAPS].reshape((PHASES + 1, 2 * HALF))
        count = np.int64(frames)
        piece = floats[4 * size + TAPS : 4 * size + TAPS + count * channels].reshape((count, channels))
        cross(head, gains, caught, taps, piece, now)
        turn(head, gains, calls, heard, made, played, piece, out, now, flags)
    else:
        sound = carray(source, (frames, head[IN_CHANNELS]), np.float32)
        turn(head, gains, calls, heard, made, played, sound, out, now, flags)
    calls[head[CALLBACKS] % rows, ENDED] = clock(head[SCRATCH : SCRATCH + 2], carray(times, (3,), np.float64))
    fence()
    head[CALLBACKS] += 1
    head[BEAT] = now
    return 0


def _caught(source, target, frames, times, status, user):
    """PaStreamCallback of an input stream whose output is another: see ``bridge``."""
    head = carray(user, (HEAD,), np.int64)
    words = carray(user, (head[TOTAL],), np.int64)
    now = clock(head[IN_SCRATCH : IN_SCRATCH + 2], carray(times, (3,), np.float64))
    channels, length = head[CHANNELS], head[LENGTH]
    floats = words[HEAD + GAINS + 2 * head[ROWS] * LOG :].view(np.float32)
    size = channels * length
    caught = floats[3 * size : 4 * size].reshape((channels, length))
    catch(head, caught, carray(source, (frames, head[IN_CHANNELS]), np.float32), now)
    if status & _PROBLEMS:
        head[IN_XRUNS] += 1
    return 0


def compile_callback(cache: bool = True, catching: bool = False) -> Any:
    """The C function; keep what this returns as long as PortAudio may call ``.address``.

    catching: the one for an input whose output is another stream.
    """
    return c_function(_caught if catching else _callback, STREAM_CALLBACK, cache)
