"""The report tab's controller: runs `rtsep bench live` in a process of its own and keeps the page that comes of it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Any

from rtsep.errors import InputError, RtsepError
from rtsep.live.engine.processes import child_command, set_parent_death_signal
from rtsep.panel.commands import command
from rtsep.panel.model_list import song_models, speech_models
from rtsep.panel.tab import SessionTab
from rtsep.report.live_page import check_pictures, live_page
from rtsep.report.loads import LOADS

MOST_S = 60.0  # under each load
_LOOK_S = 0.1


class Report(SessionTab):
    """See SessionTab."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        super().__init__(changed)
        self._models = speech_models() + [model for model in song_models() if model["live"]]
        self._model, self._seconds, self._quick = "denoise", 10.0, False
        self._said: list[str] = []
        self._result: dict[str, Any] | None = None
        self._page = ""
        self._made = 0

    def state(self) -> dict[str, Any]:
        """See Tab. made: number of the page, 0 for none. said: what it does, one sentence a step."""
        with self._lock:
            return super().state() | {
                "on": self._on,
                "models": self._models,
                "model": self._model,
                "seconds": self._seconds,
                "quick": self._quick,
                "said": list(self._said),
                "steps": 1 + len(LOADS[:1] if self._quick else LOADS),
                "made": self._made,
            }

    def page(self) -> str:
        """The newest, as HTML; raises InputError when there is none."""
        with self._lock:
            if not self._made:
                raise InputError("There is no report yet.")
            return self._page

    def result(self) -> Mapping[str, Any]:
        """The newest, as `rtsep bench live --json` writes it; raises InputError when there is none."""
        with self._lock:
            if self._result is None:
                raise InputError("There is no report yet.")
            return self._result

    # What pages ask for

    @command
    def measure(self, model: str, seconds: float, quick: bool) -> None:
        """seconds: under each load. quick: without loads."""
        if model not in [known["name"] for known in self._models]:
            raise InputError(f"There is no model {model!r} for live sound.")
        if not 0.5 <= seconds <= MOST_S:
            raise InputError(f"Measure for 0.5 to {MOST_S:.0f} seconds under each load, not {seconds:g}.")
        check_pictures()
        with self._lock:
            if self._on:
                raise InputError("A measurement runs already; stop it first.")
            self._model, self._seconds, self._quick, self._said = model, seconds, quick, []
            self._turn(True)
        self._changed()

    @command
    def stop(self) -> None:
        """The measurement that runs."""
        self._turn(False)
        self._changed()

    # The thread

    def _sessions(self) -> None:
        with self._lock:
            quit = self._quit = threading.Event()
            if not self._on:
                return
            options = ["--model", self._model, "--seconds", str(self._seconds), "--json", "-"]
            arguments = child_command("rtsep", "bench", "live", *options, *["--quick"] * self._quick)
        with subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=set_parent_death_signal if os.name == "posix" else None,
        ) as process:
            printed: list[str] = []
            assert process.stdout is not None and process.stderr is not None
            readers = [
                threading.Thread(target=lambda: printed.append(process.stdout.read()), daemon=True),  # type: ignore[union-attr]
                threading.Thread(target=self._listen, args=(process.stderr,), daemon=True),
            ]
            for reader in readers:
                reader.start()
            while process.poll() is None and not quit.wait(_LOOK_S):
                pass
            process.terminate()
            process.wait()
            for reader in readers:
                reader.join()
        with self._lock:
            stopped, self._on = quit.is_set(), False
            last = self._said[-1] if self._said else "It said nothing."
        if stopped:
            self.tell("The measurement was stopped.")
        elif process.returncode:
            raise RtsepError(last.removeprefix("rtsep: "))
        else:
            self._keep(json.loads(printed[0]))

    def _listen(self, sentences: Any) -> None:
        for sentence in sentences:
            with self._lock:
                self._said.append(sentence.strip())
            self._changed()

    def _keep(self, result: dict[str, Any]) -> None:
        page = live_page(result)
        with self._lock:
            self._result, self._page = result, page
            self._made += 1
        self.tell(f"Measured {result['model']['name']}.")
