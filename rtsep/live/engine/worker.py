"""The worker: takes what was heard through the model's Stream and publishes the results, block after block.

It runs as a process of its own (see ``processes``), or, where there is no eventfd, as a thread.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time

import numpy as np
from numpy.typing import NDArray

from rtsep.engine import stream_words
from rtsep.engine.compiled import functions
from rtsep.engine.enhance import BACKEND
from rtsep.engine.gate import Gated
from rtsep.engine.gate_settings import GateSettings
from rtsep.engine.native_function import NativeFunction
from rtsep.engine.stream import Stream
from rtsep.live.backends import realtime
from rtsep.live.backends.shared_state import STATE, SharedBlock
from rtsep.live.backends.step_keeper import HISTORY_S
from rtsep.live.engine.processes import say_not_compiled
from rtsep.model import Model, load

_WARM_UP = 50  # blocks run before the first one counts: allocators, caches and clocks settle
_fetch = NativeFunction("rtsep.live.engine.worker_kernels", "fetch", f"void({', '.join(['int64'] * 6)})")
_store = NativeFunction("rtsep.live.engine.worker_kernels", "store", f"void({', '.join(['int64'] * 7)})")


class _Copy:
    """Stands in for a Stream when a measurement takes the model away: what went in comes out, at once."""

    latency = 0
    strength: float | None = None
    activity: float | None = None

    def process(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        out[:] = block

    def reset(self) -> None:
        pass


class Worker:
    """Results for one shared block. ``run`` returns when the parent says stop."""

    def __init__(self, block: SharedBlock, model: Model) -> None:
        for function in (_fetch, _store):
            function.load()
        self._block, self._state = block, block.state
        self._model = model
        self._epoch = self._strength_version = -1
        self._rests = False
        self._stream: Stream | Gated | _Copy
        self._grain = self._size = 1

    def run(self) -> None:
        """See the class."""
        state = self._state
        while not state.stop:
            if state.epoch != self._epoch:
                if state.block > 0:
                    self._prepare()
            elif state.worker_paused:
                self._rests = True
            else:
                if self._rests:
                    self._rests = False
                    self._rejoin(count=False, history_s=HISTORY_S if state.inside else 0.0)
                self._catch_up()
            self._wait()

    def _wait(self) -> None:
        """Sleep until the callback has something, at no cost with an eventfd, else by looking now and then."""
        state = self._state
        if state.wake_descriptor >= 0:
            os.eventfd_read(state.wake_descriptor)  # type: ignore[attr-defined,unused-ignore]
        else:
            time.sleep(max(0.0003, state.block / max(1, state.rate) / 8))

    def _prepare(self) -> None:
        """A stream for the device's rate and block, warmed up; positions go on from the newest sample."""
        block, state, spec = self._block, self._state, self._model.spec
        epoch, rate, size = state.epoch, state.rate, state.block
        # Whole grains only, as promised to the stream; the less a block shares with the hop, the more that costs.
        self._grain = math.gcd(size, spec.hop) if rate == spec.sample_rate else 1
        self._size = max(self._grain, size // self._grain * self._grain)
        if state.without_model:
            self._stream = _Copy()
        else:
            self._stream = stream = self._model.stream(rate, block.channels, self._strength(), self._grain)
            if not math.isnan(state.gate[0]):
                self._stream = Gated(stream, GateSettings(*map(float, state.gate)))
        self._strength_version = state.strength_version
        self._chunk = np.zeros((self._size, block.channels), np.float32)
        self._out = np.zeros_like(self._chunk)
        for _ in range(_WARM_UP):
            self._stream.process(self._chunk, self._out)
        self._stream.reset()
        state.stream_latency = self._stream.latency
        self._rejoin(count=state.position > 0)
        self._epoch = epoch
        state.ready_epoch = epoch

    def _strength(self) -> float | None:
        value = self._state.strength
        return None if math.isnan(value) else value

    def _rejoin(self, count: bool = True, history_s: float = 0.0) -> None:
        """Start anew at the newest sample, or at one that was heard ``history_s`` ago, to know what the sound is in.

        What the stream puts out before its latency has passed is not sound.
        """
        state, spec = self._state, self._model.spec
        unit = self._grain
        if history_s and state.rate == spec.sample_rate:  # the hops of who stepped before, and their turns
            unit = spec.hop * spec.slow_rate
        history = min(round(history_s * state.rate), self._block.length // 4)
        place = max(0, state.position - history) // unit * unit
        if place != state.processed or count:
            self._stream.reset()
        state.valid_from = place + (self._stream.latency if place else 0)
        state.resets += int(count)
        state.processed = place

    def _catch_up(self) -> None:
        block, state = self._block, self._state
        if state.strength_version != self._strength_version:
            self._strength_version = state.strength_version
            self._stream.strength = self._strength()
        shape, processed = block.heard.shape, block.address + STATE.fields["processed"][1]  # type: ignore[index]
        while True:
            done = state.processed
            waiting = (state.position - done) // self._grain * self._grain
            if waiting <= 0:
                return
            if waiting > block.length - 4 * self._size:  # the callback is about to overwrite what was not yet read
                self._rejoin()
                return
            began = time.monotonic_ns()
            count = min(waiting, self._size)
            chunk, out = self._chunk[:count], self._out[:count]
            _fetch(block.heard.ctypes.data, *shape, done, chunk.ctypes.data, count)
            self._stream.process(chunk, out)
            # Time goes down first: who sees the result may look at how long it took.
            block.log_run(began, count, done + count)
            _store(block.results.ctypes.data, *shape, done, out.ctypes.data, count, processed)
            activity = self._stream.activity
            state.activity = math.nan if activity is None else activity
            if isinstance(self._stream, Gated):
                state.gate_gain = self._stream.gain


def load_code(model: Model) -> None:
    """Link, or compile, all that a stream calls: before anything has a priority, and while the compiler is there."""
    for function in (_fetch, _store):
        function.load()
    stream_words.load()
    stream_words.load_more()
    if model.backend == "compiled":
        functions.run.load()


def serve(handle: str, model_name: str) -> None:
    """The worker process: real-time where allowed, nothing collected, gone with its parent."""
    block = SharedBlock.attach(handle)
    model = load(model_name, BACKEND)
    say_not_compiled(model)
    worker = Worker(block, model)
    realtime.end_with_parent(sys.stdin.buffer)
    load_code(model)
    realtime.release_compiler()
    locked = realtime.lock_memory()
    fifo = realtime.raise_priority()
    block.state.worker_realtime = int(fifo) + int(fifo and locked)
    realtime.stop_garbage_collection()
    worker.run()


def _main(arguments: list[str]) -> None:
    serve(*arguments)
    os._exit(0)  # nothing to tidy


def thread(block: SharedBlock, model: Model) -> threading.Thread:
    """The same as an ordinary daemon thread of this process: no priority, no eventfd; started."""
    worker = Worker(block, model)
    running = threading.Thread(target=worker.run, daemon=True, name="worker")
    running.start()
    return running


if __name__ == "__main__":
    _main(sys.argv[1:])
