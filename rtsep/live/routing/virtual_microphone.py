"""A microphone that other programs list, made of the sound server's own modules and removed on exit.

PulseAudio: a null sink and a remapped source on its monitor, because browsers and chat programs hide bare monitors;
``norewinds`` because without it the sink works in blocks of two seconds. PipeWire: one node that is a source. Both are
made through ``pactl``. A second session's names end in _2. On other systems a virtual cable must be installed, which
`rtsep doctor` names.
"""

from __future__ import annotations

import sys
from typing import Any

from rtsep.errors import InputError, RtsepError
from rtsep.live.routing.devices import OWN_NAME
from rtsep.live.routing.pulse_routing import Route, free_suffix, naming
from rtsep.live.routing.sound_server import (
    MONITOR,
    PIPEWIRE,
    PULSEAUDIO,
    fitting,
    load_module,
    names,
    own_sources,
    pactl,
    running_server,
    unload_modules_of_dead_sessions,
)
from rtsep.live.routing.virtual_cables import find_cable

SINK, SOURCE, INPUT = "rtsep_sink", "rtsep_mic", "rtsep_input"
DESCRIPTION = "rtsep_Virtual_Microphone"  # pactl fails on descriptions with spaces
_MONO = ("channels=1", "channel_map=mono")


class VirtualMicrophone(Route):
    """``with`` makes it and removes it; ``settings()`` are the LiveSettings that lead there.

    name, description: what it is called by the server and for people.
    """

    def __init__(self, wanted_input: str | None = None, follow_default: bool = False) -> None:
        """wanted_input: the real microphone, by name or part of it; None is the server's default, pinned.

        What is no name of the server's is left to the audio system, so that all that `rtsep devices` lists will do.
        follow_default: go with the default whenever it is another real microphone. Raises InputError for both.
        """
        super().__init__()
        if follow_default and wanted_input is not None:
            raise InputError("--follow-default goes with the default microphone; leave --input out.")
        self._follows = follow_default
        self.name, self.description, self._suffix = SOURCE, DESCRIPTION, ""
        self._wanted = wanted_input

    def __enter__(self) -> VirtualMicrophone:
        """Raises RtsepError where no server can make one, InputError when the real microphone is not there."""
        if sys.platform != "linux":
            self._take_cable()
            return self
        self.server = running_server()
        if self.server is None:
            raise RtsepError("No PipeWire or PulseAudio answers to pactl; start one and install pulseaudio-utils.")
        unload_modules_of_dead_sessions()
        self.source = self._real_microphone()
        with naming():
            self._name_and_make()
        return self

    def _name_and_make(self) -> None:
        self._suffix = free_suffix(SINK, SOURCE, INPUT)
        self.name, self.description = SOURCE + self._suffix, DESCRIPTION + self._suffix
        self.client = OWN_NAME + self._suffix
        self.sink = self.name if self.server == PIPEWIRE else SINK + self._suffix
        self._made = {self.name, self.sink, INPUT + self._suffix}
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise

    def _make(self) -> None:
        if self.name in names("sources"):
            return
        if self.server == PIPEWIRE:
            arguments = ("media.class=Audio/Source/Virtual", f"sink_name={self.name}", *_MONO)
            load_module("module-null-sink", self.description, *arguments)
            return
        sink = (f"sink_name={self.sink}", "rate=48000", "format=float32le", "norewinds=1", *_MONO)
        load_module("module-null-sink", f"rtsep_output{self._suffix}", *sink)
        source = (f"source_name={self.name}", f"master={self.sink}.monitor", "master_channel_map=mono", *_MONO)
        load_module("module-remap-source", self.description, *source)
        self._load_input()

    def _take_cable(self) -> None:
        """Where no server makes devices: a virtual cable that a person has installed."""
        from rtsep.live.backends.portaudio import PortAudio

        if self._follows:
            raise InputError("--follow-default needs PipeWire or PulseAudio; name a microphone with --input.")
        cable = find_cable(PortAudio().devices(), sys.platform, self._wanted)
        self._wanted, self.sink, self.description = str(cable.microphone), str(cable.sink), cable.heard_as

    def settings(self) -> dict[str, Any]:
        """See Route."""
        if self.source:
            return super().settings()
        return {"input": self._wanted, "output": self.sink, "labels": self._labels()}

    def _labels(self) -> tuple[str, str]:
        return (super()._labels()[0] if self.source else str(self._wanted)), self.description

    def pin(self, device: dict[str, Any]) -> None:
        """See Route."""
        if self.source:
            super().pin(device)

    def _jack_names(self) -> dict[str, str]:
        found = super()._jack_names()
        return found and found | {"output": self.description}

    def _repair(self) -> bool:
        moved = self._follows and self._go_with_default()
        sources = names("sources")
        if self.server == PULSEAUDIO and INPUT + self._suffix not in sources and self.source in sources:
            self._load_input()  # it went away with its microphone
        return moved

    def _go_with_default(self) -> bool:
        """Whether another microphone is the source now."""
        wanted = self._default_microphone()
        if wanted in (None, self.source):
            return False
        self.source = str(wanted)
        if self.server == PULSEAUDIO:
            self._move_input()
        if self._jack:  # what to open, should the audio process have to do so again
            self._jack = self._jack_names() or self._jack
        self.moved(self.settings())
        return True

    def _move_input(self) -> None:
        """The audio process goes on recording the same source, whose master is another."""
        made = f"source_name={INPUT}{self._suffix} "
        for line in pactl("list", "short", "modules").splitlines():
            if made in line:
                owner = f"Owner Module: {line.split()[0]}\n"
                for text in pactl("list", "source-outputs").split("Source Output #")[1:]:
                    if owner in text:
                        pactl("move-source-output", text.split()[0], self.source, check=False)

    def _default_microphone(self) -> str | None:
        """The default if it is a real microphone; else the one in use, else any; None where there is none.

        A monitor is none: when the last microphone goes, it becomes the default, and what is played would be sent out.
        """
        own = own_sources()
        real = [name for name in names("sources") if name not in own and not name.endswith(MONITOR)]
        default = pactl("get-default-source").strip()
        return next((name for name in (default, self.source, *real) if name in real), None)

    def _load_input(self) -> None:
        if not self.source:
            return
        arguments = (f"source_name={INPUT}{self._suffix}", f"master={self.source}", "remix=no")
        load_module("module-remap-source", f"rtsep_input{self._suffix}", *arguments)

    def _pins(self) -> tuple[tuple[str, str], ...]:
        pins = dict(super()._pins())
        if self.server == PULSEAUDIO and self.source:
            pins["PULSE_SOURCE"] = INPUT + self._suffix
        return tuple(pins.items())

    def _real_microphone(self) -> str:
        known, own = names("sources"), own_sources()
        if self._follows:
            found_now = self._default_microphone()
            if found_now is None:
                raise InputError("There is no microphone; plug one in.")
            return found_now
        if self._wanted is None:
            name = pactl("get-default-source").strip()
            if name in own or name not in known:
                raise InputError("The default microphone is not a real one; name one with --input.")
            return name
        found = fitting(self._wanted, "sources")
        if found and all(name in own for name in found):
            raise InputError(f"{found[0]} is rtsep's own output; recording it would feed the sound back to itself.")
        if not found and self.server == PULSEAUDIO:
            return ""
        if len(found) != 1:
            real = ", ".join(name for name in known if name not in own)
            raise InputError(f"--input {self._wanted!r} fits {len(found)} microphones; there are: {real}.")
        return found[0]
