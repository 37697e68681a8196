"""From a source of the sound server to one of its sinks: how the audio process gets there, and how it stays there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from typing import Any

from rtsep.errors import RtsepError
from rtsep.live.routing import pipewire_links
from rtsep.live.routing.devices import OWN_NAME

MONITOR = ".monitor"  # what PulseAudio calls the source that hears a sink
_PULSE_DEVICE = "pulse"  # ALSA's plugin for PulseAudio, from libasound2-plugins
_QUANTUM = 128  # frames at 48 kHz that PipeWire is asked for
_ALIKE = " ()[].:*$"  # PortAudio takes names for patterns; pipewire-jack puts a space for these, if asked
_PATTERN = set("\\+^{}|?")  # and leaves these
_NEWS = "'new' on (sink|source) |on server"
_PAUSE_S, _TRIES = 0.1, 20  # for the ports of a device that has only just come
_AGAIN_S = 0.5  # between looks whether the server is back


class Route:
    """From a source of the sound server to one of its sinks; the modules loaded for it go at the end.

    server: "pipewire", "pulseaudio" or None. source, sink: the ends, by the server's names.
    """

    client = OWN_NAME  # our name in PipeWire's graph; no two of our processes may share it

    def __init__(self) -> None:
        self.server: str | None = None
        self.source = self.sink = ""
        self._modules: list[str] = []
        self._guard: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._process = 0
        self._jack: dict[str, str] | None = None

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._guard is not None:
            self._guard.kill()
        if self._thread is not None:
            self._thread.join()
        while self._modules:
            pactl("unload-module", self._modules.pop(), check=False)

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
            }
        return {"input": _PULSE_DEVICE, "output": _PULSE_DEVICE, "environment": self._pins()}

    def _jack_names(self) -> dict[str, str]:
        """What PortAudio will call both ends; nothing where that way is closed.

        Devices described alike are one to it, but the audio process is led to the right ports by `pin`.
        """
        if self.server != "pipewire" or not (shutil.which("pw-jack") and shutil.which("pw-link")):
            return {}
        names = {"input": described(self.source), "output": described(self.sink)}
        if any(_PATTERN & set(name) for name in names.values()):
            return {}
        return {end: "".join(" " if letter in _ALIKE else letter for letter in name) for end, name in names.items()}

    def _pins(self) -> tuple[tuple[str, str], ...]:
        return (("PULSE_SOURCE", self.source), ("PULSE_SINK", self.sink))

    def _make(self) -> None:
        """Load the modules, if they are not there."""

    def _mend(self) -> None:
        """Bring back what went away with a device."""

    def pin(self, device: dict[str, Any]) -> None:
        """Keep the audio process's streams where they are; ``device`` is what it said about itself.

        PulseAudio moves a stream that is on the default device along when the default changes, even one that was asked
        for by name: then the new default, which may well be a virtual microphone, would be recorded. So the audio
        process records what is nobody's default. Should one of its streams be elsewhere nevertheless, because a device
        went away, it is put back when the server tells of it.
        """
        self._process = device["pid"]
        if self._thread is None:
            self._guard = self._subscription()
            self._thread = threading.Thread(target=self._follow, daemon=True, name="pins")
            self._thread.start()
        self._put_back(alone=True)

    def _follow(self) -> None:
        """Look after the ends whenever a device has come or the defaults are others, and when the server is back."""
        while self._guard is not None:
            with self._guard as guard:
                assert guard.stdout is not None
                for line in guard.stdout:
                    if re.search(_NEWS, line):
                        self._look_after()
            if self._over.wait(_AGAIN_S):
                return
            self._look_after(anew=True)
            self._guard = self._subscription()
            if self._over.is_set():
                self._guard.kill()

    def _subscription(self) -> subprocess.Popen[str]:
        command = ["pactl", "subscribe"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def _look_after(self, anew: bool = False) -> None:
        with contextlib.suppress(RtsepError):  # there is no server now; the supervisor sees to that
            if anew:
                self._make()
            self._put_back()

    def _put_back(self, alone: bool = False) -> None:
        """alone: away with what else leads to us or from us."""
        self._mend()
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
            numbers = {name: number for number, name in short(f"{owner}s")}
            listing = pactl("list", f"{kind}s")
            for number, text in re.findall(r"#(\d+)\n(.*?)(?=\n\n\S|\Z)", listing, re.DOTALL):
                ours = f'application.process.id = "{self._process}"' in text
                if ours and f"{owner.capitalize()}: {numbers.get(place)}\n" not in text:
                    pactl(f"move-{kind}", number, place, check=False)


def described(name: str) -> str:
    """What a source or a sink is called for people; a monitor is called like its sink."""
    node = re.escape(name.removesuffix(MONITOR))
    listing = pactl("list", "sinks") + pactl("list", "sources")
    found = re.search(rf"^\s*Name: {node}\n\s*Description: (.*)$", listing, re.MULTILINE)
    return found[1] if found else name


def short(kind: str) -> list[list[str]]:
    """Number and name of each."""
    return [line.split("\t")[:2] for line in pactl("list", "short", kind).splitlines() if "\t" in line]


def pactl(*arguments: str, check: bool = True) -> str:
    try:
        done = subprocess.run(
            ["pactl", *arguments], capture_output=True, text=True, timeout=10, env=os.environ | {"LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RtsepError(f"pactl did not answer ({error}); is the sound server alive?") from None
    if check and done.returncode:
        raise RtsepError(f"pactl {arguments[0]} failed: {done.stderr.strip() or done.returncode}.")
    return done.stdout
