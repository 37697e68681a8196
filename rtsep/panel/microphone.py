"""The microphone's controller: what was chosen, and the live session that runs by it.

One thread owns the session. A setting that a running engine cannot change starts a new one, within about a second; a
virtual microphone stays where it is meanwhile, so that other programs do not lose it.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rtsep.errors import InputError, RtsepError
from rtsep.live import presets
from rtsep.live.choices import AUTO, TARGET, check_place, live_values, route, with_model
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.engine.processes import child_command
from rtsep.live.routing.devices import Device, is_own
from rtsep.live.routing.sound_server import running_server
from rtsep.live.session import LiveSession
from rtsep.model import load, shipped
from rtsep.panel.commands import (
    Bypass,
    Choose,
    Command,
    FindDevices,
    LoadPreset,
    Mute,
    Record,
    Run,
    SavePreset,
)
from rtsep.panel.spectrum import Spectrum

_DEVICES_S = 30.0  # that looking for devices may take: PortAudio can hang in a dead server
_TOLD = 30  # sentences that are remembered
_NOTE, _PROBLEM = "note", "problem"
_TYPES: dict[str, tuple[type, ...]] = {  # of settings; numbers are text where the command line takes a word too
    **dict.fromkeys(("model", "input", "output", "input_channels", "strength", "gate"), (str,)),
    **dict.fromkeys(("block", "slack"), (int,)),
    **dict.fromkeys(("gate_open", "gate_hold", "gate_lookback"), (float, int)),
    **dict.fromkeys(("virtual_mic", "monitor"), (bool,)),
}


class Microphone:
    """Every method may be called from any thread.

    chosen: settings by their names in presets.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None, folder: str = ".") -> None:
        """changed: called, from any thread, when ``state`` says something new. folder: to record to."""
        self._changed, self._folder = changed, folder
        self.chosen: dict[str, Any] = {"model": "denoise"}
        self._on = self._over = False
        self._session: LiveSession | None = None
        self._spectrum: Spectrum | None = None
        self._status: Mapping[str, Any] | None = None
        self._told: deque[dict[str, Any]] = deque(maxlen=_TOLD)
        self._count = 0
        self._devices: list[dict[str, Any]] = []
        self._searching = self._can_make_one = False
        self._models = models()
        self._presets: list[str] = []
        self._find_presets()
        self._lock = threading.RLock()
        self._woken = threading.Event()
        self._quit = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="microphone")
        self._thread.start()

    def close(self) -> None:
        """End the session, if there is one, and everything that was made for it."""
        with self._lock:
            self._over, self._on = True, False
            self._quit.set()
            self._woken.set()
        self._thread.join()

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
            return {
                "on": self._on,
                "ending": self._session is not None and not self._on,
                "chosen": {key: self.chosen.get(key) for key in presets.KEYS},
                "gates": self._has_gate(self.chosen),
                "status": status,
                "told": list(self._told),
                "devices": self._devices,
                "virtual": self._can_make_one,
                "searching": self._searching,
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

    def do(self, command: Command) -> None:
        """Raises InputError, with a sentence for the page, when it cannot be done."""
        session = self._session
        if isinstance(command, Choose):
            self._choose(command.values)
        elif isinstance(command, Run):
            self._run(command.on)
        elif isinstance(command, LoadPreset):
            self._choose(dict.fromkeys(presets.KEYS) | presets.load_preset(command.name))
            self.tell(f"Loaded {command.name}.")
        elif isinstance(command, SavePreset):
            path = presets.save_preset(command.name, self.chosen)
            self._find_presets()
            self.tell(f"Saved {command.name} in {path}.")
        elif isinstance(command, FindDevices):
            threading.Thread(target=self.find_devices, daemon=True, name="devices").start()
        elif session is None or self._status is None:
            raise InputError("The microphone is off; start it first.")
        elif isinstance(command, Bypass):
            session.engine.bypass(command.on)
        elif isinstance(command, Mute):
            session.engine.mute(command.on)
        elif isinstance(command, Record):
            session.do(lambda: session.record(command.on, self._folder))
        self._look()

    def _run(self, on: bool) -> None:
        with self._lock:
            if on:
                check_place(self.chosen)
            self._on = on
            if on:
                self._woken.set()
            else:
                self._quit.set()

    def _choose(self, changes: dict[str, Any]) -> None:
        for key, value in changes.items():
            if key not in _TYPES:
                raise InputError(f"There is no setting {key!r}.")
            if value is not None and type(value) not in _TYPES[key]:
                raise InputError(f"{key} cannot be {value!r}.")
        with self._lock:
            chosen = {key: value for key, value in (self.chosen | changes).items() if value is not None}
            chosen.setdefault("model", "denoise")
            values = live_values(chosen)  # raises what cannot be
            if not self._has_gate(chosen):
                chosen = {key: value for key, value in chosen.items() if not key.startswith("gate")}
            if self._on:
                check_place(chosen)
            different = {key for key in presets.KEYS if chosen.get(key) != self.chosen.get(key)}
            self.chosen = chosen
            session = self._session if self._status is not None else None
            if session is not None and different == {"strength"}:
                session.engine.set_strength(values["strength"])
            elif different:
                self._quit.set()  # a running session ends, and begins again by what is chosen now

    def find_devices(self) -> None:
        """Look what devices there are, as `rtsep devices` does and in a process of its own: PortAudio can hang."""
        with self._lock:
            self._searching = True
        self._changed()
        try:
            command = child_command("rtsep", "devices", "--json")
            done = subprocess.run(command, capture_output=True, text=True, timeout=_DEVICES_S)
            devices = json.loads(done.stdout) if done.returncode == 0 else []
        except (OSError, ValueError, subprocess.TimeoutExpired):
            devices = []
        can_make_one = running_server() is not None
        with self._lock:
            self._devices, self._can_make_one, self._searching = entries(devices), can_make_one, False
            self._find_presets()
        self._changed()

    def _find_presets(self) -> None:
        try:
            self._presets = presets.preset_names()
        except InputError as error:
            self.tell(str(error), _PROBLEM)

    # The session's thread

    def _work(self) -> None:
        while not self._over:
            self._woken.wait()
            self._woken.clear()
            while self._on:
                try:
                    self._through(dict(self.chosen))
                except RtsepError as error:
                    with self._lock:
                        self._on = False
                    self.tell(str(error), _PROBLEM)
                self._changed()

    def _through(self, first: dict[str, Any]) -> None:
        """Sessions one after another, as long as the way to the devices stays the same."""
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
                view = _View(self)
                session = LiveSession(
                    LiveSettings(**values), view, None, monitor, opened=way.pin, quit=self._quit, keyboard=False
                )
                self._session = session
                try:
                    session.run()
                finally:
                    with self._lock:
                        self._session = self._spectrum = self._status = None

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

    def tell(self, sentence: str, kind: str = _NOTE) -> None:
        """A sentence for the pages."""
        with self._lock:
            self._count += 1
            self._told.append({"number": self._count, "kind": kind, "sentence": sentence})
        self._changed()

    def _look(self) -> None:
        """The state at once, after a command."""
        session = self._session
        if session is not None and self._status is not None:
            recording = self._status["recording"]
            self.show({**session.engine.status(), "recording": recording})
        self._changed()


class _View:
    """The session's view (see ``views``): what it shows goes to the pages."""

    def __init__(self, microphone: Microphone) -> None:
        self._microphone = microphone

    def show(self, status: Mapping[str, Any]) -> None:
        self._microphone.show(status)

    def tell(self, sentence: str) -> None:
        self._microphone.tell(sentence)

    def close(self) -> None:
        pass


def _way(chosen: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a way to the devices depends on."""
    return (bool(chosen.get("virtual_mic")), chosen.get("input"))


def entries(devices: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The devices of `rtsep devices --json` as a page lists them, without our own; ``value`` is what is asked for."""
    found = [device for device in (Device(**values) for values in devices) if not is_own(device)]
    names = Counter(device.name for device in found)
    return [
        {
            "value": device.name if names[device.name] == 1 or device.of_server else str(device),
            "label": device.description or device.name,
            "host": device.host,
            "input": device.inputs > 0,
            "output": device.outputs > 0,
            "default_input": device.default_input,
            "default_output": device.default_output,
        }
        for device in found
    ]


def models() -> list[dict[str, Any]]:
    """The shipped models for speech: name, algorithmic latency in ms, rate in Hz, whether they can move a gate."""
    found = []
    for name, path in shipped().items():
        spec = load(path).spec
        if spec.target == TARGET:
            latency = 1000 * spec.algorithmic_latency / spec.sample_rate
            found.append({"name": name, "ms": latency, "rate": spec.sample_rate, "gates": bool(spec.activity)})
    return found
