"""The supervisor: one thread that keeps a session running whatever dies.

It is the only one that starts and ends processes.

A lost device is opened again by its name as soon as it is back; a lost worker is started anew; a worker that does not
live is started ever more seldom and, in the end, not any more. What is special about a microphone's session, or a
player's, is in the subclasses.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from rtsep.engine import compile_notice
from rtsep.errors import InputError, RtsepError
from rtsep.live.backends.shared_state import SharedBlock
from rtsep.live.engine.processes import AUDIO, COMPILING, NOT_COMPILED, Children, how_ended
from rtsep.live.routing.devices import silent_s

TICK_S = 0.05
_AGAIN_S = 0.5  # between attempts to open a lost device
SETTLE_S = 5.0  # that a worker must live to count as one that lives
_OPENING_S = 20.0  # that a first attempt may take, the next one longer: PortAudio can hang when a server half exists
_MAX_OPENING_S = 60.0
WORKER_TRIES = 5  # of a worker that ends before it is ready, or at once, each after twice the pause before
_FIRST_PAUSE_S = 0.25

# What a session is doing
STOPPED, STARTING, PREPARING, RUNNING, WAITING = "stopped", "starting", "preparing", "running", "waiting"
_Session = TypeVar("_Session", bound="Supervised")


class Supervised(ABC):
    """What is supervised: begins and ends with ``with``.

    state: STARTING until a device was opened, PREPARING until the worker is ready, RUNNING, WAITING for a device that
    was lost, or STOPPED. device: what the audio process said when it opened it. restarts: how often worker and device
    were lost. events: (seconds since the start, sentence), newest last.
    """

    block: SharedBlock
    children: Children
    _supervisor: Supervisor

    def __init__(
        self,
        tell: Callable[[str], None] | None,
        opened: Callable[[dict[str, Any]], None] | None,
        quit: threading.Event | None,
    ) -> None:
        """tell: gets every event's sentence. opened: gets what the audio process says whenever it has opened the
        device, before sound runs. Both are called by the supervisor. quit: when it is set, ``start`` waits no longer.
        """
        self.state = STOPPED
        self.device: dict[str, Any] = {}
        self.restarts = {"worker": 0, "device": 0}
        self.events: deque[tuple[float, str]] = deque(maxlen=200)
        self._tell, self._opened = tell, opened
        self._quit = quit or threading.Event()
        self._stopping = False
        self._began = time.monotonic()

    @abstractmethod
    def start(self, patience: float = 90.0) -> None:
        """Open everything and return when sound runs.

        Raises InputError or RtsepError when the devices cannot be opened, or not within ``patience`` seconds.
        """

    @abstractmethod
    def fade_out(self) -> None:
        """Return when what is played has faded to silence."""

    def _start(self, supervisor: Supervisor, patience: float) -> None:
        """The last part of ``start``: ``block`` and ``children`` are there."""
        self._began = time.monotonic()
        self.state = STARTING
        self._supervisor = supervisor
        try:
            supervisor.start()
            self._wait_until_running(patience)
        except BaseException:
            self.stop()
            raise

    def _wait_until_running(self, patience: float) -> None:
        end = time.monotonic() + patience
        while self.state != RUNNING and not self._quit.wait(0.01):
            if self._supervisor.refusal is not None:
                raise self._supervisor.refusal
            if time.monotonic() > end:
                raise RtsepError("The sound did not start in time; try `rtsep doctor`.")

    def stop(self) -> None:
        """Fade out, end both processes, give the memory back. Twice is as good as once."""
        if self._stopping or self.state == STOPPED:
            return
        self._stopping = True
        if self.state == RUNNING:
            self.fade_out()
        self._supervisor.stop()
        self.block.state.stop = 1
        self.block.wake_worker()
        self.children.end_all()
        self.state = STOPPED
        self.block.close()

    def __enter__(self: _Session) -> _Session:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def processes(self) -> dict[str, int | None]:
        """Process numbers of the children."""
        return self.children.numbers

    def say(self, sentence: str) -> None:
        """Remember an event, and tell it."""
        self.events.append((time.monotonic() - self._began, sentence))
        if self._tell is not None:
            self._tell(sentence)

    def was_opened(self, message: dict[str, Any]) -> None:
        """Called by the supervisor."""
        self.device = message
        if self._opened is not None:
            try:
                self._opened(message)
            except RtsepError as error:
                self.say(str(error))


class Supervisor(ABC):
    """Watches one session from ``start`` to ``stop``.

    refusal: why sound could not begin, None as long as it may. told: sentences that are told once.
    """

    threaded_worker = False  # the worker is a thread of the audio process, and there is no worker process

    def __init__(self, session: Supervised) -> None:
        self._session = session
        self._block, self._state, self._children = session.block, session.block.state, session.children
        self.refusal: RtsepError | None = None
        self.told: set[str] = set()
        self._over = threading.Event()
        self._worker_began = 0.0
        self._worker_back = -SETTLE_S  # when a worker was last started because one was lost
        self._failures = 0
        self._next_try = 0.0
        self.given_up = False  # the worker
        self._audio_began = self._again = 0.0  # when the device was last asked for, and is to be asked for again
        self._opening_s = _OPENING_S
        self._silent_s = 0.0
        self._last_callback: dict[str, tuple[int, float]] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True, name="supervisor")

    # What differs

    @property
    def until_worker_is_back(self) -> str:
        """How a sentence about a lost worker goes on."""
        return " and is started again"

    @abstractmethod
    def start_audio(self) -> None:
        """Start the audio process."""

    @abstractmethod
    def start_worker(self, again: bool = False) -> None:
        """Start the worker; again: in the place of one that was lost."""

    @abstractmethod
    def worker_given_up(self, why: str) -> None:
        """It was lost too often; why: how, as the beginning of a sentence."""

    def configured_delay(self, period: int) -> int:
        """Samples from handing a block over to playing its result."""
        return 0

    def prepared(self) -> bool:
        """Whether sound may run, once a device is open."""
        return bool(self._state.ready_epoch == self._state.epoch or self.given_up)

    @abstractmethod
    def began_to_run(self, now: float) -> None:
        """Sound runs, for the first time or again."""

    @abstractmethod
    def device_lost(self, why: str) -> None:
        """The device was lost; why: how, as the beginning of a sentence."""

    def receive(self, role: str, message: dict[str, Any]) -> None:  # noqa: B027 (not every session's worker says anything)
        """A message that is not about the device."""

    def check(self, now: float) -> None:  # noqa: B027
        """A tick while sound runs and callbacks come."""

    def device_names(self) -> str:
        """For sentences."""
        device = self._session.device
        return " to ".join(name for name in (device.get("input"), device.get("output")) if name)

    # Beginning and end

    def start(self) -> None:
        """Start both processes, and watch them."""
        self._worker_began = time.monotonic()
        if not self.threaded_worker:
            self.start_worker()
        self._open_audio()
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; the processes are left to the session."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def forgive_worker(self) -> None:
        """Try a worker again that was given up."""
        self._failures, self.given_up = 0, False

    def _watch(self) -> None:
        while not self._over.wait(TICK_S):
            try:
                self._tick(time.monotonic())
            except OSError as error:  # no process, no memory, no descriptors left: perhaps there are next time
                self._session.say(f"The supervisor could not act ({error.strerror or error}).")

    def _tick(self, now: float) -> None:
        session, children = self._session, self._children
        ended = children.audio is not None and children.audio.poll() is not None
        if ended:
            children.wait_for_last_messages()
        while children.messages:
            self._dispatch(*children.messages.popleft())
        if self.refusal is not None:
            return
        self._look_at_worker(now)
        hangs = session.state in (STARTING, WAITING) and now >= self._audio_began + self._opening_s
        if children.audio is not None and not ended and hangs:
            self._opening_s = min(2 * self._opening_s, _MAX_OPENING_S)
            self._end_audio()
        elif session.state == WAITING or (session.state == STARTING and children.audio is None):
            if children.audio is None and now >= self._again:
                self._open_audio()
            elif ended:
                self._end_audio()
        elif children.audio is None or ended:
            how = "" if children.audio is None else f" ({how_ended(children.audio)})"
            self._lose_device(f"The audio process ended{how}")
        elif session.state == PREPARING and self.prepared():
            self._run(now)
        elif session.state == RUNNING:
            if self._silent(now):
                self._lose_device("No sound came any more")
            else:
                self.check(now)
        if session.state == PREPARING:
            self._block.wake_worker()  # a new epoch may be waiting for a worker that sleeps

    def _dispatch(self, role: str, message: dict[str, Any]) -> None:
        session = self._session
        if message["event"] == COMPILING:
            self._opening_s = _MAX_OPENING_S  # that is long, and for once
            compile_notice.compiling()
        elif message["event"] == NOT_COMPILED:
            if message["sentence"] not in self.told:  # every worker says so
                self.told.add(message["sentence"])
                session.say(message["sentence"])
        elif role != AUDIO or message["event"] not in ("opened", "error"):
            self.receive(role, message)
        elif message["event"] == "opened":
            session.was_opened(message)
            names = (message["input"], message["output"])
            self._silent_s = max(silent_s(message["host"], name) for name in names if name)
            self.configure(message["rate"], message["block"], message["period"])
        elif session.state == STARTING:
            kind = InputError if message["code"] == InputError.exit_code else RtsepError
            self.refusal = kind(message["sentence"])

    def configure(self, rate: int, block: int, period: int = 0) -> None:
        """Set what the device turned out to be; a worker whose stream no longer fits makes another.

        period: frames that come at once, if they are more than a block.
        """
        state = self._state
        fits = state.rate == rate and state.block == block and not self.threaded_worker
        state.running = 0
        self._block.configure(rate, block, self.configured_delay(max(block, period)), period)
        if not fits:
            state.epoch += 1
        self._session.state = PREPARING
        self._block.wake_worker()

    def _run(self, now: float) -> None:
        self._state.running = 1
        self._session.state = RUNNING
        self._opening_s = _OPENING_S
        self._last_callback = {"state": (self._state.callbacks, now)}
        if self._block.clocks.separate:
            self._last_callback["clocks"] = (self._block.clocks.callbacks, now)
        self.began_to_run(now)

    def _silent(self, now: float) -> bool:
        """Whether no callback came for longer than the device's pauses last."""
        for record, (count, seen) in self._last_callback.items():
            callbacks = getattr(self._block, record).callbacks
            if callbacks != count:
                self._last_callback[record] = (callbacks, now)
            elif now - seen > self.patience_s():
                return True
        return False

    def patience_s(self) -> float:
        """Seconds without a callback after which the device is lost: some blocks in any case."""
        return self._silent_s + 4 * self._state.period / max(1, self._state.rate)

    def _lose_device(self, why: str) -> None:
        session = self._session
        if session.state == STARTING:
            self.refusal = self.refusal or RtsepError(f"The sound could not be started: {why}.")
            return
        self._state.running = 0
        session.restarts["device"] += 1
        session.state = WAITING
        self.device_lost(why)
        self._end_audio()

    def _open_audio(self) -> None:
        self._audio_began = time.monotonic()
        self.start_audio()

    def _end_audio(self) -> None:
        self._children.end_audio()
        self._again = time.monotonic() + _AGAIN_S

    # The worker

    def _look_at_worker(self, now: float) -> None:
        worker = self._children.worker
        if worker is not None and worker.poll() is not None:
            self.lose_worker(f"The worker ended ({how_ended(worker)})", now)
        elif worker is None and not self.threaded_worker and not self.given_up and now >= self._next_try:
            self._worker_began = self._worker_back = now
            self._session.restarts["worker"] += 1
            self.start_worker(again=True)

    def lose_worker(self, why: str, now: float) -> None:
        """Away with it; another at once, or after a pause if it lived too short a life, or none after many."""
        session, state = self._session, self._state
        if session.state == STARTING:
            self.refusal = RtsepError(f"{why} before it began; see whether `rtsep bench step` runs.")
            return
        ready = state.ready_epoch == state.epoch
        self._failures = 0 if ready and now - self._worker_began > SETTLE_S else self._failures + 1
        self._children.end_worker()
        self._next_try = now + (_FIRST_PAUSE_S * 2 ** (self._failures - 1) if self._failures else 0.0)
        if self._failures >= WORKER_TRIES:
            self.given_up = True
            self.worker_given_up(f"{why}, {self._failures} times in a row")
        elif self._failures <= 1:
            session.say(f"{why}{self.until_worker_is_back}.")
