"""The watchdog: one thread that keeps a Live running whatever dies, and the only one that starts and ends processes.

A lost device is opened again by its name as soon as it is back; a lost worker is started anew, while the dry signal
plays; a worker that does not live is started ever more seldom and, in the end, not any more.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from rtsep.errors import InputError, RtsepError
from rtsep.live.backends import shared_state as b
from rtsep.live.child_processes import how_ended
from rtsep.live.governor import DRY, WINDOW_S, Governor
from rtsep.live.status import compute_ms

if TYPE_CHECKING:
    from rtsep.live.live_engine import Live

_TICK_S = 0.05
_SILENT_S = 0.5  # without a callback for so long, the device is lost
_STUCK_S = 4.0  # without a result for so long, the worker is stuck
_LOADING_S = 30.0  # and for so long when it has only been started
_AGAIN_S = 0.5  # between attempts to open a lost device
_SETTLE_S = 5.0  # after a worker was lost, before its speed is judged
_OPENING_S = 20.0  # that a first attempt may take, the next one longer: PortAudio can hang when a server half exists
_MOST_OPENING_S = 60.0
WORKER_TRIES = 5  # of a worker that ends before it is ready, or at once, each after twice the pause before
_FIRST_PAUSE_S = 0.25


class Watchdog:
    """Watches one Live from ``start`` to ``stop``. refusal: why sound could not even begin, None as long as it may."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._block, self._head, self._crew = live.block, live.block.head, live.crew
        self.refusal: RtsepError | None = None
        self._pinned: tuple[str | None, str | None] = (live.settings.input, live.settings.output)
        self._governor = Governor(may_slack=live.settings.slack is None)
        self._over = threading.Event()
        self._began = 0.0  # of the worker
        self._back = -_SETTLE_S  # when a worker was last started because one was lost
        self._failures = 0
        self._next_try = 0.0
        self._given_up = False
        self._misfits = 0
        self._opening_s = _OPENING_S
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")

    def start(self) -> None:
        self._began = time.monotonic()
        self._crew.start_worker()
        self._crew.start_audio(*self._pinned)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def forgive(self) -> None:
        """Try a worker again that was given up."""
        self._failures, self._given_up = 0, False

    def _watch(self) -> None:
        while not self._over.wait(_TICK_S):
            try:
                self._tick(time.monotonic())
            except OSError as error:  # no process, no memory, no descriptors left: perhaps there are next time
                self._live.say(f"The watchdog could not act ({error.strerror or error}).")

    def _tick(self, now: float) -> None:
        live, head, crew = self._live, self._head, self._crew
        ended = crew.audio is not None and crew.audio.poll() is not None
        if ended:
            crew.last_words()
        while crew.messages:
            self._hear_of(crew.messages.popleft())
        if self.refusal is not None:
            return
        self._look_at_worker(now)
        if live.state == "waiting":
            if crew.audio is None and now >= self._again:
                crew.start_audio(*self._pinned)
            elif crew.audio is not None and (ended or now >= self._again + self._opening_s):
                if not ended:
                    self._opening_s = min(2 * self._opening_s, _MOST_OPENING_S)
                self._end_audio()
        elif crew.audio is None or ended:
            how = "" if crew.audio is None else f" ({how_ended(crew.audio)})"
            self._device_lost(f"The audio process ended{how}")
        elif live.state == "preparing" and (head[b.EPOCH_READY] == head[b.EPOCH] or self._given_up):
            self._run(now)
        elif live.state == "running":
            self._check(now)
        if live.state == "preparing":
            crew.wake()  # a new epoch may be waiting for a worker that sleeps

    def _run(self, now: float) -> None:
        live, head = self._live, self._head
        head[b.RUN] = 1
        live.state = "running"
        self._opening_s = _OPENING_S
        self._judged = (now, int(head[b.CALLBACKS]), int(head[b.LATE]))
        self._beats = {word: (int(head[word]), now) for word in (b.CALLBACKS, *([b.ARRIVALS] if head[b.TWO] else []))}
        self._runs, self._margin = (int(head[b.RUNS]), now), int(head[b.MARGIN])
        if live.restarts["device"]:
            live.say(f"{live.device['input']} to {live.device['output']} is back.")

    def _check(self, now: float) -> None:
        live, head = self._live, self._head
        for word, seen in self._beats.items():
            if head[word] != seen[0]:
                self._beats[word] = (int(head[word]), now)
            elif now - seen[1] > _SILENT_S:
                self._device_lost("No sound came any more")
                return
        if head[b.TWO] and head[b.MARGIN] > self._margin:
            self._margin = int(head[b.MARGIN])
            live.say(
                f"The devices are not punctual; the delay is now {1000 * live.added_samples / head[b.RATE]:.1f} ms."
            )
        if head[b.RUNS] != self._runs[0] or head[b.PAUSE] or head[b.WRITTEN] - head[b.DONE] < head[b.BLOCK]:
            self._runs = (int(head[b.RUNS]), now)
        elif now - self._runs[1] > (_STUCK_S if head[b.EPOCH_READY] == head[b.EPOCH] else _LOADING_S):
            self._runs = (int(head[b.RUNS]), now)
            if self._given_up:
                return
            if live.portable:  # a thread of the audio process cannot be ended alone
                self._device_lost("The worker was stuck")
            elif self._crew.worker is not None:
                self._worker_lost("The worker was stuck", now)
        if head[b.FRAMES] != head[b.BLOCK] and head[b.MISFITS] > self._misfits + 20:
            live.say(f"The device now works in blocks of {head[b.FRAMES]} frames.")
            self._configure(int(head[b.RATE]), int(head[b.FRAMES]))
        elif now - self._judged[0] > WINDOW_S and not head[b.PAUSE] and not live.bypassed:
            self._judge(now)

    def _judge(self, now: float) -> None:
        """Too slow a machine: more slack, then the dry signal. A worker not yet back is no slow machine."""
        live, block, head = self._live, self._block, self._head
        if head[b.EPOCH_READY] != head[b.EPOCH] or now - self._back < _SETTLE_S:
            self._governor.forget()
            self._judged = (now, int(head[b.CALLBACKS]), int(head[b.LATE]))
            return
        calls, late = int(head[b.CALLBACKS]), int(head[b.LATE])
        share = (late - self._judged[2]) / max(1, calls - self._judged[1])
        runs = compute_ms(block, max(1, calls - self._judged[1]))
        block_ms = 1000 * head[b.BLOCK] / head[b.RATE]
        verdict = self._governor.judge(runs, block_ms, live.slack, share)
        self._judged = (now, calls, late)
        if verdict == DRY:
            live.bypass(True)
            head[b.PAUSE] = 1
            live.say("This machine is too slow for the model; the dry signal plays (press b to try again).")
        elif verdict is not None:
            live.set_slack(verdict)
            added = 1000 * live.added_samples / head[b.RATE]
            live.say(f"This machine is slow for the model; slack is now {live.slack} and the delay {added:.1f} ms.")

    def _hear_of(self, message: dict[str, Any]) -> None:
        live = self._live
        if message["event"] == "opened":
            live.device = message
            self._pinned = (message["input"], message["output"])
            try:
                live.opened(message)
            except RtsepError as error:
                live.say(str(error))
            self._configure(message["rate"], message["block"])
        elif message["event"] == "error" and live.state == "starting":
            kind = InputError if message["code"] == InputError.exit_code else RtsepError
            self.refusal = kind(message["sentence"])

    def _configure(self, rate: int, size: int) -> None:
        """Set what the device turned out to be; a worker whose stream no longer fits makes another."""
        head = self._head
        fits = head[b.RATE] == rate and head[b.BLOCK] == size and not self._live.portable
        head[b.RUN] = 0
        self._block.configure(rate, size, self._live.slack * size)
        self._misfits = int(head[b.MISFITS])
        if not fits:
            head[b.EPOCH] += 1
        self._live.state = "preparing"
        self._crew.wake()

    def _device_lost(self, why: str) -> None:
        live = self._live
        names = f" ({live.device['input']} to {live.device['output']})" if live.device else ""
        if live.state == "starting":
            self.refusal = RtsepError(f"The sound could not be started: {why}.")
            return
        self._head[b.RUN] = 0
        live.restarts["device"] += 1
        live.state = "waiting"
        live.say(f"{why}; the sound device{names} is opened again as soon as it is back.")
        self._end_audio()

    def _end_audio(self) -> None:
        self._crew.end_audio()
        self._again = time.monotonic() + _AGAIN_S

    # The worker

    def _look_at_worker(self, now: float) -> None:
        crew = self._crew
        if crew.worker is not None and crew.worker.poll() is not None:
            self._worker_lost(f"The worker ended ({how_ended(crew.worker)})", now)
        elif crew.worker is None and not self._live.portable and not self._given_up and now >= self._next_try:
            self._began = self._back = now
            self._live.restarts["worker"] += 1
            crew.start_worker()

    def _worker_lost(self, why: str, now: float) -> None:
        """Away with it; another at once, or after a pause if it lived too short a life, or none after many."""
        live = self._live
        if live.state == "starting":
            self.refusal = RtsepError(f"{why} before it began; see whether `rtsep bench step` runs.")
            return
        ready = self._head[b.EPOCH_READY] == self._head[b.EPOCH]
        self._failures = 0 if ready and now - self._began > _SETTLE_S else self._failures + 1
        self._crew.end_worker()
        self._next_try = now + (_FIRST_PAUSE_S * 2 ** (self._failures - 1) if self._failures else 0.0)
        if self._failures >= WORKER_TRIES:
            self._given_up = True
            live.bypass(True)
            live.say(f"{why}, {self._failures} times in a row; the dry signal plays (press b to try again).")
        elif self._failures <= 1:
            live.say(f"{why}; the dry signal plays until it is back.")
