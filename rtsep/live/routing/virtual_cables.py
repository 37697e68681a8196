"""Virtual cables: what takes the place of virtual devices on systems whose sound server makes none.

Written by the makers' documentation; not run, as there was neither a Mac nor Windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rtsep.errors import InputError, RtsepError
from rtsep.live.routing.devices import Device, find

# By sys.platform: the device's name, and how to get it.
CABLES = {
    "darwin": ("BlackHole", "install BlackHole 2ch (brew install blackhole-2ch)"),
    "win32": ("CABLE Input", "install VB-CABLE from vb-audio.com/Cable"),
}
_MAKERS = ("BlackHole", "CABLE Input", "CABLE Output", "VB-Audio")  # in the names of both ends


@dataclass(frozen=True)
class Cable:
    """microphone: the real one. sink: the cable's end to play to. heard_as: what other programs call the other end."""

    microphone: Device
    sink: Device
    heard_as: str


def find_cable(devices: Sequence[Device], platform: str, microphone: str | None) -> Cable:
    """The cable that is installed, and the real microphone meant by ``microphone`` (None is the default).

    platform: as sys.platform has it. Raises RtsepError where no cable is installed, InputError for a microphone that is
    none or the cable's own end, which would feed the sound back to itself.
    """
    name, advice = CABLES.get(platform, ("a virtual audio cable", "install one"))
    sinks = [device for device in devices if device.outputs and name.lower() in device.name.lower()]
    if not sinks:
        raise RtsepError(f"Here a virtual microphone is made with {name}, which is not installed; {advice}.")
    source = find(devices, microphone, "input")
    if any(maker.lower() in source.name.lower() for maker in _MAKERS):
        raise InputError(f"{source.name} is the virtual cable itself; name the real microphone with --input.")
    sink = next((device for device in sinks if device.host == source.host), sinks[0])
    return Cable(source, sink, sink.name.replace("CABLE Input", "CABLE Output"))
