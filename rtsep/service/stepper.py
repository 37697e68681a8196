"""Stepper: the thread that owns the Engine, and steps whatever has come in until then, of all connections together."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.engine_stream import TOGETHER
from rtsep.engine.many_streams import Engine
from rtsep.errors import RtsepError
from rtsep.model import Model
from rtsep.service.metrics import Metrics

Floats = NDArray[np.float32]


@dataclass(eq=False)
class _Work:
    """Hops of one connection: sound in, and what has been made of it; [places, hops, hop, channels]."""

    places: list[int]
    sound: Floats
    future: asyncio.Future[Floats]
    done: int = 0


class Stepper:
    """Steps the streams of an Engine on a thread of its own; its methods are for the thread of one event loop.

    No connection waits for another's sound: each round takes what is there, at most ``TOGETHER`` hops of a stream and
    one hop's worth of all streams, and who has more than that comes after the others.
    """

    def __init__(self, model: Model, streams: int, metrics: Metrics) -> None:
        """Raises InputError as Engine does. To be made within a running event loop."""
        self._engine = Engine(model, streams)
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[Callable[[], Any]] = deque()
        self._waiting: deque[_Work] = deque()
        self._wake, self._ends = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="stepper", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still steps."""
        return self._thread.is_alive()

    async def join(self, count: int) -> list[int]:
        """So many new places of the engine. Raises InputError when there are not enough; none is taken then."""
        future: asyncio.Future[list[int]] = self._loop.create_future()
        self._post(lambda: self._join(count, future))
        return await future

    def leave(self, places: list[int]) -> None:
        """Places are free again; what was still to be stepped there is forgotten."""
        self._post(lambda: self._leave(places))

    async def step(self, places: list[int], sound: Floats) -> Floats:
        """Hops of the streams at places, [places, hops, hop, channels] float32: what the engine makes of them."""
        work = _Work(places, sound, self._loop.create_future())
        self._post(lambda: self._waiting.append(work))
        return await work.future

    async def end(self) -> None:
        """Stop the thread; what waits is forgotten."""
        self._ends = True
        self._wake.set()
        await self._loop.run_in_executor(None, self._thread.join)

    def _post(self, command: Callable[[], Any]) -> None:
        self._inbox.append(command)
        self._wake.set()

    # On the thread.

    def _run(self) -> None:
        while not self._ends:
            self._wake.wait()
            self._wake.clear()
            while not self._ends and (self._inbox or self._waiting):
                while self._inbox:
                    self._inbox.popleft()()
                if self._waiting:
                    self._round()

    def _join(self, count: int, future: asyncio.Future[list[int]]) -> None:
        places: list[int] = []
        try:
            for _ in range(count):
                places.append(self._engine.join())
        except RtsepError as error:
            for place in places:
                self._engine.leave(place)
            self._tell([(future, error)])
        else:
            self._tell([(future, places)])

    def _leave(self, places: list[int]) -> None:
        self._waiting = deque(work for work in self._waiting if work.places != places)
        for place in places:
            self._metrics.faults += self._engine.faults(place)
            self._engine.leave(place)

    def _round(self) -> None:
        """One product: the next hops of those that wait."""
        left, chosen = max(self._engine.streams, TOGETHER), []
        for work in self._waiting:
            count = min(TOGETHER, work.sound.shape[1] - work.done, left // len(work.places))
            if count == 0:
                break
            chosen.append((work, count))
            left -= count * len(work.places)
        places = [place for work, count in chosen for place in work.places for _ in range(count)]
        parts = [work.sound[:, work.done : work.done + count] for work, count in chosen]
        rows = np.concatenate([part.reshape(-1, *part.shape[2:]) for part in parts])
        began = time.perf_counter()
        try:
            made = self._engine.step(places, rows)
        except Exception as error:  # no connection may take the others with it
            for work, _ in chosen:
                self._waiting.remove(work)
            self._tell([(work.future, error) for work, _ in chosen])
            return
        self._metrics.stepped(len(places), time.perf_counter() - began)
        finished, at = [], 0
        for (work, count), part in zip(chosen, parts, strict=True):
            size = count * len(work.places)
            part[:] = made[at : at + size].reshape(part.shape)  # in the place of what came in
            at += size
            work.done += count
            self._waiting.popleft()
            if work.done == work.sound.shape[1]:
                finished.append((work.future, work.sound))
            else:
                self._waiting.append(work)
        self._tell(finished)

    def _tell(self, results: list[tuple[asyncio.Future[Any], Any]]) -> None:
        if results:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(_deliver, results)


def _deliver(results: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in results:
        if future.done():  # whoever waited has gone
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
