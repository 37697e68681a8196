"""Keeps the native step that the callback calls: makes, warms and measures it, and brings it up to what is heard."""

from __future__ import annotations

import math
import time

import numpy as np

from rtsep.engine.compiled.functions import step_stream
from rtsep.engine.compiled.native import NativeStep
from rtsep.errors import RtsepError
from rtsep.live.backends.callbacks import settle_block, step_block
from rtsep.live.backends.shared_state import SharedBlock
from rtsep.model import Model

HISTORY_S = 1.0  # of what was heard that a step is brought up with, so that it knows what it is in
_MEASURED_HOPS = 300
_AT_ONCE = 64  # hops, between looks at whether it is still wanted


class StepKeeper:
    """Lives in the audio process, because the callback does.

    refusal: one sentence when the model is not compiled, and runs in a worker only, else None. step_ms: p99 of the time
    of a step, by the clock of the thread that measured: what other programs took meanwhile is no part of it.
    """

    def __init__(self, block: SharedBlock, model: Model | None) -> None:
        """model: None for measurements without one, where the callback copies."""
        for function in (settle_block, step_block):
            function.load()
        self._block, self._state = block, block.state
        self._state.step_running = self._state.step_busy = 0
        self.refusal: str | None = None
        self.step_ms = 0.0
        self._step: NativeStep | None = None
        self._unit = 1  # samples, so that hops are those of who stepped before, and their turns
        if model is None:
            return
        try:
            native = model.native_step(block.channels)
        except RtsepError as error:
            self.refusal = str(error)
            return
        state = self._state
        self._step = native
        self._scratch = np.zeros(3 * native.hop * native.channels, np.float32)
        state.step_address, state.step_context, state.step_hop = native.address, native.context, native.hop
        state.step_scratch = self._scratch.ctypes.data
        state.step_latency = model.spec.algorithmic_latency
        self._unit = native.hop * model.spec.slow_rate
        self.step_ms = _measured_ms(native)
        native.reset()

    def look(self) -> None:
        """Call this every now and then: begins and ends the callback's steps as the parent wants them."""
        state = self._state
        if self.refusal is not None:
            return
        if self._step is not None and state.inside:
            activity = self._step.activity
            state.activity = math.nan if activity is None else activity
        if state.step_wanted and not state.step_running:
            self._begin()
        elif state.step_running:
            lost = state.step_epoch != state.epoch or self._overrun()
            if lost or not state.step_wanted:
                state.step_running = 0

    def _begin(self) -> None:
        """From a new step to one that has heard the last second, then over to the callback."""
        block, state = self._block, self._state
        if state.step_busy:  # still in the last one, or never to come back from it
            return
        if self._step is not None:
            self._step.reset()
        epoch, grain = state.epoch, math.gcd(state.block, state.step_hop)
        state.stream_latency = 0 if state.without_model else state.step_latency - grain
        history = min(round(HISTORY_S * state.rate), block.length // 4)
        place = max(0, state.position - history) // self._unit * self._unit
        state.step_taken = place
        # What a new step puts out before its latency has passed is not sound.
        state.step_position = place if state.without_model else place + state.step_hop - grain
        state.step_valid_from = place + state.stream_latency if place else 0
        state.step_gain = 0.0
        settle_block(block.address)
        while state.position - state.step_taken >= max(1, state.step_hop):
            if state.stop or not state.step_wanted or state.epoch != epoch or self._overrun():
                return  # this machine does not catch up, or need not
            step_block(block.address, _AT_ONCE)
            if state.without_model:
                break
        state.step_epoch, state.step_running = epoch, 1

    def _overrun(self) -> bool:
        """See ``callback_steps.overrun``."""
        return self._state.position - self._state.step_taken > self._block.length // 2


def _measured_ms(native: NativeStep) -> float:
    """p99 of its time."""
    sound = (0.03 * np.random.default_rng(0).standard_normal(native.hop * native.channels)).astype(np.float32)
    out = np.empty_like(sound)
    source, target = sound.ctypes.data, out.ctypes.data
    times = []
    for _ in range(_MEASURED_HOPS):
        began = time.thread_time()
        step_stream(native.context, source, target)
        times.append(time.thread_time() - began)
    return 1000 * float(np.percentile(times, 99))
