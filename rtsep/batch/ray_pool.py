"""RayPool: workers on a Ray cluster, one file each at a time; a worker that is killed loses nothing.

Why not Ray Data: it hands out blocks of rows, tells of them when a block is done, and after a lost worker does a whole
block again; the files that were done in it would be done twice, and the manifest would lag behind. Here every file is a
call of its own, and only what a dead worker was at is given to another.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from rtsep.batch.cleaner import Cleaner
from rtsep.batch.locations import Item
from rtsep.batch.manifest import FAILED, Result
from rtsep.errors import RtsepError

MOST_ATTEMPTS = 3  # a file that ends its worker so often is at fault itself
_FAILED_STARTS = 5  # in a row
_ANSWERS_S = 10.0


class _Worker:
    """The actor: a cleaner in a process of its own."""

    def __init__(self, *settings: Any) -> None:
        self._settings = settings

    def ready(self) -> str | None:
        """Load the model; None, or the sentence why that cannot be on this machine."""
        try:
            self._cleaner = Cleaner(*self._settings)
        except RtsepError as error:
            return str(error)
        return None

    def clean(self, item: Item) -> Result:
        return self._cleaner.clean(item)


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Any]:
    """The module ray, connected to a cluster; "local" starts one on this machine.

    Raises RtsepError when ray is not installed or the cluster does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        import ray
    except ImportError:
        raise RtsepError("--ray needs Ray; install it with: pip install ray fsspec.") from None
    _check_reachable(address)
    more: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **more)
    except Exception as error:  # ConnectionError, ValueError, RuntimeError, and errors of its own
        why = " ".join(str(error).split()).split(". ")[0].rstrip(".:")
        raise RtsepError(f"The Ray cluster at {address} cannot be used: {why}.") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises RtsepError when nobody listens at HOST:PORT; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWERS_S).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise RtsepError(f"The Ray cluster at {address} cannot be used: {why}.") from None


class RayPool:
    """So many workers, each with one core of the cluster. settings: what a Cleaner is made with."""

    def __init__(self, ray: Any, workers: int, settings: Sequence[Any]) -> None:
        self._ray, self._workers = ray, workers
        actor = ray.remote(_Worker).options(num_cpus=1, max_restarts=0, max_task_retries=0)
        self._new: Callable[[], Any] = lambda: actor.remote(*settings)
        self._starting: dict[Any, Any] = {}  # call of `ready` to worker
        self._busy: dict[Any, tuple[Any, Item, int]] = {}  # call of `clean` to worker, item and attempts
        self._failed_starts = 0

    def run(self, items: Sequence[Item]) -> Iterator[Result]:
        """The results, each as soon as it is there. Raises RtsepError when no worker can be started."""
        waiting = deque((item, 1) for item in items)
        while waiting or self._busy:
            while len(self._starting) + len(self._busy) < min(self._workers, len(waiting) + len(self._busy)):
                self._start()
            done, _ = self._ray.wait([*self._busy, *self._starting], num_returns=1)
            for call in done:
                if call in self._starting:
                    self._started(call, waiting)
                    continue
                worker, item, attempts = self._busy.pop(call)
                try:
                    result = self._ray.get(call)
                except self._ray.exceptions.RayError as error:  # the worker, or its machine, is gone
                    if attempts < MOST_ATTEMPTS:
                        waiting.appendleft((item, attempts + 1))
                    else:
                        yield self._given_up(item, attempts, error)
                    continue
                yield replace(result, attempts=attempts)
                self._give(worker, waiting)
        for worker in self._starting.values():
            self._ray.kill(worker)
        self._starting.clear()

    def _start(self) -> None:
        worker = self._new()
        self._starting[worker.ready.remote()] = worker

    def _started(self, call: Any, waiting: deque[tuple[Item, int]]) -> None:
        worker = self._starting.pop(call)
        try:
            why = self._ray.get(call)
        except self._ray.exceptions.RayError as error:  # it was killed, or its machine is gone
            self._failed_starts += 1
            if self._failed_starts < _FAILED_STARTS:
                return
            why = f"the last of {_FAILED_STARTS} ended with {type(error).__name__}"
        if why is not None:
            raise RtsepError(f"No worker can be started on the cluster: {why.rstrip('.')}.")
        self._failed_starts = 0
        self._give(worker, waiting)

    def _give(self, worker: Any, waiting: deque[tuple[Item, int]]) -> None:
        """The next item to a worker that is free; it goes when there is none."""
        if not waiting:
            self._ray.kill(worker)
            return
        item, attempts = waiting.popleft()
        self._busy[worker.clean.remote(item)] = worker, item, attempts

    def _given_up(self, item: Item, attempts: int, error: Exception) -> Result:
        what = f"{item.source}: its worker process ended early, {attempts} times ({type(error).__name__})."
        return Result(item.source, item.target, FAILED, what, RtsepError.exit_code, attempts=attempts)
