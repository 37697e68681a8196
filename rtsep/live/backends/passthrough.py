"""An empty pass-through: the least that a sound program can do, and so what machine and PortAudio cost by themselves.

``python -m rtsep.live.backends.passthrough HANDLE INPUT OUTPUT RATE CLIENT`` opens the devices like the audio
process does, with a
compiled callback that copies its input and writes down when it ran. What rtsep adds, in delay and in jitter, is held
against it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
from numba import carray

from rtsep.engine.numba_cache import c_function
from rtsep.errors import RtsepError
from rtsep.live.backends import realtime
from rtsep.live.backends.audio_process import say
from rtsep.live.backends.callback import STREAM_CALLBACK, clock
from rtsep.live.backends.shared_state import (
    AT,
    BEAT,
    BEGAN,
    CALLBACKS,
    COUNT,
    ENDED,
    GAINS,
    HEAD,
    LOG,
    ROWS,
    SCRATCH,
    STOP,
    Block,
)
from rtsep.live.child_processes import child_environment
from rtsep.live.routing.devices import block_size, listed, open_portaudio, pair


def _through(source, target, frames, times, status, user):
    head = carray(user, (HEAD,), np.int64)
    words = carray(user, (HEAD + GAINS + head[ROWS] * LOG,), np.int64)
    calls = words[HEAD + GAINS :].reshape((head[ROWS], LOG))
    now = clock(head[SCRATCH : SCRATCH + 2], carray(times, (3,), np.float64))
    sound, out = carray(source, (frames,), np.float32), carray(target, (frames,), np.float32)
    for i in range(frames):
        out[i] = sound[i]
    row = head[CALLBACKS] % head[ROWS]
    calls[row, BEGAN] = now
    calls[row, ENDED] = clock(head[SCRATCH : SCRATCH + 2], carray(times, (3,), np.float64))
    calls[row, COUNT] = frames
    calls[row, AT] = 1
    head[CALLBACKS] += 1
    head[BEAT] = now
    return 0


def run(handle: str, wanted_input: str | None, wanted_output: str | None, rate: int, client: str) -> None:
    """Pass sound through until the block says stop."""
    head = Block.attach(handle).head
    callback = c_function(_through, STREAM_CALLBACK)
    sounddevice = open_portaudio(client)
    source, target = pair(listed(sounddevice), wanted_input, wanted_output)
    stream = sounddevice._StreamBase(
        "duplex",
        samplerate=rate,
        blocksize=block_size(None, source, target),
        device=(source.index, target.index),
        channels=1,
        dtype="float32",
        latency="low",
        callback=sounddevice._ffi.cast("PaStreamCallback*", callback.address),
        userdata=sounddevice._ffi.cast("void*", head.ctypes.data),
    )
    stream.start()
    say("opened", input=source.name, output=target.name, host=source.host)
    while not head[STOP]:
        time.sleep(0.02)


class Through:
    """The process above, as long as ``with`` lasts; ``block`` holds its log. Raises RtsepError if it cannot open."""

    def __init__(
        self, rate: int, wanted_input: str = "", wanted_output: str = "", client: str = "rtsep-through"
    ) -> None:
        self._arguments = (wanted_input, wanted_output, str(rate), client)
        self.client = client

    def __enter__(self) -> Through:
        self.block = Block.create()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "rtsep.live.backends.passthrough", self.block.handle, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
            pass_fds=self.block.descriptors if os.name == "posix" else (),
        )
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        message = json.loads(line) if line else {"event": "error", "sentence": "The pass-through did not start."}
        if message["event"] == "error":
            self.__exit__()
            raise RtsepError(message["sentence"])
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()  # it has nothing to lose
        self._child.communicate()
        self.block.close()


def _main(arguments: list[str]) -> None:
    realtime.die_with_parent(sys.stdin.buffer)
    handle, wanted_input, wanted_output, rate, client = arguments
    try:
        run(handle, wanted_input or None, wanted_output or None, int(rate), client)
    except RtsepError as error:
        say("error", sentence=str(error), code=error.exit_code)
    os._exit(0)  # like the audio process


if __name__ == "__main__":
    _main(sys.argv[1:])
