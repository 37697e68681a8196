"""A player's session: the player, its view and its keys, in one loop until the songs are over."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from rtsep.errors import InputError
from rtsep.karaoke.pitch_shift import MOST
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings
from rtsep.live.player.player import Player
from rtsep.live.player.player_settings import PlayerSettings
from rtsep.live.routing.devices import OWN_NAME
from rtsep.live.ui.keys import DOWN, LEFT, RIGHT, UP, Keys
from rtsep.live.ui.stop_signals import StopSignals
from rtsep.live.ui.views import ShownUntilBroken, View

STEP_DB = 3.0
LEAST_DB = -30.0  # of the slider; the step below is off
SKIP_S = 5.0
SINGER_MODEL = "denoise"  # for the microphone
_LOOK_S = 0.05
_TAIL_S = 0.2  # the device still has the last of it


class PlayerSession:
    """``run`` returns when the songs are over, q is pressed, a signal comes or ``seconds`` are over."""

    def __init__(
        self,
        settings: PlayerSettings,
        view: Callable[[Player], View],
        singer: str | None = None,
        quit: threading.Event | None = None,
        opened: Callable[[dict[str, Any]], None] | None = None,
        keyboard: bool = True,
    ) -> None:
        """view: makes the view of the player. singer: a microphone that is denoised and mixed in, by name.

        quit: ends the session when it is set, from before it began. opened: see Player. keyboard: whether the
        terminal's keys are listened to. Raises InputError, see Player.
        """
        self._quit = quit or threading.Event()
        self.player = Player(settings, tell=self._say, opened=opened, quit=self._quit)
        self.view = ShownUntilBroken(view(self.player), self._quit)
        self._singer = singer
        self._keys = Keys(keyboard)
        self._vocals_before: float | None = None  # they were taken away

    def _say(self, sentence: str) -> None:
        self.view.tell(sentence)

    def run(self, seconds: float | None = None) -> None:
        """Raises InputError or RtsepError when the sound cannot be started."""
        try:
            with StopSignals(self._quit), self.player, self._microphone(), self._keys as keys:
                end = None if seconds is None else time.monotonic() + seconds
                while not self._quit.wait(_LOOK_S) and (end is None or time.monotonic() < end):
                    for key in keys.pressed():
                        self.press(key)
                    self.view.show(self.player.status())
                    if self.player.failure is not None:
                        raise self.player.failure
                    if self.player.finished:
                        time.sleep(_TAIL_S)
                        return
        finally:
            self.view.close()

    @contextlib.contextmanager
    def _microphone(self) -> Iterator[None]:
        """The singer beside the song: a live engine of its own to the same device, where the system adds the two."""
        if self._singer is None or self._quit.is_set():
            yield
            return
        output = self.player.device.get("output")
        settings = LiveSettings(model=SINGER_MODEL, input=self._singer, output=output, client=f"{OWN_NAME}_mic")
        with LiveEngine(settings, tell=self._say, quit=self._quit) as engine:
            self._say(
                f"{engine.device.get('input')} is mixed in, denoised; the singer is heard {engine.added_ms:.1f} ms "
                "later than through an empty wire."
            )
            yield

    def press(self, key: str) -> None:
        """What a key does."""
        player = self.player
        actions: dict[str, Callable[[], Any]] = {
            "q": self._quit.set,
            " ": lambda: player.pause(not player.paused),
            LEFT: lambda: player.skip(-SKIP_S),
            RIGHT: lambda: player.skip(SKIP_S),
            UP: lambda: player.set_vocals(next_level(player.vocals, 1)),
            DOWN: lambda: player.set_vocals(next_level(player.vocals, -1)),
            "v": self._vocals_off_or_on,
            "g": player.guide,
            "s": lambda: player.set_solo(not player.solo),
            "b": lambda: player.compare(not player.comparing),
            "[": lambda: self._change_key(-1),
            "]": lambda: self._change_key(1),
            ",": lambda: player.set_volume(player.volume - STEP_DB),
            ".": lambda: player.set_volume(player.volume + STEP_DB),
            "n": lambda: player.turn(1),
            "p": lambda: player.turn(-1),
        }
        if key in actions:
            actions[key]()

    def _vocals_off_or_on(self) -> None:
        player = self.player
        if player.vocals is not None:
            self._vocals_before = player.vocals
            player.set_vocals(None)
        else:
            before, self._vocals_before = self._vocals_before or 0.0, None
            player.set_vocals(before)

    def _change_key(self, step: int) -> None:
        try:
            self.player.set_key(min(MOST, max(-MOST, self.player.key + step)))
        except InputError as error:
            self._say(str(error))


def next_level(vocals: float | None, direction: int) -> float | None:
    """The next level of the vocals up or down, in dB; None is off."""
    if vocals is None:
        return LEAST_DB if direction > 0 else None
    following = vocals + direction * STEP_DB
    return None if following < LEAST_DB else min(0.0, following)
