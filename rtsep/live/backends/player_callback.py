"""What a player's callback plays out of the shared block, compiled like the live callback.

The rings hold the song three times over, at positions that only grow: ``heard`` rows 0 and 1 are the original, rows 2
and 3 the vocals, ``results`` rows 0 and 1 the accompaniment. They are filled ahead of time, and mixed here and now: so
a slider is heard at once, and the original can be held against the rest without any jump in time. After a seek the
worker writes the new place behind the old one and then asks for a jump, which the callback makes between two samples,
joined as late blocks are (see ``live_callback``). When nothing is there to be played the player stands still: it never
skips.
"""

from __future__ import annotations

import numpy as np
from numba import carray, int64

from rtsep.engine.numba_cache import compiled
from rtsep.live.backends.memory_fence import fence
from rtsep.live.backends.record_types import PLAYER_TYPE, STATE_TYPE
from rtsep.live.backends.shared_state import (
    FLAG_JOIN,
    FLAG_LATE,
    FLAG_MIXED,
    PLAYER,
    PLAYER_AT,
    SCRATCH_AT,
    STATE,
)
from rtsep.live.backends.stream_callback import (
    SOUND,
    clock,
    count_xrun,
    finish,
    log_callback,
    ramp,
    rings,
    silence,
)

_PLAYER_END = PLAYER_AT + PLAYER.itemsize // 8


@compiled(int64(STATE_TYPE, PLAYER_TYPE, SOUND, SOUND, SOUND, SOUND))
def play(state, player, heard, results, played, out):
    """Fill ``out`` ([frames, channels]) with what comes next, if it is there; the log's flags."""
    mask = heard.shape[1] - 1
    frames = out.shape[0]
    now = state.position
    version, at, to = player.jump_version, player.jump_at, player.jump_to
    fence()
    jumps = version != player.jumps_made and version % 2 == 0 and version == player.jump_version
    ready, end = state.processed, player.end
    fence()
    place, total, step = player.position, state.join_samples, state.bypass_step
    flags = late = 0
    for i in range(frames):
        begins = False
        if jumps and (at < 0 or place >= at):
            place = to if at < 0 else to + place - at
            player.jumps_made = version
            jumps, begins = False, True
        state.bypass = ramp(state.bypass, state.bypass_target, step)
        state.volume = ramp(state.volume, state.volume_target, step)
        player.playing = ramp(player.playing, player.playing_target, step)
        player.accompaniment = ramp(player.accompaniment, player.accompaniment_target, step)
        player.vocals = ramp(player.vocals, player.vocals_target, step)
        stands = player.playing == 0.0 and player.playing_target == 0.0
        over = end > 0 and place >= end
        there = place < ready and not over
        if not stands:
            missing = 0 if there else 1
            begins = begins or missing != state.was_late
            state.was_late = missing
            if missing == 1 and not over:
                late = 1
        volume = state.volume * player.playing
        share = state.bypass
        if share != 0.0 or volume != 1.0:
            flags |= FLAG_MIXED
        begins = begins and not stands
        if begins:
            state.join_left = total
        left = state.join_left
        for channel in range(2):
            value = np.float32(0.0)
            if there and not stands:
                accompaniment = np.float32(player.accompaniment) * results[channel, place & mask]
                value = accompaniment + np.float32(player.vocals) * heard[2 + channel, place & mask]
                if share != 0.0:
                    value = np.float32((1.0 - share) * value + share * heard[channel, place & mask])
                if volume != 1.0:
                    value = np.float32(value * volume)
            if begins:
                state.join_offset[channel] = state.last_sample[channel] - value
            if left > 0:
                value = np.float32(value + state.join_offset[channel] * (left / total))
            state.last_sample[channel] = value
            played[channel, now & mask] = value
        if out.shape[1] == 1:
            out[i, 0] = np.float32(0.5) * (played[0, now & mask] + played[1, now & mask])
        else:
            for channel in range(out.shape[1]):
                out[i, channel] = played[channel, now & mask] if channel < 2 else np.float32(0.0)
        if there and not stands:
            place += 1
        if left > 0:
            flags |= FLAG_JOIN
            state.join_left = left - 1
        if left > 0 or not (stands or over):  # a player that stands still writes nothing down
            now += 1
    state.late_blocks += late
    player.position = place
    fence()
    state.position = now
    return flags | (FLAG_LATE if late else 0)


def playing(source, target, frames, times, status, user):
    """PaStreamCallback of an output; ``user`` is the shared block."""
    state = carray(user, (1,), STATE)[0]
    words = carray(user, (state.total_words,), np.int64)
    now = clock(words[SCRATCH_AT : SCRATCH_AT + 2], carray(times, (3,), np.float64))
    out = carray(target, (frames, state.output_channels), np.float32)
    state.frames = frames
    if state.running == 0:
        silence(out)
        finish(state, now)
        return 0
    player = words[PLAYER_AT:_PLAYER_END].view(PLAYER)[0]
    heard, results, played, _, _ = rings(state, words)
    flags = play(state, player, heard, results, played, out) | count_xrun(state, status)
    ended = clock(words[SCRATCH_AT : SCRATCH_AT + 2], carray(times, (3,), np.float64))
    log_callback(state, words, now, ended, np.int64(frames), flags)
    return 0
