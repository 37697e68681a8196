"""The child processes of a session: its audio process and its worker, started, listened to and ended."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtsep.live.backends.shared_state import SharedBlock

if TYPE_CHECKING:
    from rtsep.model import Model

AUDIO, WORKER = "audio", "worker"
LIVE, PLAYER, PASSTHROUGH = "live", "player", "passthrough"  # callbacks that an audio process can run
COMPILING, NOT_COMPILED = "compiling", "not compiled"  # events of children; the first one is ``child_main``'s
_AUDIO_MODULE = "rtsep.live.backends.audio_process"
_PR_SET_PDEATHSIG = 1
_CHILD_MAIN = Path(__file__).with_name("child_main.py")


def child_command(module: str, *arguments: str) -> list[str]:
    """The command that runs ``module`` of this very rtsep, isolated from the current folder; see ``child_main``."""
    here = os.path.realpath(os.getcwd())
    paths = [path for path in sys.path if path and os.path.realpath(path) != here]
    return [sys.executable, "-I", str(_CHILD_MAIN), json.dumps(paths), module, *arguments]


def say(event: str, **values: Any) -> None:
    """In a child: tell the parent, whose ``Children.messages`` it comes to."""
    print(json.dumps({"event": event, **values}), flush=True)


def say_not_compiled(model: Model) -> None:
    """In a child: tell the parent if a model was to be compiled and could not be."""
    if model.not_compiled is not None:
        say(NOT_COMPILED, sentence=model.not_compiled)


def end(process: subprocess.Popen[bytes], patience: float) -> None:
    """Wait for a child that was told to stop, then end it by force: it may hang in a sound server that is no more."""
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # what it was told last was never read
            process.stdin.close()


def set_parent_death_signal() -> None:
    """For ``preexec_fn``: on Linux the child is ended when the thread that starts it ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def how_ended(process: subprocess.Popen[bytes]) -> str:
    """Signal or exit code, in words."""
    code = process.returncode
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


class Children:
    """Both children of one session. Only one thread at a time starts and ends them: the session's, then its supervisor.

    audio, worker: the processes, None where there is none. messages: what they have said, oldest first, each with who
    said it (AUDIO or WORKER).
    """

    def __init__(
        self, block: SharedBlock, environment: Sequence[tuple[str, str]] = (), launcher: Sequence[str] = ()
    ) -> None:
        """environment, launcher: variables for and command before the audio process."""
        self._block = block
        self._environment, self._launcher = dict(environment), tuple(launcher)
        self.audio: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None
        self.messages: deque[tuple[str, dict[str, Any]]] = deque()
        self._listener: threading.Thread | None = None  # of the audio process

    def start_audio(self, settings: Mapping[str, Any]) -> None:
        """settings: see ``audio_process``."""
        command = [*self._launcher, *child_command(_AUDIO_MODULE, self._block.handle, json.dumps(settings))]
        self.audio = self._start(command, os.environ | self._environment)
        self._listener = self._listen(AUDIO, self.audio)

    def start_worker(self, module: str, *arguments: str) -> None:
        """``module`` is given the shared block's handle, then ``arguments``."""
        self._block.state.ready_epoch = 0
        self.worker = self._start(child_command(module, self._block.handle, *arguments), dict(os.environ))
        self._listen(WORKER, self.worker)

    def tell_worker(self, command: dict[str, Any]) -> None:
        """A line of JSON on the worker's standard input; lost when it just died."""
        if self.worker is not None and self.worker.stdin is not None:
            with contextlib.suppress(OSError):
                self.worker.stdin.write(json.dumps(command).encode() + b"\n")
                self.worker.stdin.flush()

    def end_audio(self) -> None:
        """Kill the audio process, if there is one."""
        if self.audio is not None:
            end(self.audio, 0.0)
        self.audio = None

    def end_worker(self) -> None:
        """Kill the worker, if there is one."""
        if self.worker is not None:
            end(self.worker, 0.0)
        self.worker = None

    def wait_for_last_messages(self) -> None:
        """Wait until what an audio process said before it ended has been heard."""
        if self._listener is not None:
            self._listener.join(1.0)

    def end_all(self, patience: float = 1.5) -> None:
        """End both; they have been told to stop."""
        for process in (self.audio, self.worker):
            if process is not None:
                end(process, patience)
        self.audio = self.worker = None

    @property
    def numbers(self) -> dict[str, int | None]:
        """Process numbers."""
        return {
            AUDIO: self.audio.pid if self.audio else None,
            WORKER: self.worker.pid if self.worker else None,
        }

    def _start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("RTSEP_DEBUG") else subprocess.DEVNULL,  # ALSA chatters there
            env=environment,
            pass_fds=self._block.descriptors if os.name == "posix" else (),
            start_new_session=os.name == "posix",  # Ctrl-C is for the parent, which ends them in order
        )

    def _listen(self, role: str, process: subprocess.Popen[bytes]) -> threading.Thread:
        def listen() -> None:
            assert process.stdout is not None
            with process.stdout as lines:
                for line in lines:
                    with contextlib.suppress(ValueError):  # a library's chatter
                        message = json.loads(line)
                        if process in (self.audio, self.worker):
                            self.messages.append((role, message))

        thread = threading.Thread(target=listen, daemon=True, name=f"{role} listener")
        thread.start()
        return thread
