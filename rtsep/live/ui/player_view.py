"""How a player is shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rtsep.live.player.player import Player
from rtsep.live.player.playlist import clock_text
from rtsep.live.ui.views import JsonView, PlainView, ScreenView, Status, View
from rtsep.printable import printable

_BARS = " ▁▂▃▄▅▆▇█"
_KEYS = (
    "space pause   ← → seek   n p song",
    "↑ ↓ vocals   v off/on   g guide",
    "s solo   b original   [ ] key",
    ", . volume   q quit",
)


def player_view(player: Player, as_json: bool, quiet: bool = False) -> View:
    """JSON when asked for, a strip on a terminal, else plain lines."""
    if as_json:
        return JsonView()
    if sys.stderr.isatty() and not quiet:
        return ScreenView(lambda status, width, told: screen(status, player.songs, width, told))
    return PlainView(line, ("state", "song"), quiet)


def settings_text(status: Status) -> str:
    """What is heard, in words."""
    voice = "off" if status["vocals"] is None else f"{status['vocals']:.0f} dB"
    words = ["the original" if status["original"] else "vocals only" if status["solo"] else f"vocals {voice}"]
    if status["key"]:
        words.append(f"key {status['key']:+d}")
    if status["volume"]:
        words.append(f"volume {status['volume']:.0f} dB")
    return ", ".join(words)


def line(status: Status) -> str:
    """A status in one line."""
    length = "" if status["length"] is None else f" of {clock_text(status['length'])}"
    return (
        f"{status['state']}: {status['song']}/{status['songs']} {status['title']}, "
        f"{clock_text(status['seconds'])}{length}, {settings_text(status)}, "
        f"late {status['late']} of {status['callbacks']}, xruns {status['xruns']}"
    )


def strip(peaks: Sequence[float], width: int, share: float) -> Any:
    """The waveform as ``width`` bars; what was played, as far as ``share`` (0 to 1), is brighter."""
    from rich.text import Text

    bars = []
    for column in range(width):
        begin, stop = column * len(peaks) // width, max(1, (column + 1) * len(peaks) // width)
        loudest = max(peaks[begin : max(stop, begin + 1)], default=0.0)
        bars.append(_BARS[min(8, round(8 * min(1.0, loudest)))])
    played = min(width, max(0, round(share * width)))
    return Text.assemble(("".join(bars[:played]), "bold cyan"), ("".join(bars[played:]), "dim"))


def screen(status: Status, songs: dict[int, dict[str, Any]], width: int, told: list[str]) -> Any:
    """The figures and the strip as a rich group, ``width`` columns wide; songs: see Player."""
    from rich.console import Group
    from rich.text import Text

    song = songs.get(status["song"] - 1, {})
    length = song.get("seconds") or 0.0
    share = status["seconds"] / length if length else 0.0
    level = status.get("played_db", -120.0)
    mark = {"running": "▶", "paused": "⏸"}.get(status["state"], "…")
    state = "" if status["state"] == "running" else f"  {status['state'].upper()}"
    device = "no device yet" if status["output"] is None else f"→ {status['output']}"
    way = printable(f"{status['model']} {device}")
    title = printable(f"{mark} {status['title']}  ({status['song']} of {status['songs']}){state}")
    lines = [
        Text(title, style="bold", no_wrap=True),
        strip(song.get("peaks", []), max(10, width - 1), share),
        Text(f"{clock_text(status['seconds'])} / {clock_text(length)}   {settings_text(status)}   {level:.0f} dB"),
        Text(f"{way}   late {status['late']}  xruns {status['xruns']}", style="dim"),
        *(Text(sentence, style="yellow") for sentence in told),
        *(Text(keys, style="dim") for keys in _KEYS),
    ]
    return Group(*lines)
