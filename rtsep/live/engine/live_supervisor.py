"""The supervisor of a live session: also judges whether the machine is quick enough, and what the device turns into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rtsep.live.engine.governor import DRY, Governor, caused_xruns, window_s
from rtsep.live.engine.processes import LIVE
from rtsep.live.engine.status import compute_ms
from rtsep.live.engine.supervisor import SETTLE_S, Supervisor

if TYPE_CHECKING:
    from rtsep.live.engine.live_engine import LiveEngine

_STUCK_S = 4.0  # without a result for so long, the worker is stuck
_LOADING_S = 30.0  # and for so long when it has only been started
_FAULTS = 3  # steps that failed after which the callback steps no more
_IRREGULAR = 20  # callbacks of another size after which that is the block


class LiveSupervisor(Supervisor):
    """See Supervisor. While there is no worker the dry signal plays; a machine that is too slow is told so."""

    def __init__(self, engine: LiveEngine) -> None:
        super().__init__(engine)
        self._engine = engine
        self.threaded_worker = engine.portable
        self._pinned: tuple[str | None, str | None] = (engine.settings.input, engine.settings.output)
        self._may_change = engine.settings.slack is None
        self._governor = Governor(self._may_change)
        self._slack = engine.slack_control
        self._irregular = self._faults = 0

    @property
    def until_worker_is_back(self) -> str:
        """See Supervisor."""
        return " and is started again" if self._state.inside else "; the dry signal plays until it is back"

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
            "model": str(engine.model.path),
            "threaded_worker": engine.portable,
            "step_hosts": self._slack.step_hosts,
        }
        self._children.start_audio(values)

    def start_worker(self, again: bool = False) -> None:
        self._children.start_worker("rtsep.live.engine.worker", str(self._engine.model.path))

    def worker_given_up(self, why: str) -> None:
        if self._state.inside:
            self._engine.say(f"{why}; the model runs inside the callback and needs none.")
            return
        self._engine.bypass(True)
        self._engine.say(f"{why}; the dry signal plays (press b to try again).")

    def configured_delay(self, period: int) -> int:
        return self._engine.slack * period

    def device_lost(self, why: str) -> None:
        audio = self._children.audio
        if self._state.inside and self._may_change and audio is not None and (audio.poll() or 0) < 0:
            self._slack.leave_callback()  # killed, perhaps by what ran inside its callback
        self._engine.say(f"{why}; the sound device ({self.device_names()}) is opened again as soon as it is back.")

    def configure(self, rate: int, block: int, period: int = 0) -> None:
        self._irregular = self._state.irregular_callbacks
        known = self._slack.refusal
        self._slack.decide(self._engine.device, rate, block)
        if self._engine.settings.slack == 0 and self._slack.refusal not in (None, known):
            why = "" if self._slack.refusal in self.told else f"{self._slack.refusal} "
            self.told.add(str(self._slack.refusal))
            self._engine.say(f"{why}The model runs in a worker, with slack {self._slack.slack}.")
        super().configure(rate, block, period)
        self._slack.set_place()

    def prepared(self) -> bool:
        """See Supervisor."""
        state = self._state
        steps = state.step_running and state.step_epoch == state.epoch
        return super().prepared() and bool(steps or not state.step_wanted)

    def began_to_run(self, now: float) -> None:
        state = self._state
        self._faults = state.step_faults
        self._judged = (now, state.callbacks, state.late_blocks)
        self._runs, self._margin = (state.runs, now), self._block.clocks.margin
        if self._engine.restarts["device"]:
            self._engine.say(f"{self.device_names()} is back.")

    def check(self, now: float) -> None:
        engine, state, clocks = self._engine, self._state, self._block.clocks
        if clocks.separate and clocks.margin > self._margin:
            self._margin = clocks.margin
            engine.say(f"The devices are not punctual; the delay is now {engine.added_ms:.1f} ms.")
        asked = self._slack.changing
        if self._slack.settle(now):
            where = "inside the callback" if state.inside else "in a worker"
            engine.say(f"The model runs {where} now, with slack {engine.slack}; the delay is {engine.added_ms:.1f} ms.")
            self._governor.forget()
        elif asked and not self._slack.changing:
            engine.say(f"The model stays in a worker, with slack {engine.slack}. {self._slack.refusal}")
        if state.step_faults > self._faults + _FAULTS and state.inside and not self._slack.changing:
            self._leave_callback("The model failed inside the callback.", now)
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
            and not self._slack.rests
            and not self._slack.changing
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
        if not state.inside and (state.ready_epoch != state.epoch or now - self._worker_back < SETTLE_S):
            self._governor.forget()
            return
        callbacks = max(1, self._judged[1] - before[1])
        share = (self._judged[2] - before[2]) / callbacks
        runs = compute_ms(self._block, callbacks)
        if state.inside and self._may_change:
            rows = self._block.newest_rows(self._block.calls, state.callbacks, callbacks + 1)
            if self._governor.endangers(caused_xruns(rows, state.period / state.rate), now):
                self._leave_callback("The model inside the callback takes the sound system its time.", now)
                return
        verdict = self._governor.judge(runs, 1000 * state.block / state.rate, engine.slack, share)
        if verdict == DRY:
            engine.bypass(True)
            state.worker_paused, state.step_wanted = 1, 0
            if state.inside and self._may_change:  # that is where it is tried again
                self.forgive_worker()
                self._slack.leave_callback()
            engine.say("This machine is too slow for the model; the dry signal plays (press b to try again).")
        elif verdict is not None and state.inside:
            self._leave_callback("This machine is slow for the model inside the callback.", now)
        elif verdict is not None:
            engine.set_slack(verdict)
            engine.say(
                f"This machine is slow for the model; slack is now {engine.slack} and the delay "
                f"{engine.added_ms:.1f} ms."
            )

    def _leave_callback(self, why: str, now: float) -> None:
        """From slack 0 to a worker, at the least delay that a worker has here; one that was given up is tried again."""
        self._engine.say(why)
        self.forgive_worker()
        self._slack.change(self._slack.worker_slack, now)
