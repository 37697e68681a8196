"""A microphone that other programs list, made of the sound server's own modules and removed on exit.

PulseAudio: a null sink and a remapped source on its monitor, because browsers and chat programs hide bare monitors;
``norewinds`` because without it the sink works in blocks of two seconds. PipeWire: one node that is a source. Both are
made through ``pactl``. On other systems a virtual cable must be installed, which `rtsep doctor` names.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
from typing import Any

from rtsep.errors import InputError, RtsepError
from rtsep.live.devices import OWN_NAME
from rtsep.live.doctor import CABLES, server

SINK, SOURCE, INPUT = "rtsep_sink", "rtsep_mic", "rtsep_input"
DESCRIPTION = "rtsep_Virtual_Microphone"  # pactl fails on descriptions with spaces
_PULSE_DEVICE = "pulse"  # ALSA's plugin for PulseAudio, from libasound2-plugins


class Route:
    """From a source of the sound server to one of its sinks; the modules loaded for it go at the end."""

    def __init__(self) -> None:
        self.server: str | None = None
        self.source = ""
        self._modules: list[str] = []
        self._guard: subprocess.Popen[str] | None = None
        self._process = 0

    def __exit__(self, *_: object) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
        while self._modules:
            pactl("unload-module", self._modules.pop(), check=False)

    def settings(self) -> dict[str, Any]:
        """Devices and environment for the audio process; both ends are pinned, whatever the defaults become."""
        return {"input": _PULSE_DEVICE, "output": _PULSE_DEVICE, "environment": self._pins()}

    def _pins(self) -> tuple[tuple[str, str], ...]:
        raise NotImplementedError

    def _mend(self) -> None:
        """Bring back what the server took away."""

    def pin(self, device: dict[str, Any]) -> None:
        """Keep the audio process's streams where they are; ``device`` is what it said about itself.

        PulseAudio moves a stream that is on the default device along when the default changes, even one that was asked
        for by name: then the new default, which may well be this very microphone, would be recorded. So the audio
        process records INPUT, which is the real microphone under another name and is nobody's default. Should one of
        its streams be elsewhere nevertheless, because a device went away, it is put back when the server tells of it.
        """
        self._process = device["pid"]
        if self.settings()["input"] == _PULSE_DEVICE and self._guard is None:
            self._guard = subprocess.Popen(["pactl", "subscribe"], stdout=subprocess.PIPE, text=True)
            threading.Thread(target=self._follow, args=(self._guard,), daemon=True, name="pins").start()
        self._put_back()

    def _follow(self, guard: subprocess.Popen[str]) -> None:
        assert guard.stdout is not None
        with guard.stdout as lines:
            for line in lines:
                if "on server" in line:
                    with contextlib.suppress(RtsepError):  # the server is on its way out; the watchdog sees to that
                        self._put_back()

    def _put_back(self) -> None:
        if self.settings()["input"] != _PULSE_DEVICE:
            return
        self._mend()
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
        try:
            if self.server == "pipewire":
                self._load("module-null-sink", "media.class=Audio/Source/Virtual", f"sink_name={SOURCE}")
            else:
                self._load("module-null-sink", f"sink_name={SINK}", "rate=48000", "format=float32le", "norewinds=1")
                master = f"master={SINK}.monitor"
                self._load("module-remap-source", f"source_name={SOURCE}", master, "master_channel_map=mono")
                self._load_input()
        except RtsepError:
            self.__exit__()
            raise
        return self

    def settings(self) -> dict[str, Any]:
        """Devices and environment for the audio process; both ends are pinned, whatever the defaults become."""
        if self.server == "pipewire" and shutil.which("pw-jack"):
            # pipewire-jack keeps the graph's quantum, where ALSA's plugin needs 30 ms, and names devices as people do.
            return {
                "input": _described(self.source),
                "output": DESCRIPTION,
                "launcher": ("pw-jack",),
                "environment": (("PIPEWIRE_LATENCY", "128/48000"),),
            }
        return super().settings()

    def _mend(self) -> None:
        names = [name for _, name in short("sources")]
        if self.server == "pulseaudio" and INPUT not in names and self.source in names:
            self._load_input()  # it went away with its microphone

    def _load_input(self) -> None:
        arguments = (f"source_name={INPUT}", f"master={self.source}", "remix=no")
        properties = "source_properties=device.description=rtsep_input"
        self._modules.append(pactl("load-module", "module-remap-source", *arguments, properties).strip())

    def _pins(self) -> tuple[tuple[str, str], ...]:
        if self.server == "pipewire":
            return (("PULSE_SOURCE", self.source), ("PULSE_SINK", SOURCE))
        return (("PULSE_SOURCE", INPUT), ("PULSE_SINK", SINK))

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


def _described(source: str) -> str:
    """What a source is called for people."""
    found = re.search(rf"^\s*Name: {re.escape(source)}\n\s*Description: (.*)$", pactl("list", "sources"), re.MULTILINE)
    return found[1] if found else source


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
