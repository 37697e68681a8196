"""Stepper: owns the Engine, and steps whatever has come in until then, of all connections together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from rtsep.engine.engine_stream import EngineRounds, Message
from rtsep.engine.many_streams import Engine
from rtsep.errors import RtsepError
from rtsep.model import Model
from rtsep.service.metrics import Metrics

_ROWS = 32  # hops of a round: who is first waits for all of them

_LOGGER = logging.getLogger(__name__)


class Work(Protocol):
    """Whoever has something to step."""

    message: Message

    def answered(self) -> None:
        """The answer to the message is whole."""

    def failed(self) -> None:
        """There will be none."""


class Stepper:
    """Steps the streams of an Engine, between what else one event loop does.

    The loop reads from all sockets, then makes a round, then reads again: under load more has come by then, and rounds
    become larger by themselves. There is no thread to hand messages over to, for that costs more than it brings: a
    round is one call of compiled code, and much shorter than what a client can notice.

    No connection waits for another's sound: each round takes what is there, first come, first served, at most
    ``TOGETHER`` hops of a stream and ``_ROWS`` in all, and who has more than that comes after the others.
    """

    def __init__(self, model: Model, streams: int, metrics: Metrics) -> None:
        """Raises InputError as Engine does. To be made within a running event loop."""
        self._engine = Engine(model, streams)
        self._rounds = EngineRounds(self._engine)
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Work] = deque()
        self._is_called = False

    def join(self, count: int) -> list[int]:
        """So many new places of the engine. Raises InputError when there are not enough; none is taken then."""
        places: list[int] = []
        try:
            for _ in range(count):
                places.append(self._engine.join())
        except RtsepError:
            for place in places:
                self._engine.leave(place)
            raise
        return places

    def leave(self, work: Work, places: Sequence[int]) -> None:
        """A stream's places are free again; what was still to be stepped there is forgotten."""
        if work in self._waiting:
            self._waiting.remove(work)
        for place in places:
            self._metrics.faults += self._engine.faults(place)
            self._engine.leave(place)

    def step(self, work: Work) -> None:
        """Step its message, of which there may be one at a time; it hears of the end."""
        self._waiting.append(work)
        self._call()

    def _call(self) -> None:
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon(self._round)

    def _chosen(self) -> list[Work]:
        """The next round: those that have waited longest."""
        left, chosen = _ROWS, list[Work]()
        while self._waiting:
            message = self._waiting[0].message
            left -= message.stream.rows(message.left)
            if left < 0 and chosen:
                break
            chosen.append(self._waiting.popleft())
        return chosen

    def _round(self) -> None:
        self._is_called = False
        chosen = self._chosen()
        began = time.perf_counter()
        try:
            rows = self._rounds.step([work.message for work in chosen]) if chosen else 0
        except Exception:  # no connection may take the others with it
            _LOGGER.exception("A round failed.")
            for work in chosen:
                work.failed()
        else:
            self._metrics.stepped(rows, time.perf_counter() - began)
            for work in chosen:
                if work.message.left:
                    self._waiting.append(work)
                else:
                    work.answered()
        if self._waiting:
            self._call()
