"""Three ways to show a running Player, and the session that listens to keys until the songs are over."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

from rtsep.errors import InputError
from rtsep.karaoke.pitch_shift import MOST
from rtsep.live.live_engine import Live, LiveSettings
from rtsep.live.player.player import Player, PlayerSettings, clock
from rtsep.live.routing.devices import OWN_NAME
from rtsep.live.session import _Signals
from rtsep.live.ui.keys import DOWN, LEFT, RIGHT, UP, Keys

STEP_DB = 3.0
LEAST_DB = -30.0  # of the slider; the step below is off
SKIP_S = 5.0
SINGER = "denoise"  # the model for the microphone
_LOOK_S = 0.05
_BARS = " ▁▂▃▄▅▆▇█"
_KEYS = "space pause  ←→ seek  ↑↓ vocals  v off/on  g guide  s solo  b original  [ ] key  , . volume  n p song  q quit"


class PlayerView(Protocol):
    """``show`` gets the player about twenty times a second, ``tell`` every event's sentence, at once."""

    def show(self, player: Player) -> None: ...

    def tell(self, sentence: str) -> None: ...

    def close(self) -> None: ...


class JsonView:
    """One object a second on standard output; events are objects with ``event``."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, player: Player) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1.0
            print(json.dumps(player.status()), flush=True)

    def tell(self, sentence: str) -> None:
        print(json.dumps({"event": sentence}), flush=True)

    def close(self) -> None:
        pass


class PlainView:
    """For pipes and journals: a line a song, a line every ten seconds, a line an event, on stderr."""

    def __init__(self, quiet: bool = False) -> None:
        self._next, self._song, self._quiet = 0.0, 0, quiet

    def show(self, player: Player) -> None:
        status = player.status()
        if time.monotonic() >= self._next or status["song"] != self._song:
            self._next, self._song = time.monotonic() + 10.0, status["song"]
            if not self._quiet:
                print(line(status), file=sys.stderr, flush=True)

    def tell(self, sentence: str) -> None:
        print(f"rtsep: {sentence}", file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


class StripView:
    """Title, settings and the song's waveform with the place in it, drawn over themselves."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._console = Console(stderr=True)
        self._rich = RichLive(console=self._console, refresh_per_second=20, transient=True)
        self._rich.start()
        self._told: list[str] = []

    def show(self, player: Player) -> None:
        self._rich.update(screen(player, self._console.width, self._told[-2:]))

    def tell(self, sentence: str) -> None:
        self._told.append(sentence)

    def close(self) -> None:
        self._rich.stop()
        for sentence in self._told:
            print(f"rtsep: {sentence}", file=sys.stderr)


def choose(as_json: bool, quiet: bool = False) -> PlayerView:
    """JSON when asked for, a strip on a terminal, else plain lines."""
    if as_json:
        return JsonView()
    return StripView() if sys.stderr.isatty() and not quiet else PlainView(quiet)


def settings_of(status: dict[str, Any]) -> str:
    """What is heard, in words."""
    voice = "off" if status["vocals"] is None else f"{status['vocals']:.0f} dB"
    words = ["the original" if status["original"] else "vocals only" if status["solo"] else f"vocals {voice}"]
    if status["key"]:
        words.append(f"key {status['key']:+d}")
    if status["volume"]:
        words.append(f"volume {status['volume']:.0f} dB")
    return ", ".join(words)


def line(status: dict[str, Any]) -> str:
    """A status in one line."""
    length = "" if status["length"] is None else f" of {clock(status['length'])}"
    return (
        f"{status['state']}: {status['song']}/{status['songs']} {status['title']}, {clock(status['seconds'])}{length}, "
        f"{settings_of(status)}, late {status['late']} of {status['callbacks']}, xruns {status['xruns']}"
    )


def strip(peaks: list[float], width: int, share: float) -> Any:
    """The waveform as ``width`` bars; what was played, as far as ``share`` (0 to 1), is brighter."""
    from rich.text import Text

    bars = []
    for column in range(width):
        begin, stop = column * len(peaks) // width, max(1, (column + 1) * len(peaks) // width)
        loudest = max(peaks[begin : max(stop, begin + 1)], default=0.0)
        bars.append(_BARS[min(8, round(8 * min(1.0, loudest)))])
    played = min(width, max(0, round(share * width)))
    return Text.assemble(("".join(bars[:played]), "bold cyan"), ("".join(bars[played:]), "dim"))


