"""The bridge between two devices with clocks of their own: one callback captures, the other reads what it needs.

The input's callback appends what it gets to the ring ``captured`` and notes how much that was, and when. The output's
callback reads from there through ``adaptive_resampler``, as many samples as it is to play; from there on everything
happens by the output's clock. What is read stays ``clocks.target`` samples behind the input's clock: a block of the
input, because it may be about to come; a block of the output, because it is read at once; the taps; and
``clocks.margin`` for callbacks that are not punctual. When the samples run out nevertheless, silence is read, the
margin grows (at most to ``MAX_MARGIN_S``) and the place is found anew: a slip, counted and joined without a step, so
that the delay is always the one that is stated.
"""

from __future__ import annotations

import numpy as np
from numba import boolean, float32, int64, void

from rtsep.engine.numba_cache import compiled
from rtsep.live.backends.adaptive_resampler import read, steer
from rtsep.live.backends.clock_rates import MAX_MARGIN_S
from rtsep.live.backends.memory_fence import fence
from rtsep.live.backends.record_types import CLOCKS_TYPE, RESAMPLER_TYPE, STATE_TYPE
from rtsep.live.backends.shared_state import ARRIVALS, HALF
from rtsep.live.backends.stream_callback import input_sample

_SOUND = float32[:, ::1]


@compiled(void(CLOCKS_TYPE, _SOUND, _SOUND, int64, int64))
def capture(clocks, captured, block, mix, now):
    """Append ``block`` ([frames, channels]), which came at ``now`` (ns); mix: ``state.input_mix``."""
    mask = captured.shape[1] - 1
    at = clocks.captured
    for channel in range(captured.shape[0]):
        for i in range(block.shape[0]):
            captured[channel, (at + i) & mask] = input_sample(block, i, channel, mix)
    clocks.frames = block.shape[0]
    clocks.captured = at + block.shape[0]
    row = clocks.callbacks % ARRIVALS
    clocks.arrival_position[row] = clocks.captured
    clocks.arrival_ns[row] = now
    fence()
    clocks.callbacks += 1


@compiled(void(STATE_TYPE, CLOCKS_TYPE, _SOUND, boolean))
def _join(state, clocks, piece, breaks):
    """Take a step away as the live callback does: the difference is added and dies away within a join."""
    total = state.join_samples
    if breaks:
        clocks.join_left = total
        for channel in range(piece.shape[1]):
            clocks.join_offset[channel] = clocks.last_sample[channel] - piece[0, channel]
    for i in range(piece.shape[0]):
        left = clocks.join_left
        for channel in range(piece.shape[1]):
            if left > 0:
                piece[i, channel] += np.float32(clocks.join_offset[channel] * (left / total))
            clocks.last_sample[channel] = piece[i, channel]
        clocks.join_left = max(0, left - 1)


@compiled(void(STATE_TYPE, CLOCKS_TYPE, RESAMPLER_TYPE, _SOUND, _SOUND, _SOUND, int64))
def cross(state, clocks, resampler, captured, taps, piece, now):
    """Fill ``piece`` ([frames, channels]) with what is due at ``now`` (ns) by the output's clock."""
    frames = piece.shape[0]
    callbacks = clocks.callbacks
    fence()
    row = (callbacks - 1) % ARRIVALS
    written, age = clocks.arrival_position[row], (now - clocks.arrival_ns[row]) * 1e-9 * clocks.rate
    nominal = clocks.rate / state.rate
    margin = clocks.margin
    span = clocks.frames + frames * nominal
    target = span + HALF + margin
    silent = callbacks == 0 or age > 2 * clocks.frames + margin
    reached = written + max(0.0, age)  # by the input's clock, between its blocks too
    started = resampler.started == 1
    if not started:
        resampler.nominal = resampler.ratio = nominal
        resampler.integral = 0.0
    far = abs(reached - resampler.place - target) > span / 2 + margin
    anew = not started or clocks.empty == 1 or far
    if anew and not silent:
        resampler.place, resampler.error = reached - target, 0.0
    needed = frames * resampler.ratio + HALF + 1
    lacking = silent or written - resampler.place < needed
    if started and lacking and clocks.empty == 0:
        clocks.underruns += 1
        if not silent:
            more = np.int64(needed - (written - resampler.place)) + clocks.rate // 1000
            clocks.margin = max(margin, min(np.int64(MAX_MARGIN_S * clocks.rate), margin + more))
    if started and anew and not lacking:
        clocks.slips += 1
    breaks = started and (anew or lacking) and not (lacking and clocks.empty == 1)
    clocks.empty = 1 if lacking and started else 0
    clocks.target = np.int64(target)
    if lacking:
        piece[:] = np.float32(0.0)
    else:
        resampler.started = 1
        steer(resampler, reached, target, float(clocks.rate), frames / state.rate)
        clocks.fill = written - resampler.place
        read(resampler, taps, captured, 0, piece)
    _join(state, clocks, piece, breaks)
