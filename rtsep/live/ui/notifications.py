"""Notifications on the desktop when there is no clean sound, for sessions whose view nobody looks at."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from rtsep.errors import RtsepError
from rtsep.live.ui.views import Status, View

PATIENCE_S = 3.0  # of trouble before anybody is bothered with it
GOOD = "The clean sound is back."


def notify(sentence: str) -> None:
    """Show ``sentence`` by notify-send, where that is (libnotify); in the place of the one that is still shown."""
    program = shutil.which("notify-send")
    if program is None:
        return
    words = ["--app-name=rtsep", "--icon=audio-input-microphone", "--hint=string:x-canonical-private-synchronous:rtsep"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            [program, *words, "rtsep", "--", sentence], capture_output=True, timeout=5, start_new_session=True
        )


class Notifications:
    """``with`` says what ends the session with an error; ``look`` says what keeps clean sound from coming out.

    What is said is kept in a file until it no longer holds, so that a session that a service manager starts again and
    again does not say it again and again.
    """

    def __init__(self) -> None:
        folder = os.environ.get("XDG_RUNTIME_DIR")
        self._file = None if folder is None else Path(folder) / "rtsep-trouble"
        self._said = ""
        if self._file is not None:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                self._said = self._file.read_text("utf-8")
        self._trouble, self._since = "", time.monotonic()

    def __enter__(self) -> Notifications:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RtsepError):
            self.say(str(error))

    def look(self, status: Status) -> None:
        """Say a trouble that lasts, or that it is over."""
        trouble, now = trouble_of(status), time.monotonic()
        if trouble != self._trouble:
            self._trouble, self._since = trouble, now
        if now - self._since >= PATIENCE_S:
            self.say(trouble)

    def say(self, trouble: str) -> None:
        """Say it, if that is news; "" is the end of all trouble."""
        if trouble == self._said:
            return
        notify(trouble or GOOD)
        self._said = trouble
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.write_text(trouble, "utf-8") if trouble else self._file.unlink(missing_ok=True)

    def beside(self, view: View) -> View:
        """``view``, whose states are looked at here too."""
        return _NotifyingView(view, self)


class _NotifyingView:
    def __init__(self, view: View, notifications: Notifications) -> None:
        self.tell, self.close = view.tell, view.close
        self._view, self._notifications = view, notifications

    def show(self, status: Status) -> None:
        self._view.show(status)
        self._notifications.look(status)


def trouble_of(status: Status) -> str:
    """What keeps clean sound from coming out, in one sentence; nothing where nothing does."""
    if status["state"] == "waiting":
        return f"No sound: {status.get('input') or 'the microphone'} or {status.get('output') or 'the output'} is gone."
    if status.get("paused"):
        return "This machine is too slow: the original sound is sent, with its noise."
    if status.get("bypass"):
        return "The original sound is sent, with its noise."
    return ""
