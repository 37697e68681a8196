"""The bridge between two devices with clocks of their own: one callback catches, the other reads what it needs.

The input's callback appends what it hears to the ring ``caught`` and notes how much that was, and when. The output's
callback reads from there through ``drift``, as many samples as it is to play; from there on everything happens by the
output's clock. What is read stays TARGET samples behind the input's clock: a block of the input, because it may be
about to come; a block of the output, because it is read at once; the taps; and MARGIN for callbacks that are not
punctual. Ran out nevertheless, silence is read, MARGIN grows (at most to ``MOST_MARGIN_S``) and the place is found
anew: a slip, counted and joined without a step, so that the delay is always the one that is stated.
"""

from __future__ import annotations

import numpy as np

from rtsep.engine.framing import LIMIT
from rtsep.engine.numba_cache import compiled
from rtsep.live.backends.clock_drift import ERROR, HALF, NOMINAL, PLACE, RATIO, STARTED, STATE, SUM, read, steer
from rtsep.live.backends.memory_fence import fence
from rtsep.live.backends.shared_state import (
    ARRIVAL,
    ARRIVAL_ROWS,
    ARRIVALS,
    CAUGHT,
    FILL,
    IN_FRAMES,
    IN_RATE,
    JOIN,
    MARGIN,
    OUT_OF,
    RATE,
    READER,
    SEAM,
    SEAM_LAST,
    SEAM_REST,
    SLIPS,
    STARVED,
    TARGET,
)

LEAST_MARGIN_S = 0.002
MOST_MARGIN_S = 0.030
_LIMIT = np.float32(LIMIT)
_RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 176400, 192000)


def nominal_rate(rate: int) -> int:
    """The rate that a device means: one that is within 0.1 % of a usual one is that one, by a clock of its own."""
    return next((usual for usual in _RATES if abs(rate - usual) <= 0.001 * usual), rate)


@compiled("void(int64[::1], float32[:,::1], float32[:,::1], int64)")
def catch(head, caught, block, now):
    """Append ``block`` ([frames, channels]), which came at ``now`` (ns); faulty samples become harmless."""
    mask = caught.shape[1] - 1
    at = head[CAUGHT]
    for channel in range(caught.shape[0]):
        source = min(channel, block.shape[1] - 1)
        for i in range(block.shape[0]):
            value = block[i, source]
            if not np.isfinite(value):
                value = np.float32(0.0)
            caught[channel, (at + i) & mask] = min(_LIMIT, max(-_LIMIT, value))
    head[IN_FRAMES] = block.shape[0]
    head[CAUGHT] = at + block.shape[0]
    row = ARRIVAL + 2 * (head[ARRIVALS] % ARRIVAL_ROWS)
    head[row], head[row + 1] = head[CAUGHT], now
    fence()
    head[ARRIVALS] += 1


@compiled("void(int64[::1], float64[::1], float32[:,::1], boolean)")
def _join(head, gains, piece, breaks):
    """Take a step away as ``speak`` does: the difference is added and dies away within a join."""
    total = head[JOIN]
    if breaks:
        head[SEAM] = total
        for channel in range(piece.shape[1]):
            gains[SEAM_REST + channel] = gains[SEAM_LAST + channel] - piece[0, channel]
    for i in range(piece.shape[0]):
        left = head[SEAM]
        for channel in range(piece.shape[1]):
            if left > 0:
                piece[i, channel] += np.float32(gains[SEAM_REST + channel] * (left / total))
            gains[SEAM_LAST + channel] = piece[i, channel]
        head[SEAM] = max(0, left - 1)


@compiled("void(int64[::1], float64[::1], float32[:,::1], float32[:,::1], float32[:,::1], int64)")
def cross(head, gains, caught, taps, piece, now):
    """Fill ``piece`` ([frames, channels]) with what is due at ``now`` (ns) by the output's clock."""
    state = gains[READER : READER + STATE]
    frames = piece.shape[0]
    arrivals = head[ARRIVALS]
    fence()
    row = ARRIVAL + 2 * ((arrivals - 1) % ARRIVAL_ROWS)
    written, age = head[row], (now - head[row + 1]) * 1e-9 * head[IN_RATE]
    nominal = head[IN_RATE] / head[RATE]
    margin = head[MARGIN]
    span = head[IN_FRAMES] + frames * nominal
    target = span + HALF + margin
    silent = arrivals == 0 or age > 2 * head[IN_FRAMES] + margin
    reached = written + max(0.0, age)  # by the input's clock, between its blocks too
    started = state[STARTED] == 1.0
    if not started:
        state[NOMINAL] = state[RATIO] = nominal
        state[SUM] = 0.0
    far = abs(reached - state[PLACE] - target) > span / 2 + margin
    anew = not started or head[OUT_OF] == 1 or far
    if anew and not silent:
        state[PLACE], state[ERROR] = reached - target, 0.0
    needed = frames * state[RATIO] + HALF + 1
    lacking = silent or written - state[PLACE] < needed
    if started and lacking and head[OUT_OF] == 0:
        head[STARVED] += 1
        if not silent:
            more = np.int64(needed - (written - state[PLACE])) + head[IN_RATE] // 1000
            head[MARGIN] = max(margin, min(np.int64(MOST_MARGIN_S * head[IN_RATE]), margin + more))
    if started and anew and not lacking:
        head[SLIPS] += 1
    breaks = started and (anew or lacking) and not (lacking and head[OUT_OF] == 1)
    head[OUT_OF] = 1 if lacking and started else 0
    head[TARGET] = np.int64(target)
    if lacking:
        piece[:] = np.float32(0.0)
    else:
        state[STARTED] = 1.0
        steer(state, reached, target, float(head[IN_RATE]), frames / head[RATE])
        gains[FILL] = written - state[PLACE]
        read(state, taps, caught, 0, piece)
    _join(head, gains, piece, breaks)
