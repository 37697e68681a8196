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

from rtsep.engine.engine_stream import TOGETHER, EngineRounds, EngineStream, Message
from rtsep.engine.many_streams import Engine
from rtsep.errors import RtsepError
from rtsep.model import Model
from rtsep.service.metrics import Metrics

_GATHER_S = 0.001  # far below a hop


@dataclass(eq=False)
class _Work:
    """A message of one connection, and who waits for its answer."""

    message: Message
    future: asyncio.Future[Message]


class Stepper:
    """Steps the streams of an Engine on a thread of its own; its methods are for the thread of one event loop.

    No connection waits for another's sound: each round takes what is there, at most ``TOGETHER`` hops of a stream and
    as many in all as there may be streams, and who has more than that comes after the others. Rounds begin at least
    ``_GATHER_S`` apart: under load many messages come until then, and one round of many costs less than many rounds.
    """

    def __init__(self, model: Model, streams: int, metrics: Metrics) -> None:
        """Raises InputError as Engine does. To be made within a running event loop."""
        self._engine = Engine(model, streams)
        self._rounds = EngineRounds(self._engine)
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._inbox: deque[_Work | Callable[[], Any]] = deque()
        self._waiting: deque[_Work] = deque()
        self._wake, self._rests, self._ends = threading.Event(), True, False
        self._next = 0.0  # when the next round may begin
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

    def leave(self, stream: EngineStream, places: list[int]) -> None:
        """A stream's places are free again; what was still to be stepped there is forgotten."""
        self._post(lambda: self._leave(stream, places))

    async def step(self, message: Message) -> bytearray:
        """The answer to a message."""
        future: asyncio.Future[Message] = self._loop.create_future()
        self._post(_Work(message, future))
        return (await future).answer

    async def end(self) -> None:
        """Stop the thread; what waits is forgotten."""
        self._ends = True
        self._wake.set()
        await self._loop.run_in_executor(None, self._thread.join)

    def _post(self, what: _Work | Callable[[], Any]) -> None:
        self._inbox.append(what)
        if self._rests:
            self._wake.set()

    # On the thread.

    def _run(self) -> None:
        while not self._ends:
            self._rests = True
            if not self._inbox:  # what is posted from here on wakes
                self._wake.wait()
            self._rests = False
            self._wake.clear()
            while not self._ends and (self._inbox or self._waiting):
                if (early := self._next - time.perf_counter()) > 0:
                    time.sleep(early)
                while self._inbox:
                    what = self._inbox.popleft()
                    if isinstance(what, _Work):
                        self._waiting.append(what)
                    else:
                        what()
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

    def _leave(self, stream: EngineStream, places: list[int]) -> None:
        self._waiting = deque(work for work in self._waiting if work.message.stream is not stream)
        for place in places:
            self._metrics.faults += self._engine.faults(place)
            self._engine.leave(place)

    def _round(self) -> None:
        """One product: the next hops of those that wait."""
        left, chosen = max(self._engine.streams, TOGETHER), list[_Work]()
        for work in self._waiting:
            left -= work.message.stream.rows(work.message.left)
            if left < 0 and chosen:
                break
            chosen.append(work)
        for _ in chosen:
            self._waiting.popleft()
        began = time.perf_counter()
        self._next = began + _GATHER_S
        try:
            rows = self._rounds.step([work.message for work in chosen])
        except Exception as error:  # no connection may take the others with it
            self._tell([(work.future, error) for work in chosen])
            return
        self._metrics.stepped(rows, time.perf_counter() - began)
        finished: list[tuple[asyncio.Future[Any], Any]] = []
        for work in chosen:
            if work.message.left:
                self._waiting.append(work)
            else:
                finished.append((work.future, work.message))
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
