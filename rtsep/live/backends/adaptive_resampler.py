"""Two devices, two clocks: an asynchronous resampler whose ratio follows the fill of the ring between them.

Reading is a windowed sinc at a place that moves on by ``ratio`` samples of the ring for each sample put out; the ratio
comes from a critically damped loop on the fill (a second-order delay-locked loop, Adriaensen 2005, "Using a DLL to
filter time"). The fill is taken with the clock, not with the block that happened to arrive last: counted in whole
blocks it would jump by a block whenever the two devices' blocks pass each other.
"""

from __future__ import annotations

import numpy as np
from numba import float32, float64, int64, void

from rtsep.engine.numba_cache import compiled
from rtsep.live.backends.record_types import RESAMPLER_TYPE

LIMIT_PPM = 1000.0  # no two sound cards are further apart
_DAMPING = 0.25  # rad/s: settles within half a minute, far below anything that could be heard as vibrato
_SMOOTH_S = 0.25  # callbacks do not come to the sample

_SOUND = float32[:, ::1]


@compiled(void(RESAMPLER_TYPE, float64, float64, float64, float64))
def steer(state, written, target, rate, seconds):
    """Set the ratio for the next ``seconds`` of output, near ``state.nominal``.

    written: position that the other clock's device has reached by now, samples, between blocks too. target: samples
    that ``place`` is to stay behind it. rate: Hz of the ring.
    """
    if state.started == 0:
        state.started = 1
        state.place = written - target
        state.ratio = state.nominal
        state.integral = state.error = 0.0
    fault = written - state.place - target
    state.error += (fault - state.error) * min(1.0, seconds / _SMOOTH_S)
    limit = LIMIT_PPM * 1e-6
    state.integral += _DAMPING * _DAMPING * state.error / rate * seconds
    state.integral = min(limit, max(-limit, state.integral))
    change = 2.0 * _DAMPING * state.error / rate + state.integral
    state.ratio = state.nominal * (1.0 + min(limit, max(-limit, change)))


@compiled(void(RESAMPLER_TYPE, _SOUND, _SOUND, int64, _SOUND))
def read(state, taps, ring, behind, out):
    """Fill ``out`` [samples, channels] from ``ring`` [channels, length], ``behind`` samples before the place; move on.

    The place itself must be HALF samples behind what is written.
    """
    mask = ring.shape[1] - 1
    phases = taps.shape[0] - 1
    begin, ratio = state.place, state.ratio
    for i in range(out.shape[0]):
        place = begin + i * ratio
        base = int(np.floor(place))
        fine = (place - base) * phases
        phase = min(int(fine), phases - 1)
        share = np.float32(fine - phase)
        for channel in range(out.shape[1]):
            total = np.float32(0.0)
            for t in range(taps.shape[1]):
                weight = taps[phase, t] + share * (taps[phase + 1, t] - taps[phase, t])
                total += weight * ring[channel, (base - behind - taps.shape[1] // 2 + 1 + t) & mask]
            out[i, channel] = total
    state.place = begin + out.shape[0] * ratio
