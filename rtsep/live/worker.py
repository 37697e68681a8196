"""The worker: takes what was heard through the model's Stream and publishes the results, block after block.

It runs as a process of its own (``python -m rtsep.live.worker``), or, where there is no eventfd, as a thread.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.gate import Gated, GateSettings
from rtsep.engine.numba_cache import compiled
from rtsep.engine.stream import Stream
from rtsep.live.backends import realtime
from rtsep.live.backends.memory_fence import fence
from rtsep.live.backends.shared_state import (
    ACTIVITY,
    AT,
    BEGAN,
    BLOCK,
    COPY,
    COUNT,
    DONE,
    ENDED,
    EPOCH,
    EPOCH_READY,
    EVENT,
    GATE_BACK,
    GATE_FLOOR,
    GATE_GAIN,
    LATENCY,
    PAUSE,
    RATE,
    RESETS,
    RUNS,
    STOP,
    STRENGTH,
    TURN,
    VALID,
    WORKER_REALTIME,
    WRITTEN,
    Block,
)
from rtsep.model import Model, load

_WARM_UP = 50  # blocks run before the first one counts: allocators, caches and clocks settle


@compiled("void(float32[:,::1], int64, float32[:,::1])")
def _fetch(ring, at, chunk):
    fence()
    mask = ring.shape[1] - 1
    for i in range(chunk.shape[0]):
        for channel in range(chunk.shape[1]):
            chunk[i, channel] = ring[channel, (at + i) & mask]


@compiled("void(float32[:,::1], int64, float32[:,::1], int64[::1], int64)")
def _store(ring, at, chunk, head, end):
    mask = ring.shape[1] - 1
    for i in range(chunk.shape[0]):
        for channel in range(chunk.shape[1]):
            ring[channel, (at + i) & mask] = chunk[i, channel]
    fence()
    head[DONE] = end


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

    def __init__(self, block: Block, model: Model) -> None:
        self._block = block
        self._model = model
        self._epoch = -1
        self._turn = -1
        self._stream: Stream | Gated | _Copy
        self._grain = self._size = 1
        self._rows = len(block.works)

    def run(self) -> None:
        head = self._block.head
        while not head[STOP]:
            if head[EPOCH] != self._epoch:
                if head[BLOCK] > 0:
                    self._prepare()
            elif head[PAUSE]:
                self._rejoin(count=False)
            else:
                self._catch_up()
            self._wait()

    def _wait(self) -> None:
        """Sleep until the callback has something, at no cost with an eventfd, else by looking now and then."""
        head = self._block.head
        event = int(head[EVENT])
        if event >= 0:
            os.eventfd_read(event)  # type: ignore[attr-defined,unused-ignore]
        else:
            time.sleep(max(0.0003, head[BLOCK] / max(1, head[RATE]) / 8))

    def _prepare(self) -> None:
        """A stream for the device's rate and block, warmed up; positions go on from the newest sample."""
        block, head, spec = self._block, self._block.head, self._model.spec
        epoch, rate, size = int(head[EPOCH]), int(head[RATE]), int(head[BLOCK])
        # Whole grains only, as promised to the stream; the less a block shares with the hop, the more that costs.
        self._grain = math.gcd(size, spec.hop) if rate == spec.sample_rate else 1
        self._size = max(self._grain, size // self._grain * self._grain)
        if head[COPY]:
            self._stream = _Copy()
        else:
            self._stream = stream = self._model.stream(rate, block.channels, self._strength(), self._grain)
            if not math.isnan(block.gains[GATE_FLOOR]):
                self._stream = Gated(stream, GateSettings(*map(float, block.gains[GATE_FLOOR : GATE_BACK + 1])))
        self._turn = int(head[TURN])
        self._chunk = np.zeros((self._size, block.channels), np.float32)
        self._out = np.zeros_like(self._chunk)
        for _ in range(_WARM_UP):
            self._stream.process(self._chunk, self._out)
        self._stream.reset()
        head[LATENCY] = self._stream.latency
        self._rejoin(count=head[WRITTEN] > 0)
        self._epoch = epoch
        head[EPOCH_READY] = epoch

    def _strength(self) -> float | None:
        value = float(self._block.gains[STRENGTH])
        return None if math.isnan(value) else value

    def _rejoin(self, count: bool = True) -> None:
        """Start anew at the newest sample; what the stream puts out before its latency has passed is not sound."""
        head = self._block.head
        place = int(head[WRITTEN]) // self._grain * self._grain
        if place != head[DONE] or count:
            self._stream.reset()
        head[VALID] = place + (self._stream.latency if place else 0)
        head[RESETS] += int(count)
        head[DONE] = place

    def _catch_up(self) -> None:
        block, head = self._block, self._block.head
        if head[TURN] != self._turn:
            self._turn = int(head[TURN])
            self._stream.strength = self._strength()
        while True:
            done = int(head[DONE])
            waiting = (int(head[WRITTEN]) - done) // self._grain * self._grain
            if waiting <= 0:
                return
            if waiting > block.length - 4 * self._size:  # the callback is about to overwrite what was not yet read
                self._rejoin()
                return
            began = time.monotonic_ns()
            count = min(waiting, self._size)
            chunk, out = self._chunk[:count], self._out[:count]
            _fetch(block.heard, done, chunk)
            self._stream.process(chunk, out)
            # Time goes down first: who sees the result may look at how long it took.
            row = block.works[int(head[RUNS]) % self._rows]
            row[BEGAN], row[ENDED], row[COUNT], row[AT] = began, time.monotonic_ns(), count, done + count
            head[RUNS] += 1
            _store(block.made, done, out, head, done + count)
            activity = self._stream.activity
            block.gains[ACTIVITY] = math.nan if activity is None else activity
            if isinstance(self._stream, Gated):
                block.gains[GATE_GAIN] = self._stream.gain


def serve(handle: str, model_name: str) -> None:
    """The worker process: real-time where allowed, nothing collected, gone with its parent."""
    block = Block.attach(handle)
    worker = Worker(block, load(model_name))
    realtime.die_with_parent(sys.stdin.buffer)
    locked = realtime.lock_memory()
    fifo = realtime.raise_priority()
    block.head[WORKER_REALTIME] = int(fifo) + int(fifo and locked)
    realtime.still_garbage()
    print(json.dumps({"event": "ready"}), flush=True)
    worker.run()


def _main(arguments: list[str]) -> None:
    serve(*arguments)
    os._exit(0)  # nothing to tidy, and onnxruntime's own tidying takes its time


def thread(block: Block, model_name: str) -> threading.Thread:
    """The same as an ordinary daemon thread of this process: no priority, no eventfd; started."""
    worker = Worker(block, load(model_name))
    running = threading.Thread(target=worker.run, daemon=True, name="worker")
    running.start()
    return running


if __name__ == "__main__":
    _main(sys.argv[1:])
