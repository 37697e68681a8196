"""JACK clients whose names PortAudio takes for patterns, opened by clients of ours that stand in for them.

PortAudio looks for a client's ports by its name, as a regular expression: those of `mic+1` are never found, those of
`in[12]` may be another's, and a name that is not UTF-8 is no expression. So a client with a plain name and as many
ports is made for each, PortAudio opens that, and then what it has connected there is connected to the real ports
instead.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from rtsep.engine.native_function import NativeFunction
from rtsep.errors import RtsepError
from rtsep.live.backends.jack_library import AUDIO, INPUT, NO_START, OUTPUT, library
from rtsep.live.backends.jack_names import to_bytes
from rtsep.live.routing.devices import OWN_NAME


def idle(frames, user):
    """JackProcessCallback: nothing. A client without one is no part of the graph, and who hears it never runs."""
    return 0


_idle = NativeFunction(__name__, "idle", "int32(uint32, voidptr)")


class StandIns:
    """``names``: the real name by that of the client that stands in for it."""

    def __init__(self, real_names: Sequence[str]) -> None:
        """One for each; none where JACK does not answer."""
        self.names: dict[str, str] = {}
        self._clients: list[int] = []
        self._ports: list[tuple[int, bytes, bytes]] = []  # stand-in's client, its port and the real one
        self._jack: Any = None
        if not real_names:
            return
        try:
            self._jack = library()
        except RtsepError:
            return
        for number, real in enumerate(real_names):
            self._make(f"{OWN_NAME}_stand_in_{number}", real)

    def _make(self, name: str, real: str) -> None:
        jack = self._jack
        client = jack.jack_client_open(name.encode(), NO_START, ctypes.byref(ctypes.c_int(0)))
        if not client:
            return
        self._clients.append(client)
        for kind in (INPUT, OUTPUT):
            for number, port in enumerate(self._listed(jack.jack_get_ports(client, None, AUDIO, kind))):
                if port.startswith(to_bytes(f"{real}:")):
                    label = f"{'in' if kind == INPUT else 'out'}_{number}".encode()
                    own = jack.jack_port_register(client, label, AUDIO, kind, 0)
                    self._ports.append((client, own, port))
        jack.jack_set_process_callback(client, _idle.address, None)
        jack.jack_activate(client)
        self.names[jack.jack_get_client_name(client).decode()] = real

    def step_aside(self) -> None:
        """Connect the real ports with what is connected with those that stand in for them, and end these."""
        for client, own, real in self._ports:
            jack = self._jack
            name = jack.jack_port_name(own)
            for other in self._listed(jack.jack_port_get_all_connections(client, own)):
                into = jack.jack_port_flags(own) & INPUT
                jack.jack_connect(client, *((other, real) if into else (real, other)))
                jack.jack_disconnect(client, *((other, name) if into else (name, other)))
        self.close()  # else the server would wake them in every period

    def close(self) -> None:
        """End them; twice is as good as once."""
        for client in self._clients:
            self._jack.jack_client_close(client)
        self._clients, self._ports = [], []

    def _listed(self, found: Any) -> list[bytes]:
        """The names in libjack's array, which is given back."""
        names: list[bytes] = []
        while found and found[len(names)]:
            names.append(found[len(names)])
        self._jack.jack_free(found)
        return names
