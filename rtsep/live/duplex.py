"""Live: a running way from a microphone to a device, kept up by a watchdog.

>>> with Live(LiveSettings(model="denoise", output="virtual")) as live:
...     live.status()["late"]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtsep.errors import InputError, RtsepError
from rtsep.live import block as b
from rtsep.live.block import Block, ring_length
from rtsep.live.children import child_environment, end, how_ended
from rtsep.live.devices import OWN_NAME
from rtsep.live.governor import WINDOW_S, Governor
from rtsep.live.status import compute_ms, snapshot
from rtsep.model import Model, load

DEFAULT_SLACK = 2
MAX_BLOCK = 4096
_TICK_S = 0.05
_SILENT_S = 0.5  # without a callback for so long, the device is lost
_STUCK_S = 2.0  # without a result for so long, the worker is stuck
_AGAIN_S = 0.5  # between attempts to open a lost device
_SETTLE_S = 5.0  # after a worker was lost, before its speed is judged
_OPENING_S = 10.0  # that an attempt may take: PortAudio can hang when a server half exists


@dataclass(frozen=True)
class LiveSettings:
    """What a person chooses.

    model: name or path. input, output: device by name, part of it or number; None is the default at the start.
    strength: most attenuation in dB, None is no limit. block: frames to ask the device for (JACK decides itself).
    slack: block periods from handing a block over to playing its result; None is 2, and more when the machine is slow.
    portable: worker as a thread, no eventfd, no real-time priority; None is so outside Linux. ring: samples kept.
    muted: start muted; ``Live.mute(False)`` then fades in. environment, launcher: variables for and command before
    the audio process, as some sound servers need them. copy: leave the model out, for measurements.
    """

    model: str = "denoise"
    input: str | None = None
    output: str | None = None
    strength: float | None = None
    block: int | None = None
    slack: int | None = None
    channels: int = 1
    portable: bool | None = None
    ring: int | None = None
    client: str = OWN_NAME
    muted: bool = False
    copy: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    launcher: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.slack is not None and not 1 <= self.slack <= 16:
            raise InputError(f"slack is {self.slack}; it must be from 1 to 16 blocks.")
        if self.block is not None and not 16 <= self.block <= MAX_BLOCK:
            raise InputError(f"block is {self.block}; it must be from 16 to {MAX_BLOCK} frames.")
        if self.strength is not None and not 0 <= self.strength < float("inf"):
            raise InputError(f"strength is {self.strength}; it must be None or a number of dB from 0 up.")


class Live:
    """See the module. Every method may be called from any thread of the parent, and none waits for sound.

    events: (seconds since the start, sentence), newest last. state: starting, preparing, running, waiting or stopped.
    """

    def __init__(
        self,
        settings: LiveSettings,
        tell: Callable[[str], None] | None = None,
        opened: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Raises InputError for a model that does not exist.

        tell: gets every event's sentence. opened: gets what the audio process says whenever it has opened the device,
        before sound runs; both are called by the watchdog.
        """
        self.settings = settings
        self.model: Model = load(settings.model)
        self.state = "stopped"
        self.events: deque[tuple[float, str]] = deque(maxlen=200)
        self.restarts = {"worker": 0, "device": 0}
        self.device: dict[str, Any] = {}
        self._tell = tell
        self._opened = opened
        self._slack = settings.slack or DEFAULT_SLACK
        self._portable = sys.platform != "linux" if settings.portable is None else settings.portable
        self._audio: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._messages: deque[dict[str, Any]] = deque()
        self._refusal: RtsepError | None = None
        self._over = threading.Event()
        self._worker_back = 0.0
        self._governor = Governor(may_slack=settings.slack is None)
        self._pinned: tuple[str | None, str | None] = (settings.input, settings.output)

    # Beginning and end

    def start(self, patience: float = 30.0) -> None:
        """Open everything and return when sound runs.

        Raises InputError or RtsepError when the devices cannot be opened, or not within ``patience`` seconds.
        """
        self.block = Block.create(self.settings.channels, self.settings.ring or ring_length(8 * MAX_BLOCK))
        self._began = time.monotonic()
        if not self._portable:
            self.block.head[b.EVENT] = os.eventfd(0)  # type: ignore[attr-defined,unused-ignore]
        self.block.head[b.COPY] = int(self.settings.copy)
        self.set_strength(self.settings.strength)
        if self.settings.muted:
            self.block.gains[b.LOUD] = self.block.gains[b.LOUD_AIM] = 0.0
        self.state = "starting"
        self._start_worker()
        self._start_audio()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="watchdog")
        self._watcher.start()
        end = time.monotonic() + patience
        while self.state != "running":
            if self._refusal is not None or time.monotonic() > end:
                refusal = self._refusal or RtsepError("The sound did not start in time; try `rtsep doctor`.")
                self.stop()
                raise refusal
            time.sleep(0.01)

    def stop(self) -> None:
        """Fade out, end both processes, give the memory back. Twice is as good as once."""
        if self._over.is_set() or self.state == "stopped":
            return
        if self.state == "running":
            self.block.gains[b.LOUD_STEP] = 1.0 / (0.020 * self.block.head[b.RATE])
            self.block.gains[b.LOUD_AIM] = 0.0
            time.sleep(0.05)
        self._over.set()
        self._watcher.join()
        self.block.head[b.STOP] = 1
        self._wake()
        for process in (self._audio, self._worker):
            if process is not None:
                end(process, 1.5)
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
        """Delay over an empty pass-through, samples at the device's rate: stream latency + slack x block."""
        return int(self.block.head[b.LATENCY] + self.block.head[b.DELAY])

    @property
    def processes(self) -> dict[str, int | None]:
        """Process numbers of the children."""
        return {
            "audio": self._audio.pid if self._audio else None,
            "worker": self._worker.pid if self._worker else None,
        }

    # The watchdog: one thread, the only one that starts and ends processes once sound runs

    def _watch(self) -> None:
        while not self._over.wait(_TICK_S):
            try:
                self._tick(time.monotonic())
            except OSError as error:  # no process, no memory, no descriptors left: perhaps there are next time
                self._say(f"The watchdog could not act ({error.strerror or error}).")

    def _tick(self, now: float) -> None:
        head = self.block.head
        ended = self._audio is not None and self._audio.poll() is not None
        if ended:
            self._listener.join(1.0)  # its last words first
        while self._messages:
            self._hear_of(self._messages.popleft())
        if self._refusal is not None:
            return
        if self._worker is not None and self._worker.poll() is not None:
            self._worker_lost(f"The worker ended ({how_ended(self._worker)})")
        if self.state == "waiting":
            if self._audio is None and now >= self._again:
                self._start_audio()
            elif self._audio is not None and (ended or now >= self._again + _OPENING_S):
                self._end_audio()
        elif self._audio is None or ended:
            how = "" if self._audio is None else f" ({how_ended(self._audio)})"
            self._device_lost(f"The audio process ended{how}")
        elif self.state == "preparing" and head[b.EPOCH_READY] == head[b.EPOCH]:
            head[b.RUN] = 1
            self.state = "running"
            self._judged = (now, int(head[b.CALLBACKS]), int(head[b.LATE]))
            self._calls, self._runs = (int(head[b.CALLBACKS]), now), (int(head[b.RUNS]), now)
            if self.restarts["device"]:
                self._say(f"{self.device['input']} to {self.device['output']} is back.")
        elif self.state == "running":
            self._check(now)
        if self.state == "preparing":
            self._wake()  # a new epoch may be waiting for a worker that sleeps

    def _check(self, now: float) -> None:
        head = self.block.head
        if head[b.CALLBACKS] != self._calls[0]:
            self._calls = (int(head[b.CALLBACKS]), now)
        elif now - self._calls[1] > _SILENT_S:
            self._device_lost("No sound came any more")
            return
        if head[b.RUNS] != self._runs[0] or head[b.PAUSE] or head[b.WRITTEN] - head[b.DONE] < head[b.BLOCK]:
            self._runs = (int(head[b.RUNS]), now)
        elif now - self._runs[1] > _STUCK_S:
            self._runs = (int(head[b.RUNS]), now)
            if self._worker is None:  # a thread of the audio process cannot be ended alone
                self._device_lost("The worker was stuck")
            else:
                self._worker_lost("The worker was stuck")
        if head[b.FRAMES] != head[b.BLOCK] and head[b.MISFITS] > self._misfits + 20:
            self._say(f"The device now works in blocks of {head[b.FRAMES]} frames.")
            self._configure(int(head[b.RATE]), int(head[b.FRAMES]))
        elif now - self._judged[0] > WINDOW_S and not head[b.PAUSE] and not self.bypassed:
            self._judge(now)

    def _judge(self, now: float) -> None:
        """Too slow a machine: more slack, then the dry signal. A worker not yet back is no slow machine."""
        block, head = self.block, self.block.head
        if head[b.EPOCH_READY] != head[b.EPOCH] or now - self._worker_back < _SETTLE_S:
            self._governor.forget()
            self._judged = (now, int(head[b.CALLBACKS]), int(head[b.LATE]))
            return
        calls, late = int(head[b.CALLBACKS]), int(head[b.LATE])
        share = (late - self._judged[2]) / max(1, calls - self._judged[1])
        runs = compute_ms(block, max(1, calls - self._judged[1]))
        block_ms = 1000 * head[b.BLOCK] / head[b.RATE]
        verdict = self._governor.judge(runs, block_ms, self._slack, share)
        self._judged = (now, calls, late)
        if verdict == "slack":
            self.set_slack(self._slack + 1)
            added = 1000 * self.added_samples / head[b.RATE]
            self._say(f"This machine is slow for the model; slack is now {self._slack} and the delay {added:.1f} ms.")
        elif verdict == "bypass":
            self.bypass(True)
            head[b.PAUSE] = 1
            self._say("This machine is too slow for the model; the dry signal plays (press b to try again).")

    def _hear_of(self, message: dict[str, Any]) -> None:
        if message["event"] == "opened":
            self.device = message
            self._pinned = (message["input"], message["output"])
            if self._opened is not None:
                try:
                    self._opened(message)
                except RtsepError as error:
                    self._say(str(error))
            self._configure(message["rate"], message["block"])
        elif message["event"] == "error" and self.state == "starting":
            kind = InputError if message["code"] == InputError.exit_code else RtsepError
            self._refusal = kind(message["sentence"])

    def _configure(self, rate: int, size: int) -> None:
        """Set what the device turned out to be; a worker whose stream no longer fits makes another."""
        head = self.block.head
        fits = head[b.RATE] == rate and head[b.BLOCK] == size and not self._portable
        head[b.RUN] = 0
        self.block.configure(rate, size, self._slack * size)
        self._misfits = int(head[b.MISFITS])
        if not fits:
            head[b.EPOCH] += 1
        self.state = "preparing"
        self._wake()

    def _device_lost(self, why: str) -> None:
        names = f" ({self.device['input']} to {self.device['output']})" if self.device else ""
        if self.state == "starting":
            self._refusal = RtsepError(f"The sound could not be started: {why}.")
            return
        self._say(f"{why}; the sound device{names} is opened again as soon as it is back.")
        self.block.head[b.RUN] = 0
        self.restarts["device"] += 1
        self.state = "waiting"
        self._end_audio()

    def _end_audio(self) -> None:
        if self._audio is not None:
            end(self._audio, 0.0)
        self._audio = None
        self._again = time.monotonic() + _AGAIN_S

    def _worker_lost(self, why: str) -> None:
        if self.state == "starting":
            self._refusal = RtsepError(f"{why} before it began; see whether `rtsep bench step` runs.")
            return
        self._say(f"{why}; the dry signal plays until it is back.")
        self.restarts["worker"] += 1
        self._worker_back = time.monotonic()
        if self._worker is not None:
            end(self._worker, 0.0)
        self._start_worker()

    def _start_worker(self) -> None:
        if self._portable:
            return
        self.block.head[b.EPOCH_READY] = 0
        self._worker = self._spawn("worker", self.block.handle, str(self.model.path))

    def _start_audio(self) -> None:
        settings = {
            "input": self._pinned[0],
            "output": self._pinned[1],
            "rate": self.model.spec.sample_rate,
            "block": self.settings.block,
            "client": self.settings.client,
            "model": str(self.model.path) if self._portable else None,
        }
        self._audio = self._spawn("audio", self.block.handle, json.dumps(settings))
        self._listener = threading.Thread(target=self._listen, args=(self._audio,), daemon=True, name="listener")
        self._listener.start()

    def _spawn(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        descriptors = list(self.block.descriptors)
        if self.block.head[b.EVENT] >= 0:
            descriptors.append(int(self.block.head[b.EVENT]))
        audio = module == "audio"
        return subprocess.Popen(
            [*(self.settings.launcher if audio else ()), sys.executable, "-m", f"rtsep.live.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if audio else subprocess.DEVNULL,
            stderr=None if os.environ.get("RTSEP_DEBUG") else subprocess.DEVNULL,  # ALSA chatters there
            env=child_environment() | (dict(self.settings.environment) if audio else {}),
            pass_fds=descriptors if os.name == "posix" else (),
            start_new_session=os.name == "posix",  # Ctrl-C is for the parent, which ends them in order
        )

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                try:
                    message = json.loads(line)
                except ValueError:
                    continue  # a library's chatter
                if process is self._audio:
                    self._messages.append(message)

    def _wake(self) -> None:
        if self.block.head[b.EVENT] >= 0:
            os.eventfd_write(int(self.block.head[b.EVENT]), 1)  # type: ignore[attr-defined,unused-ignore]

    def _say(self, sentence: str) -> None:
        self.events.append((time.monotonic() - self._began, sentence))
        if self._tell is not None:
            self._tell(sentence)

    # What there is to see

    def status(self) -> dict[str, Any]:
        """Counters since the start, latency and levels now, and compute over the last seconds."""
        return snapshot(self)
