"""A live session: the engine, its view, its keys, a recorder and a feedback detector, in one loop."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from rtsep.errors import InputError, RtsepError
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.feedback_detector import SIZE, FeedbackDetector
from rtsep.live.recorder import Recorder
from rtsep.live.ui.keys import DOWN, UP, Keys
from rtsep.live.ui.stop_signals import StopSignals
from rtsep.live.ui.views import ShownUntilBroken, View

STEP_DB = 3.0
MOST_DB = 30.0  # the step above is no limit
_LOOK_S = 0.1


class LiveSession:
    """``run`` returns when q is pressed, a signal comes or ``seconds`` are over."""

    def __init__(
        self,
        settings: LiveSettings,
        view: View,
        record: str | None = None,
        monitor: bool = False,
        opened: Callable[[dict[str, Any]], None] | None = None,
        quit: threading.Event | None = None,
        keyboard: bool = True,
        greeting: str | None = None,
    ) -> None:
        """record: folder to record to from the start. monitor: fade in from mute, and mute when there is feedback.

        opened: see LiveEngine. quit: ends the session when it is set, from before it began. keyboard: whether the
        terminal's keys are listened to. greeting: what to tell once sound runs.
        """
        self._quit = quit or threading.Event()
        self.view = ShownUntilBroken(view, self._quit)
        self.engine = LiveEngine(settings, tell=self.view.tell, opened=opened, quit=self._quit)
        self._folder, self._greeting = record, greeting
        self._detector = FeedbackDetector() if monitor else None
        self._recorder: Recorder | None = None
        self._keys = Keys(keyboard)
        self._actions: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def run(self, seconds: float | None = None) -> None:
        """Raises InputError or RtsepError when the sound cannot be started."""
        try:
            with StopSignals(self._quit), self.engine, self._keys as keys:
                try:
                    self._loop(keys, None if seconds is None else time.monotonic() + seconds)
                finally:
                    self.record(False)
        finally:
            self.view.close()

    def _loop(self, keys: Keys, end: float | None) -> None:
        if self._quit.is_set():
            return
        if self._greeting is not None:
            self.view.tell(self._greeting)
        if self._detector is not None:
            self.engine.mute(False)
        if self._folder is not None:
            self.record(True)
        while not self._quit.wait(_LOOK_S) and (end is None or time.monotonic() < end):
            for key in keys.pressed():
                self.press(key)
            self._act()
            self.view.show({**self.engine.status(), "recording": self._recorder is not None})
            self._pull()
            if self._detector is not None and not self.engine.muted:
                self._listen_for_feedback(self._detector)

    def microphone_moved(self, settings: dict[str, Any]) -> None:
        """The input is another device now, to which ``settings`` lead; from any thread."""
        self.engine.input_moved(settings)
        self.do(lambda: self.view.tell(f"The microphone is {settings['labels'][0]} now."))

    def do(self, action: Callable[[], None]) -> None:
        """Have ``action`` done by the thread that runs the session, as keys are; from any thread."""
        self._actions.put(action)

    def _act(self) -> None:
        while not self._actions.empty():
            try:
                self._actions.get()()
            except RtsepError as error:
                self.view.tell(str(error))

    def press(self, key: str) -> None:
        """What a key does."""
        engine = self.engine
        if key == "q":
            self._quit.set()
        elif key == "b":
            engine.bypass(not engine.bypassed)
        elif key in (UP, DOWN):
            engine.set_strength(next_strength(engine.status()["strength"], 1 if key == UP else -1))
        elif key == "0":
            try:
                engine.set_slack(0)
            except InputError as error:
                self.view.tell(str(error))
        elif key == "m":
            engine.mute(not engine.muted)
        elif key == "r":
            self.do(lambda: self.record(self._recorder is None))

    def record(self, on: bool, folder: str | None = None) -> None:
        """Begin (in ``folder``, else where the session was told to) or end recording; tells where.

        Raises InputError when it cannot begin.
        """
        recorder = self._recorder
        if recorder is not None and not on:
            self._recorder = None
            try:
                recorder.close()
            except RtsepError as error:
                self.view.tell(f"The recording ended early: {error}")
            self.view.tell(f"Recorded {recorder.summary}.")
        elif on and recorder is None:
            self._recorder = Recorder(self.engine, folder or self._folder or ".")

    def _pull(self) -> None:
        if self._recorder is None:
            return
        try:
            self._recorder.pull()
        except RtsepError as error:  # the sound goes on without
            recorder, self._recorder = self._recorder, None
            self.view.tell(f"The recording ended: {error} What was recorded before is in {recorder.summary}.")

    def _listen_for_feedback(self, detector: FeedbackDetector) -> None:
        block = self.engine.block
        end = block.state.position
        if end >= SIZE and detector.detects(block.samples_before(block.played, end, SIZE)[:, 0]):
            self.engine.mute(True, seconds=0.01)
            self.view.tell(
                "The loudspeaker fed back into the microphone and was muted; turn it down, then press m to hear it "
                "again."
            )


def next_strength(strength: float | None, direction: int) -> float | None:
    """The next strength up or down, in dB; None is no limit."""
    if strength is None:
        return None if direction > 0 else MOST_DB
    following = strength + direction * STEP_DB
    return None if following > MOST_DB else max(0.0, following)
