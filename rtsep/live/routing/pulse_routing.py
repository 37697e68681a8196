"""From a source of the sound server to one of its sinks: how the audio process gets there, and how it stays there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from rtsep.errors import RtsepError
from rtsep.live.engine.processes import set_parent_death_signal
from rtsep.live.routing import pipewire_links
from rtsep.live.routing.devices import OWN_NAME
from rtsep.live.routing.sound_server import (
    MONITOR,
    PIPEWIRE,
    PULSE_DEVICE,
    description_of,
    names,
    numbered,
    pactl,
    unload_own_modules,
)

_QUANTUM = 128  # frames at 48 kHz that PipeWire is asked for
_REPLACED = " ()[].:*$"  # PortAudio takes names for patterns; pipewire-jack puts a space for these, if asked
_PATTERN = set("\\+^{}|?")  # and leaves these
_NEWS = "'(new|remove)' on (sink|source) |on server"
_PAUSE_S, _TRIES = 0.1, 20  # for the ports of a device that has only just come
_NAMING_S = 20.0  # that another session may take to make its devices
_AGAIN_S = 0.5  # between looks whether the server is back


class Route:
    """From a source of the sound server to one of its sinks; the modules loaded for it go at the end.

    server: PIPEWIRE, PULSEAUDIO or None. source, sink: the ends, by the server's names. client: our name in PipeWire's
    graph; no two of our processes may share it. moved: called when ``source`` has become another, with the settings
    that lead there, by the thread that looks after the ends.
    """

    def __init__(self) -> None:
        self.server: str | None = None
        self.source = self.sink = ""
        self.client = OWN_NAME
        self.moved: Callable[[dict[str, Any]], None] = lambda _: None
        self._subscription: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._process = 0
        self._jack: dict[str, str] | None = None
        self._made: set[str] = set()  # names of the devices that are made for it

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._subscription is not None:
            self._subscription.kill()
        if self._thread is not None:
            self._thread.join()
        if self._made:
            unload_own_modules(self._made)

    def settings(self) -> dict[str, Any]:
        """Devices and environment for the audio process; both ends are pinned, whatever the defaults become.

        On PipeWire by way of pipewire-jack, which keeps the graph's quantum, where ALSA's plugin needs 30 ms.
        """
        if self._jack is None:
            self._jack = self._jack_names()
        if self._jack:
            environment = {"PIPEWIRE_LATENCY": f"{_QUANTUM}/48000", "PIPEWIRE_PROPS": "{ jack.filter-name = true }"}
            return self._jack | {
                "client": self.client,
                "launcher": ("pw-jack",),
                "environment": tuple(environment.items()),
                "labels": self._labels(),
            }
        return {
            "input": PULSE_DEVICE,
            "output": PULSE_DEVICE,
            "environment": self._pins(),
            "labels": self._labels(),
        }

    def _labels(self) -> tuple[str, str]:
        """Both ends for people."""
        return description_of(self.source), description_of(self.sink)

    def _jack_names(self) -> dict[str, str]:
        """What PortAudio will call both ends; nothing where that way is closed.

        Devices described alike are one to it, but the audio process is led to the right ports by `pin`.
        """
        if self.server != PIPEWIRE or not (shutil.which("pw-jack") and shutil.which("pw-link")):
            return {}
        described = {"input": description_of(self.source), "output": description_of(self.sink)}
        if any(_PATTERN & set(name) for name in described.values()):
            return {}
        return {
            end: "".join(" " if letter in _REPLACED else letter for letter in name) for end, name in described.items()
        }

    def _pins(self) -> tuple[tuple[str, str], ...]:
        return (("PULSE_SOURCE", self.source), ("PULSE_SINK", self.sink))

    def _make(self) -> None:
        """Load the modules, if they are not there."""

    def _repair(self) -> bool:
        """Bring back what went away with a device; whether ``source`` has become another."""
        return False

    def pin(self, device: dict[str, Any]) -> None:
        """Keep the audio process's streams where they are; ``device`` is what it said about itself.

        PulseAudio moves a stream that is on the default device along when the default changes, even one that was asked
        for by name: then the new default, which may well be a virtual microphone, would be recorded. So the audio
        process records what is nobody's default. Should one of its streams be elsewhere nevertheless, because a device
        went away, it is put back when the server tells of it.
        """
        self._process = device["pid"]
        if self._thread is None:
            self._subscription = self._subscribe()
            self._thread = threading.Thread(target=self._follow, daemon=True, name="routing")
            self._thread.start()
        self._put_back(alone=True)

    def _follow(self) -> None:
        """Look after the ends when a device came or went or the defaults are others, and when the server is back."""
        while self._subscription is not None:
            with self._subscription as subscription:
                assert subscription.stdout is not None
                for line in subscription.stdout:
                    if re.search(_NEWS, line):
                        self._look_after()
            if self._over.wait(_AGAIN_S):
                return
            self._look_after(anew=True)
            self._subscription = self._subscribe()
            if self._over.is_set():
                self._subscription.kill()

    def _subscribe(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["pactl", "subscribe"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            preexec_fn=set_parent_death_signal,
        )

    def _look_after(self, anew: bool = False) -> None:
        with contextlib.suppress(RtsepError):  # there is no server now; the supervisor sees to that
            if anew:
                self._make()
            self._put_back()

    def _put_back(self, alone: bool = False) -> None:
        """alone: away with what else leads to us or from us."""
        alone = self._repair() or alone
        if self._jack:
            source, sink = self.source.removesuffix(MONITOR), self.sink
            for _ in range(_TRIES):
                if pipewire_links.lead(source, self.client, sink, alone) or self._over.wait(_PAUSE_S):
                    break
            return
        pins = dict(self._pins())
        for kind, owner, place in (
            ("source-output", "source", pins["PULSE_SOURCE"]),
            ("sink-input", "sink", pins["PULSE_SINK"]),
        ):
            if not place:
                continue
            numbers = {name: number for number, name in numbered(f"{owner}s")}
            listing = pactl("list", f"{kind}s")
            for number, text in re.findall(r"#(\d+)\n(.*?)(?=\n\n\S|\Z)", listing, re.DOTALL):
                ours = f'application.process.id = "{self._process}"' in text
                if ours and f"{owner.capitalize()}: {numbers.get(place)}\n" not in text:
                    pactl(f"move-{kind}", number, place, check=False)


class ServerPins(Route):
    """Keeps streams on devices that were asked for by the server's own names; nothing is made, nothing else is done."""

    def __enter__(self) -> ServerPins:
        return self

    def pin(self, device: dict[str, Any]) -> None:
        """See Route; what is not the server's is left alone."""
        self.source, self.sink = device["server_input"] or "", device["server_output"] or ""
        if self.source or self.sink:
            super().pin(device)


@contextlib.contextmanager
def naming() -> Iterator[None]:
    """Within, no other session of this user chooses names and makes what bears them: two would choose the same.

    The lock is an abstract socket, which ends with its process and leaves no file behind.
    """
    end = time.monotonic() + _NAMING_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        while True:
            try:
                lock.bind(f"\0rtsep-naming-{os.getuid()}")
                break
            except OSError:
                if time.monotonic() > end:  # the other one hangs in the server; better a wrong name than no sound
                    break
                time.sleep(0.01)
        yield


def free_suffix(*base_names: str) -> str:
    """ "" where no sink and no source has any of these names, else "_2", "_3" and so on, which is put behind them."""
    taken = {*names("sinks"), *names("sources")}
    number = 1
    while True:
        suffix = "" if number == 1 else f"_{number}"
        if not any(f"{name}{suffix}" in taken for name in base_names):
            return suffix
        number += 1
