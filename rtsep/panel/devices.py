"""The sound devices that pages choose from, found by a process of its own: PortAudio can hang in a dead server."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rtsep.errors import InputError
from rtsep.live.engine.processes import child_command
from rtsep.live.routing.devices import Device, find, is_own
from rtsep.live.routing.sound_server import running_server
from rtsep.panel.commands import command
from rtsep.panel.tab import Tab

_PATIENCE_S = 30.0
_NAMELESS = "default"  # what ALSA calls its own


class Devices(Tab):
    """What `rtsep devices` lists, without our own, and whether a sound server can make more."""

    _devices: tuple[Device, ...] = ()
    _searching = _server = False

    def begin(self) -> None:
        """See Tab."""
        self.find()

    def state(self) -> dict[str, Any]:
        """See Tab."""
        with self._lock:
            return {
                "devices": entries(self._devices),
                "defaults": {kind: _default(self._devices, kind) for kind in ("input", "output")},
                "virtual": self._server,
                "searching": self._searching,
            }

    @command
    def look_again(self) -> None:
        """Find out anew, without waiting for it."""
        threading.Thread(target=self.find, daemon=True, name="devices").start()

    def find(self) -> None:
        """Find out anew."""
        with self._lock:
            self._searching = True
        self._changed()
        try:
            done = subprocess.run(
                child_command("rtsep", "devices", "--json"), capture_output=True, text=True, timeout=_PATIENCE_S
            )
            found = json.loads(done.stdout) if done.returncode == 0 else []
        except (OSError, ValueError, subprocess.TimeoutExpired):
            found = []
        devices = tuple(device for device in (Device(**values) for values in found) if not is_own(device))
        server = running_server() is not None
        with self._lock:
            self._devices, self._server, self._searching = devices, server, False
        self._changed()


def _default(devices: Sequence[Device], kind: str) -> str | None:
    """What the system's default "input" or "output" is called; None where there is none, or it has no name."""
    try:
        device = find(devices, None, kind)
    except InputError:
        return None
    name = device.description or device.name
    return None if name == _NAMELESS else name


def entries(devices: Sequence[Device]) -> list[Mapping[str, Any]]:
    """As a page lists them, a sound server's first, whose names people know; ``value`` is what is asked for."""
    names = Counter(device.name for device in devices)
    return [
        {
            "value": device.name if names[device.name] == 1 or device.of_server else str(device),
            "label": device.description or device.name,
            "host": device.host,
            "input": device.inputs > 0,
            "output": device.outputs > 0,
        }
        for device in sorted(devices, key=lambda device: not device.of_server)
    ]