def screen(player: Player, width: int, told: list[str]) -> Any:
    """The figures and the strip as a rich group."""
    from rich.console import Group
    from rich.text import Text

    status, song = player.status(), player.songs.get(player.position[0], {})
    length = song.get("seconds") or 0.0
    share = status["seconds"] / length if length else 0.0
    level = status.get("played_db", -120.0)
    mark = {"running": "▶", "paused": "⏸"}.get(status["state"], "…")
    lines = [
        Text(f"{mark} {status['title']}  ({status['song']} of {status['songs']})", style="bold", no_wrap=True),
        strip(song.get("peaks", []), max(10, width - 1), share),
        Text(f"{clock(status['seconds'])} / {clock(length)}   {settings_of(status)}   {level:.0f} dB"),
        Text(f"{status['model']} → {status['output']}   late {status['late']}  xruns {status['xruns']}", style="dim"),
        *(Text(sentence, style="yellow") for sentence in told),
        Text(_KEYS, style="dim"),
    ]
    return Group(*lines)


class PlayerSession:
    """``run`` returns when the songs are over, q is pressed, a signal comes or ``seconds`` are over."""

    def __init__(
        self,
        settings: PlayerSettings,
        view: PlayerView,
        singer: str | None = None,
    ) -> None:
        """singer: a microphone that is denoised and mixed in, by name; raises InputError, see Player."""
        self.view = view
        self.player = Player(settings, tell=view.tell)
        self._singer = singer
        self._quit = threading.Event()
        self._before: float | None = None  # vocals before they were taken away

    def run(self, seconds: float | None = None) -> None:
        """Raises InputError or RtsepError when the sound cannot be started."""
        try:
            with _Signals(self._quit), self.player, self._microphone(), Keys() as keys:
                end = None if seconds is None else time.monotonic() + seconds
                while not self._quit.wait(_LOOK_S) and (end is None or time.monotonic() < end):
                    for key in keys.pressed():
                        self.press(key)
                    self.view.show(self.player)
                    if self.player.failure is not None:
                        raise self.player.failure
                    if self.player.finished:
                        time.sleep(0.2)  # the device still has the last of it
                        return
        finally:
            self.view.close()

    @contextlib.contextmanager
    def _microphone(self) -> Iterator[None]:
        """The singer beside the song: a Live of its own to the same device, where the system adds the two."""
        if self._singer is None:
            yield
            return
        output = self.player.device.get("output")
        settings = LiveSettings(model=SINGER, input=self._singer, output=output, client=f"{OWN_NAME}_mic")
        with Live(settings, tell=self.view.tell) as live:
            self.view.tell(
                f"{live.device['input']} is mixed in, denoised; the singer is heard {live.status()['added_ms']:.1f} ms "
                "later than through an empty wire."
            )
            yield

    def press(self, key: str) -> None:
        """What a key does."""
        player = self.player
        if key == "q":
            self._quit.set()
        elif key == " ":
            player.pause(not player.paused)
        elif key in (LEFT, RIGHT):
            player.skip(SKIP_S if key == RIGHT else -SKIP_S)
        elif key in (UP, DOWN):
            player.set_vocals(stepped(player.vocals, 1 if key == UP else -1))
        elif key == "v":
            self._before, now = (player.vocals, None) if player.vocals is not None else (None, self._before or 0.0)
            player.set_vocals(now)
        elif key == "g":
            player.guide()
        elif key == "s":
            player.set_solo(not player.solo)
        elif key == "b":
            player.compare(not player.comparing)
        elif key in "[]":
            self._change_key(1 if key == "]" else -1)
        elif key in ",.":
            player.set_volume(player.volume + (STEP_DB if key == "." else -STEP_DB))
        elif key in "np":
            player.turn(1 if key == "n" else -1)

    def _change_key(self, step: int) -> None:
        try:
            self.player.set_key(min(MOST, max(-MOST, self.player.key + step)))
        except InputError as error:
            self.view.tell(str(error))


def stepped(vocals: float | None, direction: int) -> float | None:
    """The next level of the vocals up or down, in dB; None is off."""
    if vocals is None:
        return LEAST_DB if direction > 0 else None
    following = vocals + direction * STEP_DB
    return None if following < LEAST_DB else min(0.0, following)
