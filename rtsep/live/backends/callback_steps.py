"""The network inside the callback (slack 0): hops that have come whole are stepped at once, by a native step
(``rtsep.engine.compiled.native``).

What a step makes goes into the ring ``stepped``, at the positions at which a worker's Stream would have put it: the
stream's latency later. Where the device's block is no whole number of hops, that latency holds the waiting for one.
"""

from __future__ import annotations

import math

import numpy as np
from numba import boolean, carray, float64, int64, void

from rtsep.engine.compiled.memory import call_step, pointer_to_floats
from rtsep.engine.framing import mix
from rtsep.engine.numba_cache import compiled
from rtsep.engine.ramp import RAMP_S
from rtsep.live.backends.denormals import flush, restore
from rtsep.live.backends.memory_fence import fence
from rtsep.live.backends.record_types import STATE_TYPE
from rtsep.live.backends.shared_state import STATE, STEP_GAIN_AT
from rtsep.live.backends.stream_callback import SOUND, rings


@compiled(void(STATE_TYPE, float64[::1]))
def _follow_strength(state, gain):
    """The gain of the dry signal on its way to another strength, as ``Stream.strength`` has it."""
    if state.step_strength_version == state.strength_version:
        return
    state.step_strength_version = state.strength_version
    aim = 0.0 if math.isnan(state.strength) else 10.0 ** (-state.strength / 20.0)
    length = max(1.0, np.rint(RAMP_S * state.rate))
    if aim != gain[1]:
        gain[1] = aim
        gain[2] = (aim - gain[0]) / length
        gain[3] = length


@compiled(void(STATE_TYPE, float64[::1]))
def settle_strength(state, gain):
    """No ramp: the strength is what is asked for."""
    _follow_strength(state, gain)
    gain[0] = gain[1]
    gain[2] = gain[3] = 0.0


@compiled(void(STATE_TYPE, SOUND, SOUND))
def _copy(state, heard, stepped):
    """For measurements without a model: what is heard is the result."""
    mask = heard.shape[1] - 1
    for at in range(state.step_taken, state.position):
        for channel in range(heard.shape[0]):
            stepped[channel, at & mask] = heard[channel, at & mask]
    state.step_taken = state.step_position = state.position


@compiled(boolean(STATE_TYPE, int64))
def overrun(state, length):
    """Whether so much waits to be stepped that a ring of ``length`` samples will not hold it until then."""
    return state.position - state.step_taken > length // 2


@compiled(void(STATE_TYPE, float64[::1], SOUND, SOUND, int64))
def run_steps(state, gain, heard, stepped, most):
    """Step the hops of ``heard`` that have come whole, ``most`` of them at most, into ``stepped``.

    gain: of the dry signal, as ``framing.mix`` has it: ``state.step_gain``. Nothing is done once the ring has gone
    round before it was stepped: what lies there is another sound, and ``StepKeeper`` begins anew.
    """
    if state.without_model == 1:
        _copy(state, heard, stepped)
        return
    hop, channels = state.step_hop, heard.shape[0]
    size = hop * channels
    mask = heard.shape[1] - 1
    block = carray(pointer_to_floats(state.step_scratch), (hop, channels))
    made = carray(pointer_to_floats(state.step_scratch + 4 * size), (hop, channels))
    wet = carray(pointer_to_floats(state.step_scratch + 8 * size), (channels, hop))
    _follow_strength(state, gain)
    for _ in range(most):
        taken = state.step_taken
        if taken + hop > state.position or overrun(state, heard.shape[1]):
            break
        for i in range(hop):
            for channel in range(channels):
                block[i, channel] = heard[channel, (taken + i) & mask]
        before = flush()
        code = call_step(state.step_address, state.step_context, block.ctypes.data, made.ctypes.data)
        restore(before)
        for i in range(hop):
            for channel in range(channels):
                wet[channel, i] = made[i, channel]
        first = taken + hop - state.step_latency  # the sample of the input that the first of the output belongs to
        at = first + state.stream_latency
        mix(wet, hop, heard, mask, first, gain, block)
        for i in range(hop):
            for channel in range(channels):
                stepped[channel, (at + i) & mask] = block[i, channel]
        fence()
        if code != 0:  # the dry signal plays instead of silence
            state.step_faults += 1
            state.step_valid_from = at + hop
        state.step_taken = taken + hop
        state.step_position = at + hop


def settle_block(user):
    """``settle_strength`` of a shared block."""
    state = carray(user, (1,), STATE)[0]
    words = carray(user, (state.total_words,), np.int64)
    settle_strength(state, words[STEP_GAIN_AT : STEP_GAIN_AT + 4].view(np.float64))


def step_block(user, most):
    """``run_steps`` of a shared block, before its callback does it."""
    state = carray(user, (1,), STATE)[0]
    words = carray(user, (state.total_words,), np.int64)
    heard, _, _, _, stepped = rings(state, words)
    run_steps(state, words[STEP_GAIN_AT : STEP_GAIN_AT + 4].view(np.float64), heard, stepped, most)
