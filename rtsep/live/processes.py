"""The crew of a live session: its audio process and its worker process, started, listened to and ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from typing import Any

from rtsep.live.backends import shared_state as b
from rtsep.live.backends.shared_state import Block
from rtsep.live.child_processes import child_environment, end
from rtsep.live.settings import LiveSettings
from rtsep.model import Model


class Crew:
    """Both children of one Live. Only one thread at a time starts and ends them: Live's, then the watchdog's.

    audio, worker: the processes, None where there is none. messages: what the audio process has said, oldest first.
    """

    def __init__(self, settings: LiveSettings, model: Model, block: Block, portable: bool) -> None:
        """portable: the worker is a thread of the audio process, so that there is no worker process."""
        self._settings, self._model, self._block, self._portable = settings, model, block, portable
        self.audio: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None
        self.messages: deque[dict[str, Any]] = deque()

    def start_worker(self) -> None:
        if self._portable:
            return
        self._block.head[b.EPOCH_READY] = 0
        self.worker = self._spawn("worker", self._block.handle, str(self._model.path))

    def end_worker(self) -> None:
        if self.worker is not None:
            end(self.worker, 0.0)
        self.worker = None

    def start_audio(self, source: str | None, target: str | None) -> None:
        """source, target: the devices to open, by name, part of it or number; None is the default."""
        settings = {
            "input": source,
            "output": target,
            "rate": self._model.spec.sample_rate,
            "block": self._settings.block,
            "client": self._settings.client,
            "model": str(self._model.path) if self._portable else None,
        }
        self.audio = self._spawn("audio", self._block.handle, json.dumps(settings))
        self._listener = threading.Thread(target=self._listen, args=(self.audio,), daemon=True, name="listener")
        self._listener.start()

    def end_audio(self) -> None:
        if self.audio is not None:
            end(self.audio, 0.0)
        self.audio = None

    def last_words(self) -> None:
        """Wait until what an audio process said before it ended has been heard."""
        self._listener.join(1.0)

    def dismiss(self, patience: float = 1.5) -> None:
        """End both; they have been told to stop."""
        for process in (self.audio, self.worker):
            if process is not None:
                end(process, patience)

    def wake(self) -> None:
        """Make a sleeping worker look around."""
        if self._block.head[b.EVENT] >= 0:
            os.eventfd_write(int(self._block.head[b.EVENT]), 1)  # type: ignore[attr-defined,unused-ignore]

    def _spawn(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        descriptors = list(self._block.descriptors)
        if self._block.head[b.EVENT] >= 0:
            descriptors.append(int(self._block.head[b.EVENT]))
        audio, settings = module == "audio", self._settings
        return subprocess.Popen(
            [*(settings.launcher if audio else ()), sys.executable, "-m", f"rtsep.live.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if audio else subprocess.DEVNULL,
            stderr=None if os.environ.get("RTSEP_DEBUG") else subprocess.DEVNULL,  # ALSA chatters there
            env=child_environment() | (dict(settings.environment) if audio else {}),
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
                if process is self.audio:
                    self.messages.append(message)
