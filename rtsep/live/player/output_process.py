"""The audio process of a player: an output and nothing else, on its own because PortAudio may hang or abort.

``python -m rtsep.live.player.output_process HANDLE SETTINGS`` opens the device, says so on standard output (a JSON
object a line) and
sleeps until the shared block, or the parent's end, tells it to stop. All sound happens in the compiled callback.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

from rtsep.errors import RtsepError
from rtsep.live.backends import realtime
from rtsep.live.backends.audio_process import say, serve
from rtsep.live.backends.player_callback import compile_callback
from rtsep.live.backends.shared_state import CALLBACKS, FRAMES, OUT_CHANNELS, STOP, Block
from rtsep.live.routing.devices import Device, block_size, find, listed, open_portaudio

_PATIENCE_S = 5.0  # until the first callbacks must have come


def run(handle: str, settings: dict[str, Any]) -> None:
    """Open, report, and sleep until told to stop. Raises RtsepError when the device cannot be opened."""
    block = Block.attach(handle)
    head = block.head
    callback = compile_callback()  # before there is a stream to be late for
    realtime.lock_memory()
    sounddevice = open_portaudio(settings["client"])
    target = find(listed(sounddevice), settings["output"], "output")
    channels = min(2, target.outputs)
    head[OUT_CHANNELS] = channels
    rate = _rate(sounddevice, settings["rate"], target, channels)
    before = int(head[CALLBACKS])
    try:
        stream = sounddevice._StreamBase(
            "output",
            samplerate=rate,
            blocksize=block_size(settings["block"], target, target),
            device=target.index,
            channels=channels,
            dtype="float32",
            latency="low",
            callback=sounddevice._ffi.cast("PaStreamCallback*", callback.address),
            userdata=sounddevice._ffi.cast("void*", head.ctypes.data),
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        reason = str(error).partition(" [")[0]
        raise RtsepError(f"{target} cannot be opened ({reason}); choose another with --output.") from None
    frames = _first(head, before)
    say("opened", output=target.name, host=target.host, rate=rate, block=frames, channels=channels, pid=os.getpid())
    realtime.still_garbage()
    while not head[STOP]:
        time.sleep(0.02)
    closing = threading.Thread(target=lambda: (stream.abort(), stream.close()), daemon=True)
    closing.start()
    closing.join(1.0)  # for ever, when the server has died


def _rate(sounddevice: Any, wanted: int, target: Device, channels: int) -> int:
    """``wanted`` Hz where the device takes it, else its own rate."""
    try:
        sounddevice.check_output_settings(target.index, channels, "float32", samplerate=wanted)
    except (sounddevice.PortAudioError, ValueError):
        return target.rate
    return wanted


def _first(head: Any, before: int) -> int:
    """Frames of a callback, once two came."""
    end = time.monotonic() + _PATIENCE_S
    while head[CALLBACKS] < before + 2:
        if time.monotonic() > end:
            raise RtsepError("The device was opened but plays nothing; close other programs that use it.")
        time.sleep(0.001)
    return int(head[FRAMES])


if __name__ == "__main__":
    serve(run, sys.argv[1:])
