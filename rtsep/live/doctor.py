"""What on this machine helps or hinders live sound, each with what to do about it."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from typing import Any

from rtsep.errors import RtsepError
from rtsep.live.backends.portaudio import PortAudio
from rtsep.live.routing.devices import JACK
from rtsep.live.routing.sound_server import running_server, unload_modules_of_dead_sessions
from rtsep.live.routing.virtual_cables import CABLES


@dataclass(frozen=True)
class Finding:
    """One thing looked at: fine or not, what was found, what to do."""

    subject: str
    fine: bool
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Everything, in the order in which it matters."""
    return [*_portaudio(), _priority(), _memory(), _cores(), _virtual(), *_left_over()]


def as_dicts(findings: list[Finding]) -> list[dict[str, Any]]:
    return [asdict(finding) for finding in findings]


def _portaudio() -> list[Finding]:
    try:
        portaudio = PortAudio()
    except RtsepError as error:
        return [Finding("PortAudio", False, "not found", str(error))]
    devices = portaudio.devices()
    findings = [Finding("PortAudio", True, portaudio.version)]
    inputs, outputs = [d for d in devices if d.inputs], [d for d in devices if d.outputs]
    advice = "plug in a microphone, or start the sound server (PipeWire, PulseAudio or JACK)"
    both = bool(inputs and outputs)
    findings.append(Finding("devices", both, f"{len(inputs)} in, {len(outputs)} out", "" if both else advice))
    if sys.platform == "linux":
        jack = any(device.host == JACK for device in devices)
        way = "JACK" if jack else "ALSA"
        advice = "" if jack else "run JACK, or `pw-jack rtsep ...` under PipeWire: ALSA's plugins need 30 ms"
        findings.append(Finding("shortest way", jack, way, advice))
    return findings


def _priority() -> Finding:
    if sys.platform != "linux":
        return Finding("real-time priority", True, "left to the system's audio service")
    try:
        before = os.sched_getscheduler(0)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, before, os.sched_param(0))
    except OSError:
        advice = "add yourself to the group `audio` (or `pipewire`) with rtprio 70 in /etc/security/limits.d"
        return Finding("real-time priority", False, "not allowed", advice)
    return Finding("real-time priority", True, "allowed (SCHED_FIFO)")


def _memory() -> Finding:
    if sys.platform != "linux":
        return Finding("locked memory", True, "not used here")
    import resource

    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    fine = limit == resource.RLIM_INFINITY or os.geteuid() == 0
    found = "unlimited" if fine else f"at most {limit // 1024} KiB"
    return Finding("locked memory", fine, found, "" if fine else "memlock unlimited in /etc/security/limits.d")


def _cores() -> Finding:
    cores = os.cpu_count() or 1
    return Finding("processor", cores >= 2, f"{cores} cores", "" if cores >= 2 else "expect late blocks under load")


def _virtual() -> Finding:
    subject = "virtual microphone"
    if sys.platform == "linux":
        server = running_server()
        if server is not None:
            return Finding(subject, True, f"by {server}")
        return Finding(subject, False, "no PipeWire or PulseAudio answers", "start one, and install pulseaudio-utils")
    cable, advice = CABLES.get(sys.platform, ("a virtual cable", "install a virtual audio cable"))
    try:
        found = next((d.name for d in PortAudio().devices() if cable.lower() in d.name.lower()), None)
    except RtsepError:
        found = None
    return Finding(subject, found is not None, found or "no virtual cable", "" if found else advice)


def _left_over() -> list[Finding]:
    """What a session that was killed has left at the sound server: found here, and removed."""
    count = unload_modules_of_dead_sessions() if sys.platform == "linux" else 0
    if not count:
        return []
    return [Finding("virtual devices", True, f"{count} modules that a killed session had left were removed")]
