"""A microphone that other programs list, made of the sound server's own modules and removed on exit.

PulseAudio: a null sink and a remapped source on its monitor, because browsers and chat programs hide bare monitors;
``norewinds`` because without it the sink works in blocks of two seconds. PipeWire: one node that is a source. Both are
made through ``pactl``. On other systems a virtual cable must be installed, which `rtsep doctor` names.
"""

from __future__ import annotations

import re
import sys

from rtsep.errors import InputError, RtsepError
from rtsep.live.doctor import CABLES, server
from rtsep.live.routing.devices import OWN_NAME
from rtsep.live.routing.pulse_routing import Route, pactl, short

SINK, SOURCE, INPUT = "rtsep_sink", "rtsep_mic", "rtsep_input"
DESCRIPTION = "rtsep_Virtual_Microphone"  # pactl fails on descriptions with spaces


class VirtualMicrophone(Route):
    """``with`` makes it and removes it; ``settings()`` are the LiveSettings that lead there."""

    def __init__(self, wanted_input: str | None = None) -> None:
        """wanted_input: the real microphone, by name or part of it; None is the server's default, pinned."""
        super().__init__()
        self.description = DESCRIPTION
        self._wanted = wanted_input

    def __enter__(self) -> VirtualMicrophone:
        """Raises RtsepError where no server can make one, InputError when the real microphone is not there."""
        if sys.platform != "linux":
            cable, advice = CABLES.get(sys.platform, ("a virtual audio cable", "install one"))
            raise RtsepError(f"Here a virtual microphone is {cable}; {advice}, then use --live --output {cable!r}.")
        self.server = next((name for name in ("pipewire", "pulseaudio") if server(name)), None)
        if self.server is None:
            raise RtsepError("No PipeWire or PulseAudio answers to pactl; start one and install pulseaudio-utils.")
        self._remove_leftovers()
        self.source = self._real_microphone()
        self.sink = SOURCE if self.server == "pipewire" else SINK
        try:
            self._make()
        except RtsepError:
            self.__exit__()
            raise
        return self

    def _make(self) -> None:
        if SOURCE in [name for _, name in short("sources")]:
            return
        self._modules.clear()
        if self.server == "pipewire":
            self._load("module-null-sink", "media.class=Audio/Source/Virtual", f"sink_name={SOURCE}")
        else:
            self._load("module-null-sink", f"sink_name={SINK}", "rate=48000", "format=float32le", "norewinds=1")
            master = f"master={SINK}.monitor"
            self._load("module-remap-source", f"source_name={SOURCE}", master, "master_channel_map=mono")
            self._load_input()

    def _jack_names(self) -> dict[str, str]:
        names = super()._jack_names()
        return names and names | {"output": DESCRIPTION}

    def _mend(self) -> None:
        names = [name for _, name in short("sources")]
        if self.server == "pulseaudio" and INPUT not in names and self.source in names:
            self._load_input()  # it went away with its microphone

    def _load_input(self) -> None:
        arguments = (f"source_name={INPUT}", f"master={self.source}", "remix=no")
        properties = "source_properties=device.description=rtsep_input"
        self._modules.append(pactl("load-module", "module-remap-source", *arguments, properties).strip())

    def _pins(self) -> tuple[tuple[str, str], ...]:
        pins = dict(super()._pins())
        return tuple((pins | ({} if self.server == "pipewire" else {"PULSE_SOURCE": INPUT})).items())

    def _load(self, module: str, *arguments: str) -> None:
        kind = "source" if module == "module-remap-source" else "sink"
        description = f"{kind}_properties=device.description={DESCRIPTION if self._is_last(module) else 'rtsep_output'}"
        self._modules.append(
            pactl("load-module", module, *arguments, "channels=1", "channel_map=mono", description).strip()
        )

    def _is_last(self, module: str) -> bool:
        return module == "module-remap-source" or self.server == "pipewire"

    def _remove_leftovers(self) -> None:
        """What a killed session left: two microphones of one name would confuse everybody."""
        for line in reversed(pactl("list", "short", "modules").splitlines()):
            if re.search(f"(sink_name|source_name)=({SINK}|{SOURCE}|{INPUT})\\b", line):
                pactl("unload-module", line.split("\t")[0], check=False)

    def _real_microphone(self) -> str:
        names = [name for _, name in short("sources")]
        own = [name for name in names if name.startswith(OWN_NAME)]
        if self._wanted is None:
            name = pactl("get-default-source").strip()
            if name in own or name not in names:
                raise InputError("The default microphone is not a real one; name one with --input.")
            return name
        found = [name for name in names if self._wanted.lower() in name.lower()]
        if found and all(name in own for name in found):
            raise InputError(f"{found[0]} is rtsep's own output; recording it would feed the sound back to itself.")
        if len(found) != 1 and self._wanted not in names:
            known = ", ".join(name for name in names if name not in own)
            raise InputError(f"--input {self._wanted!r} fits {len(found)} microphones; there are: {known}.")
        return self._wanted if self._wanted in names else found[0]
