"""The live callback: compiled, without the GIL, allocations or locks.

``take_in`` takes a block in, ``put_out`` plays what is due: the worker's result from ``state.delay`` samples ago, or
what ``run_steps`` has just made of the block itself (slack 0). When that is not there it is the dry signal, delayed
just as much. Where one follows the other, the difference between the last sample played and the first of the new kind
is added and dies away within 2 ms: no step, and never more delay.

PortAudio calls ``live``, a C function around both (see ``callbacks``); on Linux it wakes the worker through an eventfd.
Two variants are compiled from the same source for measurements, and are never what users run: one plays noise on
request, one waits for the worker, so that nothing is ever late.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, float32, int64, types, void

from rtsep.engine.compiled.memory import floats, pointer_to_floats
from rtsep.engine.numba_cache import compiled
from rtsep.live.backends.callback_steps import run_steps
from rtsep.live.backends.clock_bridge import capture, cross
from rtsep.live.backends.memory_fence import fence
from rtsep.live.backends.record_types import PING_TYPE, STATE_TYPE
from rtsep.live.backends.shared_state import (
    CAPTURE_SCRATCH_AT,
    CLOCKS,
    CLOCKS_AT,
    FLAG_JOIN,
    FLAG_LATE,
    FLAG_MIXED,
    LOG_WORDS,
    LOGS_AT,
    MAX_FRAMES,
    PING,
    PING_AT,
    RESAMPLER,
    RESAMPLER_AT,
    RINGS,
    SCRATCH_AT,
    STATE,
    STEP_GAIN_AT,
    TABLE_SHAPE,
    TABLE_SIZE,
)
from rtsep.live.backends.stream_callback import (
    LINUX,
    SOUND,
    WORDS,
    XRUN_FLAGS,
    clock,
    count_xrun,
    finish,
    input_sample,
    log_callback,
    ramp,
    rings,
    silence,
)

_WAIT_NS = 5_000_000_000  # how long the variant ``wait`` waits for a result
_CLOCKS_END, _RESAMPLER_END, _PING_END = (
    at + dtype.itemsize // 8 for at, dtype in ((CLOCKS_AT, CLOCKS), (RESAMPLER_AT, RESAMPLER), (PING_AT, PING))
)


@compiled(void(STATE_TYPE, SOUND, SOUND))
def take_in(state, heard, block):
    """Append ``block`` ([frames, channels]) to the ring ``heard`` and publish it; faulty samples become harmless."""
    mask = heard.shape[1] - 1
    at, mix = state.position, state.input_mix
    for channel in range(heard.shape[0]):
        for i in range(block.shape[0]):
            heard[channel, (at + i) & mask] = input_sample(block, i, channel, mix)
    fence()
    state.position = at + block.shape[0]


@compiled(int64(STATE_TYPE, SOUND, SOUND, SOUND, SOUND))
def put_out(state, heard, results, played, out):
    """Fill ``out`` ([frames, channels]) with what is due now, after ``take_in`` of as many frames; the log's flags.

    results: the worker's, or, when the network is ``state.inside``, the callback's own.
    """
    channels = heard.shape[0]
    mask = heard.shape[1] - 1
    frames = out.shape[0]
    now = state.position - frames
    first = now - state.delay
    dry_first = first - state.stream_latency
    # A result is there when all of it is.
    processed = state.step_position if state.inside == 1 else state.processed
    valid_from = state.step_valid_from if state.inside == 1 else state.valid_from
    there = processed >= first + frames and (first >= valid_from or valid_from == 0)
    fence()
    late = 0 if there else 1
    if state.bypass == 1.0 and state.bypass_target == 1.0:
        late = 0  # the dry signal is what is wanted
    begins = late != state.was_late or state.delay != state.last_delay or state.inside != state.last_inside
    state.was_late, state.last_delay, state.last_inside = late, state.delay, state.inside
    total = state.join_samples
    if begins:
        state.join_left = total
    flags = FLAG_LATE if late else 0
    if state.join_left > 0:
        flags |= FLAG_JOIN
    for i in range(frames):
        state.bypass = ramp(state.bypass, state.bypass_target, state.bypass_step)
        state.volume = ramp(state.volume, state.volume_target, state.volume_step)
        share = state.bypass
        volume = state.volume
        if share != 0.0 or volume != 1.0:
            flags |= FLAG_MIXED
        left = state.join_left
        for channel in range(channels):
            dry = heard[channel, (dry_first + i) & mask]
            value = dry
            if late == 0 and share < 1.0:
                value = results[channel, (first + i) & mask]
                if not np.isfinite(value):  # a faulty network must not be heard
                    value = dry
                if share > 0.0:
                    value = np.float32((1.0 - share) * value + share * dry)
            if volume != 1.0:
                value = np.float32(value * volume)
            if i == 0 and begins:
                state.join_offset[channel] = state.last_sample[channel] - value
            if left > 0:
                value = np.float32(value + state.join_offset[channel] * (left / total))
            state.last_sample[channel] = value
            played[channel, (now + i) & mask] = value
        if left > 0:
            state.join_left = left - 1
        for channel in range(out.shape[1]):
            out[i, channel] = played[channel % channels, (now + i) & mask]
    if flags & (FLAG_LATE | FLAG_JOIN):
        state.lost_blocks += 1
    state.late_blocks += late
    return flags


if LINUX:
    _eventfd_write: Any = types.ExternalFunction("eventfd_write", types.int32(types.int32, types.uint64))
    _usleep: Any = types.ExternalFunction("usleep", types.int32(types.uint32))

    @compiled(void(STATE_TYPE))
    def _wake_worker(state):
        if state.wake_descriptor >= 0 and state.worker_paused == 0:
            _eventfd_write(np.int32(state.wake_descriptor), np.uint64(1))

    @compiled(void(STATE_TYPE))
    def _wait_for_worker(state):
        """Until the result that is due is there, or the session stops, or long enough."""
        for _ in range(_WAIT_NS // 50_000):
            fence()
            if state.processed >= state.position - state.delay or state.stop == 1:
                break
            _usleep(np.uint32(50))

else:

    @compiled(void(STATE_TYPE))
    def _wake_worker(state):
        pass

    @compiled(void(STATE_TYPE))
    def _wait_for_worker(state):
        pass


@compiled(types.Tuple((SOUND, float32[::1]))(STATE_TYPE, WORDS))
def _conversion_memory(state, words):
    """What lies behind the rings: the resampler's table, and room for a block from another clock."""
    first = words.ctypes.data + 8 * (LOGS_AT + 2 * state.log_rows * LOG_WORDS)
    first += 4 * RINGS * state.channels * state.ring_length
    scratch = first + 4 * TABLE_SIZE
    return carray(pointer_to_floats(first), TABLE_SHAPE), floats(scratch, state.channels * MAX_FRAMES)


