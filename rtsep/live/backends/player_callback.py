"""The deck: what a player's callback plays out of the shared block, compiled like the live callback.

The rings hold the song three times over, at positions that only grow: ``heard`` rows 0 and 1 are the original, rows 2
and 3 the vocals, ``made`` rows 0 and 1 the accompaniment. They are filled ahead of time, and mixed here and now: so a
slider is heard at once, and the original can be held against the rest without any jump in time. After a seek the feeder
writes the new place behind the old one and then asks for a jump, which the callback makes between two samples, joined
as late blocks are (see ``callback``). When nothing is there to be played the deck stands still: it never skips.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from rtsep.engine.numba_cache import c_function, compiled
from rtsep.live.backends.callback import STREAM_CALLBACK, clock, fence
from rtsep.live.backends.shared_state import (
    AT,
    BEAT,
    BEGAN,
    BLOCK,
    BYPASS,
    BYPASS_AIM,
    BYPASS_STEP,
    CALLBACKS,
    COUNT,
    DONE,
    ENDED,
    FLAG_JOIN,
    FLAG_LATE,
    FLAG_MIXED,
    FLAG_XRUN,
    FLAGS,
    FRAMES,
    GAINS,
    HEAD,
    JOIN,
    JOIN_LEFT,
    LAST,
    LATE,
    LENGTH,
    LOG,
    LOUD,
    LOUD_AIM,
    MISFITS,
    OUT_CHANNELS,
    PLAYED_POWER,
    REST,
    ROWS,
    RUN,
    SCRATCH,
    TOTAL,
    WAS_LATE,
    WRITTEN,
    XRUNS,
    Block,
)

ROWS_OF_SOUND = 4  # channels of the block
_PROBLEMS = 15  # PortAudio's flags of over- and underflow, without "priming"

# Words of ``head``; a player has neither a microphone nor two clocks, whose words lie there otherwise.
# Written by the callback
READ, SEEN = 42, 43  # position that is played next; the JUMP_TURN up to which jumps were made
# Written by the feeder: from position AT on (-1: now) playing goes on at TO. Odd turns are not yet whole.
JUMP_TURN, JUMP_AT, JUMP_TO = 44, 45, 46
END = 47  # position at which the last song is over, 0 while that is not known
# Written once: where in the block things are, in words
GAINS_AT, CALLS_AT, FLOATS_AT = 48, 49, 50

# Words of ``gains``, of those that only two clocks need: where the ramps are, and where they go
ACCOMPANIMENT, VOCALS, PLAYING = 32, 33, 34
ACCOMPANIMENT_AIM, VOCALS_AIM, PLAYING_AIM = 35, 36, 37


def new_deck(length: int) -> Block:
    """A block to play from. length: samples its rings hold, a power of two."""
    block = Block.create(ROWS_OF_SOUND, length)
    block.head[GAINS_AT] = HEAD
    block.head[CALLS_AT] = HEAD + GAINS
    block.head[FLOATS_AT] = HEAD + GAINS + 2 * int(block.head[ROWS]) * LOG
    block.gains[[ACCOMPANIMENT, ACCOMPANIMENT_AIM, PLAYING_AIM]] = 1.0
    block.gains[[VOCALS, VOCALS_AIM, PLAYING]] = 0.0
    return block


@compiled("float64(float64, float64, float64)")
def _nearer(value, aim, step):
    return value + min(step, max(-step, aim - value))


@compiled("int64(int64[::1], float64[::1], float32[:,::1], float32[:,::1], float32[:,::1], float32[:,::1])")
def play(head, gains, heard, made, played, out):
    """Fill ``out`` ([frames, channels]) with what comes next, if it is there; the log's flags."""
    mask = heard.shape[1] - 1
    frames = out.shape[0]
    now = head[WRITTEN]
    turn, at, to = head[JUMP_TURN], head[JUMP_AT], head[JUMP_TO]
    fence()
    jumps = turn != head[SEEN] and turn % 2 == 0 and turn == head[JUMP_TURN]
    ready, end = head[DONE], head[END]
    fence()
    place, total, step = head[READ], head[JOIN], gains[BYPASS_STEP]
    flags = late = 0
    power: Any = 0.0
    for i in range(frames):
        begins = False
        if jumps and (at < 0 or place >= at):
            place = to if at < 0 else to + place - at
            head[SEEN] = turn
            jumps, begins = False, True
        gains[BYPASS] = _nearer(gains[BYPASS], gains[BYPASS_AIM], step)
        gains[LOUD] = _nearer(gains[LOUD], gains[LOUD_AIM], step)
        gains[PLAYING] = _nearer(gains[PLAYING], gains[PLAYING_AIM], step)
        gains[ACCOMPANIMENT] = _nearer(gains[ACCOMPANIMENT], gains[ACCOMPANIMENT_AIM], step)
        gains[VOCALS] = _nearer(gains[VOCALS], gains[VOCALS_AIM], step)
        stands = gains[PLAYING] == 0.0 and gains[PLAYING_AIM] == 0.0
        over = end > 0 and place >= end
        there = place < ready and not over
        if not stands:
            missing = 0 if there else 1
            begins = begins or missing != head[WAS_LATE]
            head[WAS_LATE] = missing
            if missing == 1 and not over:
                late = 1
        loud = gains[LOUD] * gains[PLAYING]
        share = gains[BYPASS]
        if share != 0.0 or loud != 1.0:
            flags |= FLAG_MIXED
        begins = begins and not stands
        if begins:
            head[JOIN_LEFT] = total
        left = head[JOIN_LEFT]
        for channel in range(2):
            value = np.float32(0.0)
            if there and not stands:
                accompaniment = np.float32(gains[ACCOMPANIMENT]) * made[channel, place & mask]
                value = accompaniment + np.float32(gains[VOCALS]) * heard[2 + channel, place & mask]
                if share != 0.0:
                    value = np.float32((1.0 - share) * value + share * heard[channel, place & mask])
                if loud != 1.0:
                    value = np.float32(value * loud)
            if begins:
                gains[REST + channel] = gains[LAST + channel] - value
            if left > 0:
                value = np.float32(value + gains[REST + channel] * (left / total))
            gains[LAST + channel] = value
            played[channel, now & mask] = value
            power += value * value
        if out.shape[1] == 1:
            out[i, 0] = np.float32(0.5) * (played[0, now & mask] + played[1, now & mask])
        else:
            for channel in range(out.shape[1]):
                out[i, channel] = played[channel, now & mask] if channel < 2 else np.float32(0.0)
        if there and not stands:
            place += 1
        if left > 0:
            flags |= FLAG_JOIN
            head[JOIN_LEFT] = left - 1
        if left > 0 or not (stands or over):  # a deck that stands still writes nothing down
            now += 1
    gains[PLAYED_POWER] += power / 2
    head[LATE] += late
    head[READ] = place
    fence()
    head[WRITTEN] = now
    return flags | (FLAG_LATE if late else 0)


