"""The audio process: owns PortAudio and nothing else, because PortAudio may hang or abort when a server goes away.

``python -m rtsep.live.backends.audio_process HANDLE SETTINGS`` opens the devices, says so on standard output (a JSON
object a line) and
sleeps until the shared block, or the parent's end, tells it to stop. All sound happens in the compiled callback.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from rtsep.errors import RtsepError
from rtsep.live import worker
from rtsep.live.backends import realtime
from rtsep.live.backends.callback import compile_callback
from rtsep.live.backends.clock_bridge import LEAST_MARGIN_S, nominal_rate
from rtsep.live.backends.clock_drift import table
from rtsep.live.backends.shared_state import (
    ARRIVALS,
    CALLBACKS,
    FRAMES,
    IN_CHANNELS,
    IN_FRAMES,
    IN_RATE,
    MARGIN,
    OUT_CHANNELS,
    STOP,
    TWO,
    Block,
)
from rtsep.live.routing.devices import Device, block_size, listed, open_portaudio, pair, two_clocks

_PATIENCE_S = 15.0  # until the first callbacks must have come
_STEADY = 4  # callbacks of one size that settle what the block is


def say(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def rate_for(sounddevice: Any, wanted: int, kind: str, device: Device, channels: int) -> int:
    """``wanted`` Hz where the device takes it as ``kind`` (input or output), else the device's own rate."""
    check = getattr(sounddevice, f"check_{kind}_settings")
    try:
        check(device.index, channels, "float32", samplerate=wanted)
    except (sounddevice.PortAudioError, ValueError):
        return device.rate
    return wanted


class Streams:
    """PortAudio's streams for one Live: one for both ends, or, where they have clocks of their own, one for each."""

    def __init__(self, sounddevice: Any, block: Block, source: Device, target: Device, settings: dict[str, Any]):
        """Open them, without starting. Raises RtsepError when that fails."""
        self._sounddevice, self._block = sounddevice, block
        self.source, self.target = source, target
        self.channels = (min(block.channels, source.inputs), min(2, target.outputs))
        block.head[IN_CHANNELS], block.head[OUT_CHANNELS] = self.channels
        self.two = two_clocks(source, target)
        wanted = settings["rate"]
        rates = [
            rate_for(sounddevice, wanted, kind, device, channels)
            for kind, device, channels in zip(("input", "output"), (source, target), self.channels, strict=True)
        ]
        self._kept: list[Any] = []  # callbacks live as long as PortAudio may call them
        try:
            if self.two:
                self.rate = nominal_rate(rates[1])
                self._bridge(nominal_rate(rates[0]))
                self.streams = [
                    self._open("output", rates[1], block_size(settings["block"], target, target), target, 1),
                    self._open("input", rates[0], block_size(settings["block"], source, source), source, 0),
                ]
            else:
                self.rate = wanted if rates == [wanted, wanted] else target.rate
                size = block_size(settings["block"], source, target)
                self.streams = [self._open("duplex", self.rate, size, (source, target), None)]
        except (sounddevice.PortAudioError, ValueError) as error:
            raise self._refused(error) from None
        block.head[TWO] = int(self.two)

    def _bridge(self, rate: int) -> None:
        """What the callbacks have to know; the output's rate is the parent's to set, who must see that it changed."""
        head = self._block.head
        head[IN_RATE], head[MARGIN] = rate, round(LEAST_MARGIN_S * rate)
        self._block.taps[:] = table(rate / self.rate)

    def _open(self, kind: str, rate: int, size: int, device: Any, end: int | None) -> Any:
        ffi, head = self._sounddevice._ffi, self._block.head
        callback = compile_callback(catching=kind == "input")
        self._kept.append(callback)
        stream = self._sounddevice._StreamBase(
            kind,
            samplerate=rate,
            blocksize=size,
            device=device.index if end is not None else tuple(one.index for one in device),
            channels=self.channels if end is None else self.channels[end],
            dtype="float32",
            latency="low",
            callback=ffi.cast("PaStreamCallback*", callback.address),
            userdata=ffi.cast("void*", head.ctypes.data),
        )
        one = device[0] if end is None else device
        # On any other host's stream it would write anywhere. And a plugin such as PulseAudio's, waited for at real-time
        # priority, may never get the time to answer.
        if one.host == "ALSA" and "(hw:" in one.name:
            realtime.hasten(self._sounddevice, stream)
        return stream

    def start(self) -> None:
        """Raises RtsepError when the devices refuse."""
        try:
            for stream in self.streams:
                stream.start()
        except self._sounddevice.PortAudioError as error:
            raise self._refused(error) from None

    def close(self) -> None:
        for stream in self.streams:
            stream.abort()
            stream.close()

    def _refused(self, error: Exception) -> RtsepError:
        reason = str(error).partition(" [")[0]
        return RtsepError(f"{self.source} and {self.target} cannot be opened together ({reason}); choose others.")


def run(handle: str, settings: dict[str, Any]) -> None:
    """Open, report, and sleep until told to stop. Raises RtsepError when the devices cannot be opened."""
    block = Block.attach(handle)
    head = block.head
    compile_callback()  # before there is a stream to be late for
    realtime.lock_memory()
    sounddevice = open_portaudio(settings["client"])
    streams = Streams(sounddevice, block, *pair(listed(sounddevice), settings["input"], settings["output"]), settings)
    if settings["model"]:  # the portable way: the worker is a thread of this process
        worker.thread(block, settings["model"])
    before = int(head[CALLBACKS]), int(head[ARRIVALS])
    streams.start()
    frames = _settle(head, CALLBACKS, FRAMES, before[0])
    if streams.two:
        _settle(head, ARRIVALS, IN_FRAMES, before[1])
    say(
        "opened",
        input=streams.source.name,
        output=streams.target.name,
        host=streams.target.host,
        two=streams.two,
        rate=streams.rate,
        block=frames,
        channels=streams.channels,
        pid=os.getpid(),
    )
    realtime.still_garbage()
    while not head[STOP]:
        time.sleep(0.05)
    closing = threading.Thread(target=streams.close, daemon=True)
    closing.start()
    closing.join(1.0)  # for ever, when the server has died


def _settle(head: Any, callbacks: int, size: int, before: int) -> int:
    """Frames a callback, once several in a row had as many; callbacks, size: words that count and measure them."""
    end = time.monotonic() + _PATIENCE_S
    seen, last, steady = before, 0, 0
    while time.monotonic() < end:
        count, frames = int(head[callbacks]), int(head[size])
        if count > seen:
            steady = steady + 1 if frames == last else 1
            seen, last = count, frames
            if steady >= _STEADY:
                return frames
        time.sleep(0.001)
    if last:
        return last
    raise RtsepError("The device was opened but gives no sound; close other programs that use it, or choose another.")


def serve(work: Callable[[str, dict[str, Any]], None], arguments: list[str]) -> None:
    """The life of a process that holds PortAudio: ``work`` with handle and settings, one sentence if it fails, no end.

    No end: PortAudio's own may hang or abort; the system closes everything just as well.
    """
    realtime.die_with_parent(sys.stdin.buffer)
    try:
        work(arguments[0], json.loads(arguments[1]))
        code = 0
    except RtsepError as error:
        say("error", sentence=str(error), code=error.exit_code)
        code = error.exit_code
    except Exception as error:
        say("error", sentence=f"The sound system failed ({type(error).__name__}: {error}).", code=1)
        code = 1
    os._exit(code)


if __name__ == "__main__":
    serve(run, sys.argv[1:])
