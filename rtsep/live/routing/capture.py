"""What other programs play, on its way through a model to the loudspeaker: a monitor, or a sink made for it.

Every sink of PulseAudio and PipeWire has a monitor, a source that hears what is played there. It cannot be the monitor
of the very sink that the result is played to, for that would feed the sound back to itself: so `rtsep-karaoke` is made,
a sink that other players are pointed at, and whose monitor is heard instead. PipeWire is asked by way of its PulseAudio
server, and the sound goes by way of pipewire-jack. Elsewhere a device is taken by its name, as with a loopback cable.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from rtsep.errors import InputError, RtsepError
from rtsep.live.routing.devices import OWN_NAME
from rtsep.live.routing.pulse_routing import Route, free_suffix, naming
from rtsep.live.routing.sound_server import (
    MONITOR,
    fitting,
    load_module,
    names,
    pactl,
    running_server,
    unload_modules_of_dead_sessions,
)
from rtsep.live.routing.virtual_cables import CABLES

CAPTURE_SINK = "rtsep-karaoke"


class Capture(Route):
    """``with`` finds, or makes, what to listen to; ``settings()`` are the LiveSettings that lead from there.

    heard: what is listened to. output: where it goes. made: the sink that was made. All are names for people.
    """

    def __init__(self, wanted: str | None = None, output: str | None = None, virtual_sink: bool = False) -> None:
        """wanted: the source, by name or part of it; None is what the default sink plays. output: sink, likewise."""
        super().__init__()
        self.client = f"{OWN_NAME}_karaoke_{os.getpid()}"
        self._wanted, self._output, self._virtual = wanted, output, virtual_sink
        self.heard, self.output, self.made = wanted, output, CAPTURE_SINK

    def __enter__(self) -> Capture:
        """Raises RtsepError where no server can make a sink, InputError when source or sink is not there."""
        self.server = running_server() if sys.platform == "linux" else None
        if self.server is None:
            if self._virtual:
                cable, advice = CABLES.get(sys.platform, ("PipeWire or PulseAudio", "start it"))
                raise RtsepError(f"A virtual sink needs {cable}; {advice}, then use --capture with its name.")
            return self
        if self._virtual:
            unload_modules_of_dead_sessions()
        self.output = self.sink = self._sink()
        try:
            if self._virtual:
                with naming():
                    self.made = CAPTURE_SINK + free_suffix(CAPTURE_SINK)
                    self._made = {self.made}
                    self._make()
            self.heard = self.source = self.made + MONITOR if self._virtual else self._source()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self) -> None:
        if self._virtual and self.made not in names("sinks"):
            arguments = (f"sink_name={self.made}", "rate=48000", "channels=2", "format=float32le", "norewinds=1")
            load_module("module-null-sink", self.made, *arguments)

    def settings(self) -> dict[str, Any]:
        """Devices and environment for the audio process."""
        if self.server is None:
            return {"input": self._wanted, "output": self._output}
        return super().settings()

    def pin(self, device: dict[str, Any]) -> None:
        """See Route.pin; without a server there is nothing to hold on to."""
        if self.server is not None:
            super().pin(device)

    def _sink(self) -> str:
        known = [name for name in names("sinks") if not name.startswith(CAPTURE_SINK)]
        if self._output is None:
            name = pactl("get-default-sink").strip()
            if name not in known:
                raise InputError("There is no loudspeaker to play to; name one with --output.")
            return name
        return _one(self._output, known, "--output", "sinks")

    def _source(self) -> str:
        known = names("sources")
        if self._wanted is not None:
            name = _one(self._wanted, known, "--capture", "sources")
        elif CAPTURE_SINK + MONITOR in known:
            name = CAPTURE_SINK + MONITOR
        else:
            name = pactl("get-default-sink").strip() + MONITOR
        if name == self.sink + MONITOR:
            raise InputError(
                f"What {self.sink} plays would be played there again; use --virtual-sink and point the other player "
                f"at {CAPTURE_SINK}, or name another device with --output."
            )
        return name


def _one(wanted: str, known: list[str], option: str, kind: str) -> str:
    """The only one of ``known`` that fits ``wanted``; raises InputError."""
    found = [name for name in fitting(wanted, kind) if name in known]
    if len(found) != 1:
        raise InputError(f"{option} {wanted!r} fits {len(found)} {kind}; there are: {', '.join(known) or 'none'}.")
    return found[0]
