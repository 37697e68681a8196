"""Virtual cables as PortAudio lists them on macOS and Windows, which were not there: lists as their makers describe."""

from __future__ import annotations

import pytest

from rtsep.errors import InputError, RtsepError
from rtsep.live.routing.devices import Device
from rtsep.live.routing.virtual_cables import find_cable


def device(index: int, name: str, host: str, inputs: int, outputs: int, default: str = "") -> Device:
    return Device(index, name, host, inputs, outputs, 48000, default == "in", default == "out")


MAC = [
    device(0, "MacBook Pro Microphone", "Core Audio", 1, 0, "in"),
    device(1, "MacBook Pro Speakers", "Core Audio", 0, 2, "out"),
    device(2, "BlackHole 2ch", "Core Audio", 2, 2),
]
WINDOWS = [
    device(number, name, host, *channels, default=default)
    for number, (name, host, channels, default) in enumerate(
        [
            ("Microphone (USB Audio)", "MME", (1, 0), "in"),
            ("CABLE Output (VB-Audio Virtual ", "MME", (2, 0), ""),
            ("CABLE Input (VB-Audio Virtual C", "MME", (0, 2), ""),
            ("Microphone (USB Audio)", "Windows WASAPI", (1, 0), "in"),
            ("CABLE Output (VB-Audio Virtual Cable)", "Windows WASAPI", (2, 0), ""),
            ("CABLE Input (VB-Audio Virtual Cable)", "Windows WASAPI", (0, 2), ""),
        ]
    )
]


def test_the_installed_cable_is_found() -> None:
    cable = find_cable(MAC, "darwin", None)
    assert (cable.microphone, cable.sink, cable.heard_as) == (MAC[0], MAC[2], "BlackHole 2ch")
    cable = find_cable(WINDOWS, "win32", None)
    assert cable.microphone == WINDOWS[3] and cable.sink == WINDOWS[5]  # by the shorter way, both of them
    assert cable.heard_as == "CABLE Output (VB-Audio Virtual Cable)"


@pytest.mark.parametrize(("platform", "devices", "word"), [("darwin", MAC, "brew"), ("win32", WINDOWS, "VB-CABLE")])
def test_what_is_missing_or_would_feed_back_is_said(platform: str, devices: list[Device], word: str) -> None:
    others = [each for each in devices if "BlackHole" not in each.name and "CABLE" not in each.name]
    with pytest.raises(RtsepError, match=word):
        find_cable(others, platform, None)
    for own in {"BlackHole 2ch", "CABLE Output (VB-Audio Virtual Cable)"} & {each.name for each in devices}:
        with pytest.raises(InputError, match="the virtual cable itself"):
            find_cable(devices, platform, own)
