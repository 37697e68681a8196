"""An empty pass-through: the least that a sound program can do, and so what machine and PortAudio cost alone."""

from __future__ import annotations

import time

from rtsep.errors import RtsepError
from rtsep.live.backends.shared_state import SharedBlock
from rtsep.live.engine.processes import PASSTHROUGH, Children

_PATIENCE_S = 60.0


class PassThrough:
    """An audio process with an empty callback, as long as ``with`` lasts; ``block`` holds its log.

    Raises RtsepError if the devices cannot be opened.
    """

    def __init__(
        self, rate: int, wanted_input: str = "", wanted_output: str = "", client: str = "rtsep-through"
    ) -> None:
        """rate: Hz. wanted_input, wanted_output: as for LiveSettings, "" is the default. client: name for JACK."""
        self._settings = {
            "callback": PASSTHROUGH,
            "input": wanted_input or None,
            "output": wanted_output or None,
            "rate": rate,
            "block": None,
            "client": client,
        }

    def __enter__(self) -> PassThrough:
        self.block = SharedBlock.create()
        self._children = Children(self.block)
        self._children.start_audio(self._settings)
        sentence, end = "The pass-through did not start.", time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            while self._children.messages:
                _, message = self._children.messages.popleft()
                if message["event"] == "opened":
                    return self
                if message["event"] == "error":
                    sentence, end = message["sentence"], 0.0
            if self._children.audio is not None and self._children.audio.poll() is not None:
                self._children.wait_for_last_messages()
                end = min(end, time.monotonic() + 0.1)
            time.sleep(0.005)
        self.__exit__()
        raise RtsepError(sentence)

    def __exit__(self, *_: object) -> None:
        self._children.end_audio()  # it has nothing to lose
        self.block.close()
