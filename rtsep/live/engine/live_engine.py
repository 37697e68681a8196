"""The live engine: a running way from a microphone to a device, kept up by a supervisor.

>>> with LiveEngine(LiveSettings(model="denoise", output="virtual")) as engine:
...     engine.status()["late"]
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from rtsep.engine.gate_settings import check_gate
from rtsep.live.backends.shared_state import MAX_FRAMES, SharedBlock, ring_length
from rtsep.live.engine.governor import MAX_SLACK
from rtsep.live.engine.live_supervisor import LiveSupervisor
from rtsep.live.engine.processes import Children
from rtsep.live.engine.settings import DEFAULT_SLACK, MAX_BLOCK, LiveSettings
from rtsep.live.engine.slack_control import SlackControl
from rtsep.live.engine.status import LiveStatus, live_status
from rtsep.live.engine.supervisor import Supervised
from rtsep.model import MAX_RATE, load, look_at

__all__ = ["DEFAULT_SLACK", "MAX_BLOCK", "LiveEngine", "LiveSettings"]


class LiveEngine(Supervised):
    """See the module. Every method may be called from any thread of the parent, and none waits for sound.

    model: the file of the one that runs. state, device, restarts, events: see Supervised.
    """

    def __init__(
        self,
        settings: LiveSettings,
        tell: Callable[[str], None] | None = None,
        opened: Callable[[dict[str, Any]], None] | None = None,
        quit: threading.Event | None = None,
    ) -> None:
        """Raises InputError for a model that does not exist, or cannot move the gate that is asked for.

        tell, opened, quit: see Supervised.
        """
        super().__init__(tell, opened, quit)
        self.settings = settings
        self.model = look_at(settings.model)
        if not self.model.streams:
            load(settings.model).step()  # says that it has none
        if settings.gate is not None:
            check_gate(self.model.spec)
        self.portable = sys.platform != "linux" if settings.portable is None else settings.portable
        self.slack_control = SlackControl(settings, self.model.spec.sample_rate, self.portable)

    # Beginning and end

    def start(self, patience: float = 90.0) -> None:
        """See Supervised."""
        spec, settings = self.model.spec, self.settings
        late = spec.algorithmic_latency * MAX_RATE // spec.sample_rate  # what the dry sound waits for is kept as well
        slack = max(settings.slack or 0, MAX_SLACK)  # in the largest blocks that a callback may have
        length = settings.ring or ring_length((slack + 2) * MAX_FRAMES + late)
        self.block = SharedBlock.create(settings.channels, length)
        self.slack_control.attach(self.block)
        state = self.block.state
        if not self.portable:
            state.wake_descriptor = os.eventfd(0)  # type: ignore[attr-defined,unused-ignore]
        state.without_model, state.input_mix = int(settings.without_model), settings.input_mix
        self.set_strength(settings.strength)
        if (gate := settings.gate) is not None:
            state.gate = gate.floor, gate.open, gate.hold, gate.lookback
        if settings.muted:
            state.volume = state.volume_target = 0.0
        self.children = Children(self.block, settings.environment, settings.launcher)
        self._start(LiveSupervisor(self), patience)

    def fade_out(self) -> None:
        """See Supervised."""
        self.mute(True, seconds=0.020)
        time.sleep(0.05)

    # What a person turns

    def set_strength(self, strength: float | None) -> None:
        """Most attenuation in dB, None for no limit; ramped by the stream."""
        self.block.state.strength = np.nan if strength is None else strength
        self.block.state.strength_version += 1

    def bypass(self, on: bool) -> None:
        """Play the dry signal instead, delayed just as much, crossfaded within 20 ms; off also tries again."""
        state = self.block.state
        if not on:
            self._supervisor.forgive_worker()
        if state.inside:
            state.step_wanted = 1
        else:
            state.worker_paused = 0
        state.bypass_target = 1.0 if on else 0.0

    @property
    def bypassed(self) -> bool:
        """Whether the dry signal is asked for."""
        return bool(self.block.state.bypass_target == 1.0)

    def mute(self, on: bool, seconds: float = 0.5) -> None:
        """Fade to silence or back, within ``seconds`` for the whole way."""
        self.block.state.volume_step = 1.0 / max(1.0, seconds * self.block.state.rate)
        self.block.state.volume_target = 0.0 if on else 1.0

    @property
    def muted(self) -> bool:
        """Whether silence is asked for."""
        return bool(self.block.state.volume_target == 0.0)

    def set_slack(self, slack: int) -> None:
        """Another number of block periods of slack, joined without a step; from 0 or to it as soon as that is ready.

        Raises InputError when the model cannot run inside the callback here.
        """
        self.slack_control.change(slack, time.monotonic())

    @property
    def slack(self) -> int:
        """Block periods from handing a block over to playing its result; with 0 the model runs inside the callback."""
        return self.slack_control.slack

    @property
    def added_samples(self) -> int:
        """Delay over an empty pass-through, samples at the output's rate: stream latency + slack x period.

        Stream latency is synthesis window - hop where the block is a number of whole hops.

        The gate's look-back is part of the stream's latency. With two clocks also what is meant to lie between them;
        that is set right when it is off by more than a block.
        """
        state, clocks = self.block.state, self.block.clocks
        between = round(clocks.target * state.rate / clocks.rate) if clocks.separate else 0
        return state.stream_latency + state.delay + between

    @property
    def added_ms(self) -> float:
        """The same in ms."""
        return 1000 * self.added_samples / max(1, self.block.state.rate)

    def input_moved(self, settings: dict[str, Any]) -> None:
        """Sound comes from another device now; ``settings`` say which to open should that be lost, and what to show."""
        self.settings = replace(self.settings, input=settings["input"], labels=settings["labels"])
        if self.device:
            self.device["input"] = settings["input"]

    def status(self) -> LiveStatus:
        """Counters since the start, latency and levels now, and compute over the last seconds."""
        return live_status(self)
