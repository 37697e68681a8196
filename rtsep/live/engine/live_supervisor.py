"""The supervisor of a live session: also judges whether the machine is quick enough, and what the device turns into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtsep.live.engine.governor import DRY, Governor, window_s
from rtsep.live.engine.processes import LIVE
from rtsep.live.engine.status import compute_ms
from rtsep.live.engine.supervisor import SETTLE_S, Supervisor

if TYPE_CHECKING:
    from rtsep.live.engine.live_engine import LiveEngine

_STUCK_S = 4.0  # without a result for so long, the worker is stuck
_LOADING_S = 30.0  # and for so long when it has only been started
_IRREGULAR = 20  # callbacks of another size after which that is the block


class LiveSupervisor(Supervisor):
    """See Supervisor. While there is no worker the dry signal plays; a machine that is too slow is told so."""

    until_worker_is_back = "; the dry signal plays until it is back"

    def __init__(self, engine: LiveEngine) -> None:
        super().__init__(engine)
        self._engine = engine
        self.threaded_worker = engine.portable
        self._pinned: tuple[str | None, str | None] = (engine.settings.input, engine.settings.output)
        self._governor = Governor(may_change_slack=engine.settings.slack is None)
        self._irregular = 0

    def start_audio(self) -> None:
        engine, settings = self._engine, self._engine.settings
        device = engine.device
        source, target = (device["input"], device["output"]) if device else self._pinned
        values: dict[str, Any] = {
            "callback": LIVE,
            "variant": settings.callback_variant,
            "input": source,
            "output": target,
            "rate": engine.model.spec.sample_rate,
            "block": settings.block,
            "client": settings.client,
            "input_channels": settings.device_channels,
            "model": str(engine.model.path) if engine.portable else None,
        }
        self._children.start_audio(values)

    def start_worker(self, again: bool = False) -> None:
        self._children.start_worker("rtsep.live.engine.worker", str(self._engine.model.path))

    def worker_given_up(self, why: str) -> None:
        self._engine.bypass(True)
        self._engine.say(f"{why}; the dry signal plays (press b to try again).")

    def configured_delay(self, period: int) -> int:
        return self._engine.slack * period

    def device_lost(self, why: str) -> None:
        self._engine.say(f"{why}; the sound device ({self.device_names()}) is opened again as soon as it is back.")

    def configure(self, rate: int, block: int, period: int = 0) -> None:
        self._irregular = self._state.irregular_callbacks
        super().configure(rate, block, period)

    def began_to_run(self, now: float) -> None:
        state = self._state
        self._judged = (now, state.callbacks, state.late_blocks)
        self._runs, self._margin = (state.runs, now), self._block.clocks.margin
        if self._engine.restarts["device"]:
            self._engine.say(f"{self.device_names()} is back.")

    def check(self, now: float) -> None:
        engine, state, clocks = self._engine, self._state, self._block.clocks
        if clocks.separate and clocks.margin > self._margin:
            self._margin = clocks.margin
            engine.say(f"The devices are not punctual; the delay is now {engine.added_ms:.1f} ms.")
        if self._stuck(now):
            self._runs = (state.runs, now)
            if engine.portable:  # a thread of the audio process cannot be ended alone
                self._lose_device("The worker was stuck")
                return
            if self._children.worker is not None:
                self.lose_worker("The worker was stuck", now)
        if state.frames != state.block and state.irregular_callbacks > self._irregular + _IRREGULAR:
            engine.say(f"The device now works in blocks of {state.frames} frames.")
            self.configure(state.rate, state.frames)
        elif (
            now - self._judged[0] > window_s(state.period / state.rate)
            and not state.worker_paused
            and not engine.bypassed
        ):
            self._judge(now)

    def _stuck(self, now: float) -> bool:
        """Whether the worker has had something to do, and done nothing, for too long."""
        state = self._state
        if state.runs != self._runs[0] or state.worker_paused or state.position - state.processed < state.block:
            self._runs = (state.runs, now)
        patience = _STUCK_S if state.ready_epoch == state.epoch else _LOADING_S
        return now - self._runs[1] > patience and not self.given_up

    def _judge(self, now: float) -> None:
        """Too slow a machine: more slack, then the dry signal. A worker not yet back is no slow machine."""
        engine, state = self._engine, self._state
        before, self._judged = self._judged, (now, state.callbacks, state.late_blocks)
        if state.ready_epoch != state.epoch or now - self._worker_back < SETTLE_S:
            self._governor.forget()
            return
        callbacks = max(1, self._judged[1] - before[1])
        share = (self._judged[2] - before[2]) / callbacks
        runs = compute_ms(self._block, callbacks)
        verdict = self._governor.judge(runs, 1000 * state.block / state.rate, engine.slack, share)
        if verdict == DRY:
            engine.bypass(True)
            state.worker_paused = 1
            engine.say("This machine is too slow for the model; the dry signal plays (press b to try again).")
        elif verdict is not None:
            engine.set_slack(verdict)
            engine.say(
                f"This machine is slow for the model; slack is now {engine.slack} and the delay "
                f"{engine.added_ms:.1f} ms."
            )