def _callback(source, target, frames, times, status, user):
    """PaStreamCallback of an output; ``user`` is the shared block."""
    first = carray(user, (64,), np.int64)
    words = carray(user, (first[TOTAL],), np.int64)
    head = words[: first[GAINS_AT]]
    gains = words[head[GAINS_AT] : head[CALLS_AT]].view(np.float64)
    now = clock(head[SCRATCH : SCRATCH + 2], carray(times, (3,), np.float64))
    out = carray(target, (frames, head[OUT_CHANNELS]), np.float32)
    head[FRAMES] = frames
    if head[RUN] == 0:
        for i in range(out.shape[0]):
            for channel in range(out.shape[1]):
                out[i, channel] = 0.0
        head[CALLBACKS] += 1
        head[BEAT] = now
        return 0
    rows, length = head[ROWS], head[LENGTH]
    calls = words[head[CALLS_AT] : head[CALLS_AT] + rows * LOG].reshape((rows, LOG))
    floats = words[head[FLOATS_AT] :].view(np.float32)
    size = ROWS_OF_SOUND * length
    heard = floats[:size].reshape((ROWS_OF_SOUND, length))
    made = floats[size : 2 * size].reshape((ROWS_OF_SOUND, length))
    played = floats[2 * size : 3 * size].reshape((ROWS_OF_SOUND, length))
    flags = play(head, gains, heard, made, played, out)
    if status & _PROBLEMS:
        flags |= FLAG_XRUN
        head[XRUNS] += 1
    if frames != head[BLOCK]:
        head[MISFITS] += 1
    row = head[CALLBACKS] % rows
    calls[row, BEGAN] = now
    calls[row, ENDED] = clock(head[SCRATCH : SCRATCH + 2], carray(times, (3,), np.float64))
    calls[row, COUNT] = frames
    calls[row, FLAGS] = flags
    calls[row, AT] = head[WRITTEN]
    fence()
    head[CALLBACKS] += 1
    head[BEAT] = now
    return 0


def compile_callback(cache: bool = True) -> Any:
    """The C function; keep what this returns as long as PortAudio may call ``.address``."""
    return c_function(_callback, STREAM_CALLBACK, cache)