@compiled(void(STATE_TYPE, PING_TYPE, SOUND, SOUND))
def _play_ping(state, ping, played, out):
    """Noise over what was to be played, for measuring what comes back: by a generator, so that nothing is read."""
    mask = played.shape[1] - 1
    now = state.position - out.shape[0]
    if ping.position < 0:
        ping.position = now
    count = min(out.shape[0], ping.remaining)
    for i in range(count):
        random = now - ping.position + i + 1
        for _ in range(3):  # neighbours must not resemble each other
            random = (random * 1103515245 + 12345) & 0x7FFFFFFF
            random ^= random >> 11
        value = np.float32((random & 0xFFFF) / 65536.0 - 0.5)
        for channel in range(played.shape[0]):
            played[channel, (now + i) & mask] = value
        for channel in range(out.shape[1]):
            out[i, channel] = value
    ping.remaining -= count


def _live_callback(pings: bool, waits: bool) -> Any:
    """The source of the callback; pings, waits: constants of the compiled code, which holds no trace of what is off."""

    def live(source, target, frames, times, status, user):
        """PaStreamCallback: input and output float32, interleaved; ``user`` is the shared block.

        With two streams this is the output's, and what is heard comes by way of ``clock_bridge``.
        """
        state = carray(user, (1,), STATE)[0]
        words = carray(user, (state.total_words,), np.int64)
        now = clock(words[SCRATCH_AT : SCRATCH_AT + 2], carray(times, (3,), np.float64))
        out = carray(target, (frames, state.output_channels), np.float32)
        clocks = words[CLOCKS_AT:_CLOCKS_END].view(CLOCKS)[0]
        resampler = words[RESAMPLER_AT:_RESAMPLER_END].view(RESAMPLER)[0]
        state.frames = frames
        if state.running == 0 or frames > MAX_FRAMES:
            resampler.started = 0
            silence(out)
            finish(state, now)
            return 0
        heard, results, played, captured, stepped = rings(state, words)
        flags = count_xrun(state, status)
        if clocks.separate == 1:
            taps, scratch = _conversion_memory(state, words)
            count: Any = np.int64(frames)
            piece = carray(pointer_to_floats(scratch.ctypes.data), (count, state.channels))
            cross(state, clocks, resampler, captured, taps, piece, now)
            take_in(state, heard, piece)
        else:
            take_in(state, heard, carray(source, (frames, state.input_channels), np.float32))
        _wake_worker(state)
        state.step_busy = 1
        fence()
        if state.step_running == 1 and state.step_wanted == 1:
            gain = words[STEP_GAIN_AT : STEP_GAIN_AT + 4].view(np.float64)
            run_steps(state, gain, heard, stepped, np.int64(frames) // max(1, state.step_hop) + 2)
        fence()
        state.step_busy = 0
        if waits and state.inside == 0:
            _wait_for_worker(state)
        flags |= put_out(state, heard, stepped if state.inside == 1 else results, played, out)
        if pings:
            ping = words[PING_AT:_PING_END].view(PING)[0]
            if ping.remaining > 0:
                _play_ping(state, ping, played, out)
        ended = clock(words[SCRATCH_AT : SCRATCH_AT + 2], carray(times, (3,), np.float64))
        log_callback(state, words, now, ended, np.int64(frames), flags)
        return 0

    return live


def capturing(source, target, frames, times, status, user):
    """PaStreamCallback of an input stream whose output is another: see ``clock_bridge``."""
    state = carray(user, (1,), STATE)[0]
    words = carray(user, (state.total_words,), np.int64)
    clocks = words[CLOCKS_AT:_CLOCKS_END].view(CLOCKS)[0]
    now = clock(words[CAPTURE_SCRATCH_AT : CAPTURE_SCRATCH_AT + 2], carray(times, (3,), np.float64))
    _, _, _, captured, _ = rings(state, words)
    sound = carray(source, (frames, state.input_channels), np.float32)
    capture(clocks, captured, sound, state.input_mix, now)
    if status & XRUN_FLAGS:
        clocks.xruns += 1
    return 0


live, live_with_ping, live_waiting = (_live_callback(*kind) for kind in ((False, False), (True, False), (False, True)))
