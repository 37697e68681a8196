"""The microphone's controller: what was chosen, and the live session that runs by it.

One thread owns the session. A setting that a running engine cannot change starts a new one, within about a second; a
virtual microphone stays where it is meanwhile, so that other programs do not lose it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rtsep.errors import InputError
from rtsep.live import presets
from rtsep.live.choices import AUTO, check_place, has_place, live_values, route, with_model
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.session import LiveSession
from rtsep.model import load
from rtsep.panel.commands import command
from rtsep.panel.model_list import speech_models
from rtsep.panel.spectrum import Spectrum
from rtsep.panel.tab import PROBLEM, SessionTab, TabView

_TYPES: dict[str, tuple[type, ...]] = {  # of settings; numbers are text where the command line takes a word too
    **dict.fromkeys(("model", "input", "output", "input_channels", "strength", "gate"), (str,)),
    "block": (int,),
    "slack": (int, str),  # "auto"
    **dict.fromkeys(("gate_open", "gate_hold", "gate_lookback"), (float, int)),
    **dict.fromkeys(("virtual_mic", "monitor", "follow_default"), (bool,)),
}


class Microphone(SessionTab):
    """See SessionTab. chosen: settings by their names in presets."""

    def __init__(
        self,
        changed: Callable[[], None] = lambda: None,
        folder: str = ".",
        default_moved: Callable[[], None] = lambda: None,
    ) -> None:
        """folder: to record to. default_moved: called when the session goes on with another default microphone."""
        super().__init__(changed)
        self._folder, self._default_moved = folder, default_moved
        self.chosen: dict[str, Any] = {"model": "denoise"}
        self._session: LiveSession | None = None
        self._spectrum: Spectrum | None = None
        self._status: Mapping[str, Any] | None = None
        self._models = speech_models()
        self._presets: list[str] = []
        self.find_presets()

    @property
    def engine(self) -> LiveEngine | None:
        """Of the session whose sound runs."""
        with self._lock:
            return None if self._session is None or self._status is None else self._session.engine

    # What pages see

    def state(self) -> dict[str, Any]:
        """All that a page shows, as JSON has it; see ``docs/panel.md``."""
        with self._lock:
            status = dict(self._status) if self._status is not None and self._on else None
            return super().state() | {
                "on": self._on,
                "ending": self._session is not None and not self._on,
                "chosen": {key: self.chosen.get(key) for key in presets.KEYS},
                "gates": self._has_gate(self.chosen),
                "status": status,
                "models": self._models,
                "presets": self._presets,
                "folder": str(Path(self._folder).absolute()),
            }

    def frame(self) -> bytes:
        """Levels and spectra since the last call (see ``spectrum``), nothing when no sound runs."""
        session, spectrum = self._session, self._spectrum
        if session is None or spectrum is None:
            return b""
        return spectrum.frame(session.engine.added_samples)

    def _has_gate(self, chosen: Mapping[str, Any]) -> bool:
        """Whether the model says when there is a voice."""
        name = chosen["model"]
        known = {model["name"]: bool(model["gates"]) for model in self._models}
        return known[name] if name in known else name != AUTO and bool(load(name).spec.activity)

    # What pages ask for

    @command
    def run(self, on: bool) -> None:
        """Start or stop."""
        if on:
            if not has_place(self.chosen):
                raise InputError("Say where the sound goes: turn the virtual microphone on, or choose an output.")
            check_place(self.chosen)
        self._turn(on)
        self._changed()

    @command
    def choose(self, values: dict[str, Any]) -> None:
        """Other values of settings that go together, by their names in presets; None is the default."""
        self._choose(values)
        self._look()

    @command
    def bypass(self, on: bool) -> None:
        """Hear the dry signal, or the clean one again."""
        self._running().engine.bypass(on)
        self._look()

    @command
    def mute(self, on: bool) -> None:
        """Fade to silence, or back."""
        self._running().engine.mute(on)
        self._look()

    @command
    def record(self, on: bool) -> None:
        """Begin or end a recording of what is heard and played."""
        session = self._running()
        session.do(lambda: session.record(on, self._folder))

    @command
    def load_preset(self, name: str) -> None:
        """Take over all settings of a preset."""
        self._choose(dict.fromkeys(presets.KEYS) | presets.load_preset(name))
        self.tell(f"Loaded {name}.")

    @command
    def save_preset(self, name: str) -> None:
        """Keep the settings as a preset."""
        path = presets.save_preset(name, self.chosen)
        self.find_presets()
        self.tell(f"Saved {name} in {path}.")

    def _running(self) -> LiveSession:
        session = self._session
        if session is None or self._status is None:
            raise InputError("The microphone is off; start it first.")
        return session

    def _choose(self, changes: dict[str, Any]) -> None:
        for key, value in changes.items():
            if key not in _TYPES:
                raise InputError(f"There is no setting {key!r}.")
            if value is not None and type(value) not in _TYPES[key]:
                raise InputError(f"{key} cannot be {value!r}.")
        with self._lock:
            chosen = {key: value for key, value in (self.chosen | changes).items() if value is not None}
            chosen.setdefault("model", "denoise")
            if chosen.get("input") is not None or not chosen.get("virtual_mic"):
                chosen.pop("follow_default", None)
            values = live_values(chosen)  # raises what cannot be
            if not self._has_gate(chosen):
                chosen = {key: value for key, value in chosen.items() if not key.startswith("gate")}
            if self._on and has_place(chosen):
                check_place(chosen)
            elif self._on:  # never on to the loudspeaker by itself
                self._turn(False)
                self.tell("Stopped: choose where the sound goes, then start again.")
            different = {key for key in presets.KEYS if chosen.get(key) != self.chosen.get(key)}
            self.chosen = chosen
            session = self._session if self._status is not None else None
            if session is not None and different == {"strength"}:
                session.engine.set_strength(values["strength"])
            elif different:
                self._quit.set()  # a running session ends, and begins again by what is chosen now

    @command
    def find_presets(self) -> None:
        """Look anew what presets there are."""
        try:
            self._presets = presets.preset_names()
        except InputError as error:
            self.tell(str(error), PROBLEM)

    # The session's thread

    def _sessions(self) -> None:
        """One after another, as long as the way to the devices stays the same."""
        with self._lock:
            first = dict(self.chosen)
        with route(first) as way:
            if first.get("virtual_mic"):
                self.tell(f"Other programs now list the microphone {way.settings()['labels'][1]!r}.")
            while True:
                with self._lock:
                    chosen, self._quit = dict(self.chosen), threading.Event()
                    if not self._on or _way(chosen) != _way(first):
                        return
                values = with_model(live_values(chosen))
                if chosen.get("virtual_mic"):
                    values |= way.settings()
                monitor = bool(chosen.get("monitor"))
                view = TabView(self)
                session = LiveSession(
                    LiveSettings(**values), view, None, monitor, opened=way.pin, quit=self._quit, keyboard=False
                )
                self._session = session
                way.moved = self._moved
                try:
                    session.run()
                finally:
                    with self._lock:
                        self._session = self._spectrum = self._status = None

    def _moved(self, settings: dict[str, Any]) -> None:
        session = self._session
        if session is not None:
            session.microphone_moved(settings)
        self._default_moved()

    def show(self, status: Mapping[str, Any]) -> None:
        """What the running session says, ten times a second."""
        with self._lock:
            session = self._session
            if session is None:
                return
            if self._spectrum is None:
                self._spectrum = Spectrum(session.engine.block)
            self._status = status
        self._changed()

    def _look(self) -> None:
        """The state at once, after a command."""
        session = self._session
        if session is not None and self._status is not None:
            recording = self._status["recording"]
            self.show({**session.engine.status(), "recording": recording})
        self._changed()


def _way(chosen: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a way to the devices depends on."""
    return (bool(chosen.get("virtual_mic")), chosen.get("input"), bool(chosen.get("follow_default")))
