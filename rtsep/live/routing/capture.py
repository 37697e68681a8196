"""What other programs play, on its way through a model to the loudspeaker: a monitor, or a sink made for it.

Every sink of PulseAudio and PipeWire has a monitor, a source that hears what is played there. It cannot be the monitor
of the very sink that the result is played to, for that would feed the sound back to itself: so `rtsep-karaoke` is made,
a sink that other players are pointed at, and whose monitor is heard instead. PipeWire is asked by way of its PulseAudio
server, and the sound goes by way of pipewire-jack. Elsewhere a device is taken by its name, as with a loopback cable.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from rtsep.errors import InputError, RtsepError
from rtsep.live.doctor import CABLES, server
from rtsep.live.routing.devices import OWN_NAME
from rtsep.live.routing.pulse_routing import MONITOR, Route, pactl, short

CAPTURE_SINK = "rtsep-karaoke"


class Capture(Route):
    """``with`` finds, or makes, what to listen to; ``settings()`` are the LiveSettings that lead from there.

    heard: what is listened to. output: where it goes. Both are names for people.
    """

    def __init__(self, wanted: str | None = None, output: str | None = None, virtual_sink: bool = False) -> None:
        """wanted: the source, by name or part of it; None is what the default sink plays. output: sink, likewise."""
        super().__init__()
        self.client = f"{OWN_NAME}_karaoke_{os.getpid()}"
        self._wanted, self._output, self._virtual = wanted, output, virtual_sink
        self.heard, self.output = wanted, output

    def __enter__(self) -> Capture:
        """Raises RtsepError where no server can make a sink, InputError when source or sink is not there."""
        on_linux = sys.platform == "linux"
        self.server = next((name for name in ("pipewire", "pulseaudio") if on_linux and server(name)), None)
        if self.server is None:
            if self._virtual:
                cable, advice = CABLES.get(sys.platform, ("PipeWire or PulseAudio", "start it"))
                raise RtsepError(f"A virtual sink needs {cable}; {advice}, then use --capture with its name.")
            return self
        if self._virtual:
            _remove_leftovers()
        self.output = self.sink = self._sink()
        self._make()
        self.heard = self.source = CAPTURE_SINK + MONITOR if self._virtual else self._source()
        return self

    def _make(self) -> None:
        if self._virtual and CAPTURE_SINK not in [name for _, name in short("sinks")]:
            self._modules = [
                pactl(
                    *("load-module", "module-null-sink", f"sink_name={CAPTURE_SINK}", "rate=48000", "channels=2"),
                    *("format=float32le", "norewinds=1", f"sink_properties=device.description={CAPTURE_SINK}"),
                ).strip()
            ]

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
        names = [name for _, name in short("sinks") if name != CAPTURE_SINK]
        if self._output is None:
            name = pactl("get-default-sink").strip()
            if name not in names:
                raise InputError("There is no loudspeaker to play to; name one with --output.")
            return name
        return _one(self._output, names, "--output", "sink")

    def _source(self) -> str:
        names = [name for _, name in short("sources")]
        if self._wanted is not None:
            name = _one(self._wanted, names, "--capture", "source")
        elif CAPTURE_SINK + MONITOR in names:
            name = CAPTURE_SINK + MONITOR
        else:
            name = pactl("get-default-sink").strip() + MONITOR
        if name == self.sink + MONITOR:
            raise InputError(
                f"What {self.sink} plays would be played there again; use --virtual-sink and point the other player "
                f"at {CAPTURE_SINK}, or name another device with --output."
            )
        return name


def _remove_leftovers() -> None:
    """The sink that a killed session left: two of one name would confuse everybody."""
    for line in pactl("list", "short", "modules").splitlines():
        if f"sink_name={CAPTURE_SINK} " in line:
            pactl("unload-module", line.split("\t")[0], check=False)


def _one(wanted: str, names: list[str], option: str, kind: str) -> str:
    """The only name that is ``wanted``, or has it in it, or is so described for people; raises InputError."""
    if wanted in names:
        return wanted
    entries = re.findall(r"^\s*Name: (.*)\n\s*Description: (.*)$", pactl("list", f"{kind}s"), re.MULTILINE)
    described = dict(entries)
    low = wanted.lower()
    found = [name for name in names if low in name.lower() or low in described.get(name, "").lower()]
    if len(found) != 1:
        raise InputError(f"{option} {wanted!r} fits {len(found)} {kind}s; there are: {', '.join(names) or 'none'}.")
    return found[0]
