"""Live: a running way from a microphone to a device, kept up by a watchdog.

>>> with Live(LiveSettings(model="denoise", output="virtual")) as live:
...     live.status()["late"]
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from rtsep.engine.gate import check_gate
from rtsep.errors import RtsepError
from rtsep.live.backends import shared_state as b
from rtsep.live.backends.shared_state import Block, ring_length
from rtsep.live.processes import Crew
from rtsep.live.settings import DEFAULT_SLACK, MAX_BLOCK, LiveSettings
from rtsep.live.status import snapshot
from rtsep.live.supervisor import Watchdog
from rtsep.model import MAX_RATE, Model, load

__all__ = ["DEFAULT_SLACK", "MAX_BLOCK", "Live", "LiveSettings"]


class Live:
    """See the module. Every method may be called from any thread of the parent, and none waits for sound.

    events: (seconds since the start, sentence), newest last. state: starting, preparing, running, waiting or stopped.
    restarts: how often worker and device were lost. device: what the audio process said when it opened it.
    """

    def __init__(
        self,
        settings: LiveSettings,
        tell: Callable[[str], None] | None = None,
        opened: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Raises InputError for a model that does not exist, or cannot move the gate that is asked for.

        tell: gets every event's sentence. opened: gets what the audio process says whenever it has opened the device,
        before sound runs; both are called by the watchdog.
        """
        self.settings = settings
        self.model: Model = load(settings.model)
        if settings.gate is not None:
            check_gate(self.model.spec)
        self.state = "stopped"
        self.events: deque[tuple[float, str]] = deque(maxlen=200)
        self.restarts = {"worker": 0, "device": 0}
        self.device: dict[str, Any] = {}
        self.portable = sys.platform != "linux" if settings.portable is None else settings.portable
        self.opened = opened or (lambda _: None)
        self._tell = tell
        self._slack = settings.slack or DEFAULT_SLACK
        self._stopping = False

    # Beginning and end

    def start(self, patience: float = 60.0) -> None:
        """Open everything and return when sound runs.

        Raises InputError or RtsepError when the devices cannot be opened, or not within ``patience`` seconds.
        """
        spec = self.model.spec
        late = spec.algorithmic_latency * MAX_RATE // spec.sample_rate  # what the dry sound waits for is kept as well
        self.block = Block.create(
            self.settings.channels, self.settings.ring or ring_length(max(8 * MAX_BLOCK, 2 * MAX_BLOCK + late))
        )
        self._began = time.monotonic()
        if not self.portable:
            self.block.head[b.EVENT] = os.eventfd(0)  # type: ignore[attr-defined,unused-ignore]
        self.block.head[b.COPY] = int(self.settings.copy)
        self.set_strength(self.settings.strength)
        if (gate := self.settings.gate) is not None:
            self.block.gains[b.GATE_FLOOR : b.GATE_BACK + 1] = gate.floor, gate.open, gate.hold, gate.lookback
        if self.settings.muted:
            self.block.gains[b.LOUD] = self.block.gains[b.LOUD_AIM] = 0.0
        self.state = "starting"
        self.crew = Crew(self.settings, self.model, self.block, self.portable)
        self._watchdog = Watchdog(self)
        self._watchdog.start()
        end = time.monotonic() + patience
        while self.state != "running":
            if self._watchdog.refusal is not None or time.monotonic() > end:
                refusal = self._watchdog.refusal or RtsepError("The sound did not start in time; try `rtsep doctor`.")
                self.stop()
                raise refusal
            time.sleep(0.01)

    def stop(self) -> None:
        """Fade out, end both processes, give the memory back. Twice is as good as once."""
        if self._stopping or self.state == "stopped":
            return
        self._stopping = True
        if self.state == "running":
            self.block.gains[b.LOUD_STEP] = 1.0 / (0.020 * self.block.head[b.RATE])
            self.block.gains[b.LOUD_AIM] = 0.0
            time.sleep(0.05)
        self._watchdog.stop()
        self.block.head[b.STOP] = 1
        self.crew.wake()
        self.crew.dismiss()
        self.state = "stopped"
        if self.block.head[b.EVENT] >= 0:
            os.close(int(self.block.head[b.EVENT]))
        self.block.close()

    def __enter__(self) -> Live:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # What a person turns

    def set_strength(self, strength: float | None) -> None:
        """Most attenuation in dB, None for no limit; ramped by the stream."""
        self.block.gains[b.STRENGTH] = np.nan if strength is None else strength
        self.block.head[b.TURN] += 1

    def bypass(self, on: bool) -> None:
        """Play the dry signal instead, delayed just as much, crossfaded within 20 ms; off also tries again."""
        if not on:
            self._watchdog.forgive()
        self.block.head[b.PAUSE] = 0
        self.block.gains[b.BYPASS_AIM] = 1.0 if on else 0.0

    @property
    def bypassed(self) -> bool:
        return bool(self.block.gains[b.BYPASS_AIM] == 1.0)

    def mute(self, on: bool, seconds: float = 0.5) -> None:
        """Fade to silence or back, within ``seconds`` for the whole way."""
        self.block.gains[b.LOUD_STEP] = 1.0 / max(1.0, seconds * self.block.head[b.RATE])
        self.block.gains[b.LOUD_AIM] = 0.0 if on else 1.0

    def set_slack(self, slack: int) -> None:
        """Another number of block periods of slack, joined without a step."""
        self._slack = slack
        self.block.head[b.DELAY] = slack * self.block.head[b.BLOCK]

    @property
    def slack(self) -> int:
        return self._slack

    @property
    def added_samples(self) -> int:
        """Delay over an empty pass-through, samples at the output's rate: stream latency + slack x block.

        The gate's look-back is part of the stream's latency. With two clocks also what is meant to lie between them;
        that is set right when it is off by more than a block.
        """
        head = self.block.head
        bridge = round(int(head[b.TARGET]) * int(head[b.RATE]) / int(head[b.IN_RATE])) if head[b.TWO] else 0
        return int(head[b.LATENCY] + head[b.DELAY]) + bridge

    @property
    def processes(self) -> dict[str, int | None]:
        """Process numbers of the children."""
        audio, worker = self.crew.audio, self.crew.worker
        return {"audio": audio.pid if audio else None, "worker": worker.pid if worker else None}

    # What there is to see

    def say(self, sentence: str) -> None:
        """Remember an event, and tell it."""
        self.events.append((time.monotonic() - self._began, sentence))
        if self._tell is not None:
            self._tell(sentence)

    def status(self) -> dict[str, Any]:
        """Counters since the start, latency and levels now, and compute over the last seconds."""
        return snapshot(self)
