"""Sound devices: what there is, and which one is meant by a name, a part of a name or a number.

A device is chosen once and then pinned by its full name: sound goes with a change of the system's default only where
``follow_default`` asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rtsep.errors import InputError

OWN_NAME = "rtsep"  # our JACK client, our virtual microphone
# Of two host APIs that offer the same device, the one with the shorter way comes first.
_HOSTS = ("JACK Audio Connection Kit", "Core Audio", "ASIO", "Windows WASAPI", "Windows WDM-KS", "ALSA")
_EASY_HOSTS = ("Windows WASAPI", "Windows DirectSound", "MME")  # their shared mode works in 10 ms
JACK = _HOSTS[0]
SERVER_HOSTS = ("PipeWire", "PulseAudio")
PATTERN = set("[](){}+*?.^$|\\")  # letters that mean something in a regular expression
PLAYER_BLOCK, MAX_PLAYER_BLOCK = 2048, 8192  # frames


@dataclass(frozen=True)
class Device:
    """One device of one audio system. inputs, outputs: channels; rate: the device's own, Hz.

    index: number in PortAudio's list; of a sound server's device that of the way to the server. name: that is asked for
    and shown. description: what people read where that is another.
    """

    index: int
    name: str
    host: str
    inputs: int
    outputs: int
    rate: int
    default_input: bool
    default_output: bool
    description: str = ""

    @property
    def of_server(self) -> bool:
        """Whether it is a sound server's, by the server's own name."""
        return self.host in SERVER_HOSTS

    def channels(self, kind: str) -> int:
        return self.inputs if kind == "input" else self.outputs

    def is_default(self, kind: str) -> bool:
        return self.default_input if kind == "input" else self.default_output

    def __str__(self) -> str:
        return f"{self.name} ({self.host})"


def find(devices: Iterable[Device], wanted: str | None, kind: str, host: str | None = None) -> Device:
    """The device meant by ``wanted``: a number of the list, a name, or a part of one; None is the system's default.

    kind: "input" or "output". host: only of this host API, if there is a choice. Raises InputError for none, more than
    one, or our own output as an input.
    """
    able = [device for device in devices if device.channels(kind)]
    if wanted is None:
        return _best(_defaults(able, kind), host)
    if wanted.isdecimal():
        found = [device for device in able if device.index == int(wanted) and not device.of_server]
    else:
        low = wanted.lower()
        ways: tuple[Callable[[Device], bool], ...] = (  # the first that finds any is what is meant
            lambda device: low in (device.name.lower(), str(device).lower()),
            lambda device: low == device.description.lower(),
            lambda device: low in str(device).lower(),
            lambda device: low in device.description.lower(),
        )
        found = next((matches for way in ways if (matches := [d for d in able if way(d)])), [])
        if any(device.host == JACK for device in found):  # the shorter way to the same device
            found = [device for device in found if not device.of_server]
        elif any(device.of_server for device in found):  # hardware that a server has is the server's to open
            found = [device for device in found if device.host != "ALSA"]
    if not found:
        for device in devices:
            if wanted.lower() in device.name.lower() and device.host == JACK and PATTERN & set(device.name):
                raise InputError(
                    f"{device.name} cannot be opened by its name, which PortAudio takes for a pattern; name another "
                    "device and connect rtsep's ports by a JACK patch bay, or rename it."
                )
        known = ", ".join(sorted({device.name for device in able})) or "none"
        raise InputError(f"There is no {kind} device {wanted!r}; there are: {known}.")
    if kind == "input" and all(is_own(device) for device in found):
        raise InputError(f"{found[0].name} is rtsep's own output; recording it would feed the sound back to itself.")
    if len({device.name for device in found}) > 1:
        names = ", ".join(f"{device.index}: {device}" for device in found)
        raise InputError(f"{kind.capitalize()} device {wanted!r} could be any of {names}; give more of the name.")
    return _best(found, host)


def _defaults(able: list[Device], kind: str) -> list[Device]:
    """The sound server's default by its name where there is one, else every audio system's own.

    ALSA's default and the server's would be two devices with a clock each; by the server's names both ends are one way.
    JACK's devices share a clock already, and their way is shorter.
    """
    defaults = [device for device in able if device.is_default(kind) and not is_own(device)]
    by_jack = any(device.host == JACK for device in able)
    own = [device for device in able if device.is_default(kind) and is_own(device) and device.of_server]
    if kind == "input" and own and not by_jack:  # ALSA's default would be the same
        raise InputError(f"The system's default microphone is {own[0].name}, rtsep's own; name the one to listen to.")
    found = [device for device in defaults if device.of_server and not by_jack]
    found = found or [device for device in defaults if not device.of_server]
    if not found:
        raise InputError(f"There is no default {kind} device; plug one in, or name one that `rtsep devices` lists.")
    return found


def is_own(device: Device) -> bool:
    """Whether rtsep itself puts its sound there."""
    return OWN_NAME in device.name.lower().replace(" ", "_").split(":")[0].split("_")


def pair(devices: list[Device], wanted_input: str | None, wanted_output: str | None) -> tuple[Device, Device]:
    """Input and output device, of one host API wherever both have one in common."""
    source = find(devices, wanted_input, "input")
    target = find(devices, wanted_output, "output", host=source.host)
    if target.host != source.host:
        source = find(devices, wanted_input, "input", host=target.host)
    return source, target


def two_clocks(source: Device, target: Device) -> bool:
    """Whether the two may run by clocks of their own, so that each needs a stream; JACK's clients share one."""
    return source.host != target.host or (source.index != target.index and source.host != JACK)


def block_size(wanted: int | None, source: Device, target: Device) -> int:
    """Frames a callback to ask the audio system for; 0 lets the server decide.

    On JACK always 0: any other size, even the server's own, delays by a whole block. PulseAudio's plugin needs 480, as
    smaller blocks come in bursts and every underrun makes the delay grow.
    """
    if source.host == JACK:
        return 0
    if wanted is not None:
        return wanted
    slow = source.host in _EASY_HOSTS or any(by_server(d.host, d.name) for d in (source, target))
    return 480 if slow else 128


def player_block_size(wanted: int | None, source: Device, target: Device) -> int:
    """The same for songs, which gain nothing from a short way: large blocks, so that nothing ever runs out."""
    if target.host == JACK:
        return 0
    return PLAYER_BLOCK if wanted is None else wanted


def by_server(host: str, name: str) -> bool:
    """Whether a sound server or ALSA's plugin for one is in between, whose callbacks come in bursts."""
    return host in SERVER_HOSTS or (
        host == "ALSA" and ("pulse" in name or "pipewire" in name or name in ("default", "sysdefault"))
    )


def silent_s(host: str, name: str) -> float:
    """Seconds without a callback after which a device is lost.

    A sound server that has other work pauses for more than a second (1.7 s were measured) and then goes on.
    """
    return 4.0 if by_server(host, name) else 0.5


def _best(found: list[Device], host: str | None) -> Device:
    def order(device: Device) -> tuple[bool, bool, int]:
        rank = _HOSTS.index(device.host) if device.host in _HOSTS else len(_HOSTS)
        return (device.host != host, is_own(device), rank)

    return min(found, key=order)
