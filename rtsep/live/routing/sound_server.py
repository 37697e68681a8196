"""PulseAudio, or PipeWire by way of its PulseAudio server, asked through ``pactl``: devices, modules and their owners.

Every module that rtsep loads says which process it belongs to, so that what a dead session left is known from what a
living one uses.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from rtsep.errors import RtsepError
from rtsep.live.routing.devices import OWN_NAME, Device

PIPEWIRE, PULSEAUDIO = "pipewire", "pulseaudio"
PULSE_DEVICE = "pulse"  # ALSA's plugin for PulseAudio, from libasound2-plugins
MONITOR = ".monitor"  # what the server calls the source that hears a sink
_OWNER = "rtsep.owner"  # property of what a module makes: number and start of the process that loaded it
_OURS = re.compile(r"(?:sink_name|source_name)=(rtsep[_-]\S*)")


@dataclass(frozen=True)
class ServerDevice:
    """A source or a sink of the server. name: the server's own. description: what people read."""

    name: str
    description: str
    default: bool
    channels: int
    rate: int


def running_server() -> str | None:
    """PIPEWIRE or PULSEAUDIO, whichever answers."""
    info = answer("info")
    if "Server Name" not in info:
        return None
    return PIPEWIRE if "PipeWire" in info else PULSEAUDIO


def answer(*arguments: str) -> str:
    """What ``pactl`` prints; nothing when it is not there, or there is no server."""
    if not shutil.which("pactl"):
        return ""
    try:
        return pactl(*arguments, check=False)
    except RtsepError:
        return ""


def pactl(*arguments: str, check: bool = True) -> str:
    """What ``pactl`` prints. Raises RtsepError when it does not answer, or, with ``check``, when it fails."""
    try:
        done = subprocess.run(
            ["pactl", *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            env=os.environ | {"LC_ALL": "C"},
            start_new_session=os.name == "posix",  # Ctrl-C must not come between making something and knowing it
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RtsepError(f"pactl did not answer ({error}); is the sound server alive?") from None
    if check and done.returncode:
        raise RtsepError(f"pactl {arguments[0]} failed: {done.stderr.strip() or done.returncode}.")
    return done.stdout if done.returncode == 0 else ""


def names(kind: str) -> list[str]:
    """Of all ``kind`` ("sinks", "sources")."""
    return [name for _, name in numbered(kind)]


def numbered(kind: str) -> list[tuple[str, str]]:
    """Number and name of each."""
    rows = [line.split("\t") for line in pactl("list", "short", kind).splitlines() if "\t" in line]
    return [(row[0], row[1]) for row in rows]


def server_devices(kind: str) -> list[ServerDevice]:
    """All "sinks" or "sources"; none where no server answers."""
    default = answer(f"get-default-{kind.removesuffix('s')}").strip()
    found = re.findall(
        r"^\s*Name: (.*)\n\s*Description: (.*)\n(?:.*\n)*?\s*Sample Specification: \S+ (\d+)ch (\d+)Hz",
        answer("list", kind),
        re.MULTILINE,
    )
    return [
        ServerDevice(name, description, name == default, int(channels), int(rate))
        for name, description, channels, rate in found
    ]


def own_sources() -> set[str]:
    """Names of the sources that rtsep has made, and of those that are remapped from them."""
    masters = {}
    for text in re.split(r"^Source #", pactl("list", "sources"), flags=re.MULTILINE)[1:]:
        name = re.search(r"^\s*Name: (.*)$", text, re.MULTILINE)
        masters[name[1] if name else ""] = re.search(r'device\.master_device = "(.*)"', text)
    own = {name for name in masters if name.startswith(OWN_NAME)}
    while more := {name for name, master in masters.items() if master and master[1] in own} - own:
        own |= more
    return own


def description_of(name: str) -> str:
    """What a source or a sink is called for people; a monitor is called like its sink."""
    node = name.removesuffix(MONITOR)
    devices = [*server_devices("sinks"), *server_devices("sources")]
    return next((device.description for device in devices if device.name == node), name)


def fitting(wanted: str, kind: str) -> list[str]:
    """Names of the "sinks" or "sources" that are ``wanted``, or have it in their name or their description."""
    devices = server_devices(kind)
    if any(device.name == wanted for device in devices):
        return [wanted]
    low = wanted.lower()
    return [device.name for device in devices if low in device.name.lower() or low in device.description.lower()]


def devices_of_server(devices: list[Device]) -> list[Device]:
    """The server's devices as those of an audio system, where ``devices`` hold ALSA's way to the server."""
    way = next((device for device in devices if device.host == "ALSA" and device.name == PULSE_DEVICE), None)
    server = running_server() if way is not None else None
    if way is None or server is None:
        return []
    host = "PipeWire" if server == PIPEWIRE else "PulseAudio"
    found = []
    for kind, inputs in (("sources", True), ("sinks", False)):
        for device in server_devices(kind):
            channels = (device.channels, 0) if inputs else (0, device.channels)
            defaults = (device.default and inputs, device.default and not inputs)
            found.append(
                Device(way.index, device.name, host, *channels, device.rate, *defaults, description=device.description)
            )
    return found


# Modules


def load_module(module: str, description: str, *arguments: str) -> str:
    """Load one that makes a sink or a source called ``description`` (no spaces) for people; its number."""
    kind = "source" if module == "module-remap-source" else "sink"
    properties = f"{kind}_properties='device.description={description} {_OWNER}={_identity(os.getpid())}'"
    return pactl("load-module", module, *arguments, properties).strip()


def unload_own_modules(made: Collection[str]) -> None:
    """All that this process has loaded to make the devices ``made``, the newest first.

    Also one whose loading was asked for and never answered; what cannot be unloaded is left to the next session.
    """
    own = _identity(os.getpid())
    _unload(lambda name, owner: name in made and owner == own)


def unload_modules_of_dead_sessions() -> int:
    """All that were loaded by processes that are no more, as after kill -9; how many that were."""
    return _unload(lambda _, owner: owner is None or owner != _identity(int(owner.partition("-")[0])))


def _unload(wanted: Callable[[str, str | None], bool]) -> int:
    """Unload what is ``wanted`` by the device's name and its owner; how many that were."""
    count = 0
    for line in reversed(answer("list", "short", "modules").splitlines()):
        device, owner = _OURS.search(line), re.search(rf"{_OWNER}=(\d+-\d+)", line)
        if device and wanted(device[1], owner[1] if owner else None):
            answer("unload-module", line.split("\t")[0])
            count += 1
    return count


def _identity(process: int) -> str | None:
    """Number and start of a living process, because numbers are used again; None when there is none."""
    if sys.platform != "linux":
        return f"{process}-0"
    try:
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return f"{process}-{fields[19]}" if fields[0] not in "ZX" else None  # a zombie is dead
