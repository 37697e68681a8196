"""The audio process: owns PortAudio and nothing else, because PortAudio may hang or abort when a server goes away.

``python -m rtsep.live.audio HANDLE SETTINGS`` opens the devices, says so on standard output (a JSON object a line) and
sleeps until the shared block, or the parent's end, tells it to stop. All sound happens in the compiled callback.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

from rtsep.errors import RtsepError
from rtsep.live import realtime, worker
from rtsep.live.block import CALLBACKS, FRAMES, IN_CHANNELS, OUT_CHANNELS, STOP, Block
from rtsep.live.callback import compile_callback
from rtsep.live.devices import Device, block_size, listed, open_portaudio, pair

_PATIENCE_S = 5.0  # until the first callbacks must have come
_STEADY = 4  # callbacks of one size that settle what the block is


def say(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


def rate_for(sounddevice: Any, wanted: int, source: Device, target: Device, channels: tuple[int, int]) -> int:
    """``wanted`` Hz where both devices take it, else the output's own rate."""
    try:
        sounddevice.check_input_settings(source.index, channels[0], "float32", samplerate=wanted)
        sounddevice.check_output_settings(target.index, channels[1], "float32", samplerate=wanted)
    except (sounddevice.PortAudioError, ValueError):
        return target.rate
    return wanted


def run(handle: str, settings: dict[str, Any]) -> None:
    """Open, report, and sleep until told to stop. Raises RtsepError when the devices cannot be opened."""
    block = Block.attach(handle)
    head = block.head
    callback = compile_callback()  # before there is a stream to be late for
    realtime.lock_memory()
    sounddevice = open_portaudio(settings["client"])
    source, target = pair(listed(sounddevice), settings["input"], settings["output"])
    channels = (min(block.channels, source.inputs), min(2, target.outputs))
    head[IN_CHANNELS], head[OUT_CHANNELS] = channels
    rate = rate_for(sounddevice, settings["rate"], source, target, channels)
    if settings["model"]:  # the portable way: the worker is a thread of this process
        worker.thread(block, settings["model"])
    before = int(head[CALLBACKS])
    try:
        stream = sounddevice._StreamBase(
            "duplex",
            samplerate=rate,
            blocksize=block_size(settings["block"], source, target),
            device=(source.index, target.index),
            channels=channels,
            dtype="float32",
            latency="low",
            callback=sounddevice._ffi.cast("PaStreamCallback*", callback.address),
            userdata=sounddevice._ffi.cast("void*", head.ctypes.data),
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        reason = str(error).partition(" [")[0]
        raise RtsepError(f"{source} and {target} cannot be opened together ({reason}); choose others.") from None
    frames = _settle(head, before)
    say(
        "opened",
        input=source.name,
        output=target.name,
        host=source.host,
        rate=rate,
        block=frames,
        channels=channels,
        pid=os.getpid(),
    )
    realtime.still_garbage()
    while not head[STOP]:
        time.sleep(0.05)
    closing = threading.Thread(target=lambda: (stream.abort(), stream.close()), daemon=True)
    closing.start()
    closing.join(1.0)  # for ever, when the server has died


def _settle(head: Any, before: int) -> int:
    """Frames a callback, once several in a row had as many."""
    end = time.monotonic() + _PATIENCE_S
    seen, last, steady = before, 0, 0
    while time.monotonic() < end:
        count, frames = int(head[CALLBACKS]), int(head[FRAMES])
        if count > seen:
            steady = steady + 1 if frames == last else 1
            seen, last = count, frames
            if steady >= _STEADY:
                return frames
        time.sleep(0.001)
    if last:
        return last
    raise RtsepError("The device was opened but gives no sound; close other programs that use it, or choose another.")


def _main(arguments: list[str]) -> None:
    realtime.die_with_parent(sys.stdin.buffer)
    try:
        run(arguments[0], json.loads(arguments[1]))
        code = 0
    except RtsepError as error:
        say("error", sentence=str(error), code=error.exit_code)
        code = error.exit_code
    except Exception as error:
        say("error", sentence=f"The sound system failed ({type(error).__name__}: {error}).", code=1)
        code = 1
    os._exit(code)  # PortAudio's own end may hang or abort; the system closes everything just as well


if __name__ == "__main__":
    _main(sys.argv[1:])
