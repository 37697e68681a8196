"""Slack while sound runs: inside the callback (0), or in the worker with so many periods to spare."""

from __future__ import annotations

from typing import Any

from rtsep.errors import InputError
from rtsep.live.backends.shared_state import SharedBlock
from rtsep.live.engine.settings import DEFAULT_SLACK, LiveSettings
from rtsep.live.routing.devices import JACK, SERVER_HOSTS, by_server

# Where the model runs inside the callback without being asked to, because it was measured: JACK's callbacks have
# real-time priority. Those of the others have none, and come in bursts, which a worker has to wait out with more slack;
# what else the machine does may interrupt them, so that the model must need less there.
AUTOMATIC_HOSTS = (JACK, "ALSA", *SERVER_HOSTS)
# Of a block that the steps of a callback may take at the start for that; it leaves the callback at half.
START_SHARE, START_SHARE_WITHOUT_PRIORITY = 0.35, 0.20
FIRST_WORKER_SLACK = 1
_PATIENCE_S = 2.0  # for who takes over to catch up
_CAUGHT_UP_BLOCKS = 2


class SlackControl:
    """Changes are made when what takes over has heard the last second and is up to date, joined by the callback.

    slack: block periods from handing a block over to playing its result, now. refusal: why it is not 0, in one
    sentence, or None.
    """

    def __init__(self, settings: LiveSettings, model_rate: int, portable: bool = False) -> None:
        """model_rate: Hz. portable: see LiveSettings."""
        self._settings, self._model_rate, self._portable = settings, model_rate, portable
        self.slack = DEFAULT_SLACK if settings.slack is None else settings.slack
        self._undecided = settings.slack is None
        self.refusal: str | None = None
        self._pending: tuple[int, float] | None = None  # another slack, and since when
        self._block: SharedBlock  # once there is one
        self._device: dict[str, Any] = {}

    @property
    def step_hosts(self) -> list[str] | None:
        """Audio systems on which the audio process is to have a step for its callback; None is all of them."""
        settings = self._settings
        if settings.slack == 0:
            return None
        automatic = settings.slack is None and settings.gate is None and not self._portable
        return list(AUTOMATIC_HOSTS) if automatic else []

    @property
    def worker_slack(self) -> int:
        """Periods for a worker that takes over from the callback: one, where they do not come in bursts."""
        ends = (self._device.get("input"), self._device.get("output"))
        bursts = any(by_server(self._device.get("host", ""), name) for name in ends if name)
        return DEFAULT_SLACK if bursts else FIRST_WORKER_SLACK

    @property
    def changing(self) -> bool:
        """Whether another slack was asked for and is not yet there."""
        return self._pending is not None

    def attach(self, block: SharedBlock) -> None:
        """The session's block; before anything else."""
        self._block = block

    def decide(self, device: dict[str, Any], rate: int, frames: int) -> None:
        """Decide for a device that was opened at ``rate`` Hz, in blocks of ``frames``. device: see Supervised."""
        self._device = device
        if self._pending is not None:
            self.slack, self._pending = self._pending[0], None
        if self.slack == 0 or self._undecided:
            self.refusal = self._why_not_inside(rate)
            if self._settings.slack is None and self.refusal is None:
                self.refusal = self._too_slow(rate, frames)
            self.slack = 0 if self.refusal is None else DEFAULT_SLACK
            self._undecided = False

    def _too_slow(self, rate: int, frames: int) -> str | None:
        """Whether the steps that a callback may have to make take too much of its block, as measured at the start."""
        steps = -(-frames // self._block.state.step_hop) if self._block.state.step_hop else 0
        taken, block = steps * float(self._device["step_ms"]), 1000 * frames / rate
        if taken <= (START_SHARE if self._device["host"] == JACK else START_SHARE_WITHOUT_PRIORITY) * block:
            return None
        return f"The model takes {taken:.2f} ms of a block's {block:.2f} ms."

    @property
    def rests(self) -> bool:
        """Whether the model runs nowhere, because the machine is too slow."""
        state = self._block.state
        return bool(not state.step_wanted if state.inside else state.worker_paused)

    def set_place(self) -> None:
        """Tell callback and worker which of them runs the model; where it rests, it goes on resting."""
        state, rests = self._block.state, int(self.rests)
        state.inside = int(self.slack == 0)
        if not state.running:
            state.last_inside = state.inside  # nothing was played that would have to be joined
        if self.slack == 0:
            state.step_wanted, state.worker_paused = 1 - rests, 1
        else:
            state.step_wanted, state.worker_paused = 0, rests

    def _why_not_inside(self, rate: int) -> str | None:
        if self._settings.gate is not None:
            return "The gate needs the worker."
        if rate != self._model_rate and not self._settings.without_model:
            return f"The device runs at {rate} Hz and the model at {self._model_rate} Hz."
        if self._device.get("step_ms") is None:
            return "The session was not started for it; start it with slack 0."
        refusal: str | None = self._device.get("step_refusal")
        return refusal

    def leave_callback(self) -> None:
        """Over to the worker at once, for nothing of the model is heard now, or no device is open."""
        self.slack, self._pending = self.worker_slack, None
        self._block.state.delay = self.slack * self._block.state.period
        self.set_place()

    def change(self, slack: int, now: float) -> None:
        """Ask for another slack. now: s. Raises InputError when the model cannot run inside the callback."""
        state = self._block.state
        if slack == 0 and not state.inside:
            self.refusal = self._why_not_inside(state.rate)
            if self.refusal is not None:
                raise InputError(f"The model cannot run inside the callback. {self.refusal}")
            state.step_wanted = 1
            self._pending = (0, now)
        elif slack > 0 and state.inside:
            state.worker_paused = 0
            self._block.wake_worker()
            self._pending = (slack, now)
        else:
            self.slack = slack
            state.delay = slack * state.period

    def settle(self, now: float) -> bool:
        """Make a change that was asked for, if all is ready; True when that was now."""
        if self._pending is None:
            return False
        state = self._block.state
        slack, since = self._pending
        near = _CAUGHT_UP_BLOCKS * state.block
        if slack == 0:
            ready = state.step_running and state.position - state.step_taken < state.step_hop + near
            if not ready and now - since > _PATIENCE_S:  # it stays where it is, and is watched there again
                self.refusal, self._pending, state.step_wanted = "This machine is too busy for that.", None, 0
        else:
            there = state.ready_epoch == state.epoch and state.position - state.processed <= near
            ready = (there and state.processed >= state.valid_from) or now - since > _PATIENCE_S
        if ready:
            self.slack, self._pending = slack, None
            state.delay = slack * state.period
            self.set_place()
        return bool(ready)
