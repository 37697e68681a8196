"""The supervisor of a player: songs stand still while a device or the worker is away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rtsep.errors import InputError, RtsepError
from rtsep.live.engine.processes import PLAYER, WORKER
from rtsep.live.engine.supervisor import Supervisor
from rtsep.live.player.playlist import Segment, clock_text, locate
from rtsep.live.routing.devices import JACK, MAX_PLAYER_BLOCK, PLAYER_BLOCK

if TYPE_CHECKING:
    from rtsep.live.player.player import Player

_WORKER_MODULE = "rtsep.live.player.player_worker"


class PlayerSupervisor(Supervisor):
    """See Supervisor."""

    def __init__(self, player: Player) -> None:
        super().__init__(player)
        self._player = player
        self._output = player.settings.output
        self._asked_block = player.settings.block

    def start_audio(self) -> None:
        player = self._player
        values = {
            "callback": PLAYER,
            "output": player.device.get("output", self._output),
            "rate": player.model.spec.sample_rate,
            "block": self._asked_block,
            "client": player.settings.client,
        }
        self._children.start_audio(values)

    def start_worker(self, again: bool = False) -> None:
        player = self._player
        song, seconds = 0, player.settings.begin
        if again and player.segments:
            song, sample = locate(player.segments, self._state.processed)
            seconds = sample / max(1, self._state.rate)
        settings = {
            "model": str(player.model.path),
            "songs": list(player.settings.songs),
            "song": song,
            "seconds": seconds,
            "key": player.key,
            "append": again and bool(player.segments),
        }
        self._children.start_worker(_WORKER_MODULE, json.dumps(settings))

    def worker_given_up(self, why: str) -> None:
        self._player.failure = RtsepError(f"{why}; is the disk full?")

    def began_to_run(self, now: float) -> None:
        if self._player.restarts["device"]:
            self._player.say(f"{self.device_names()} is back; the song goes on.")

    def device_lost(self, why: str) -> None:
        player = self._player
        device = player.device
        # A device that comes with gaps is asked for larger blocks, of which it has to come less often.
        if device and device["host"] != JACK:
            self._asked_block = min(MAX_PLAYER_BLOCK, 2 * (self._asked_block or PLAYER_BLOCK))
        player.block.player.playing = 0.0  # it fades in when it is back
        player.say(
            f"{why}; the song stands still at {clock_text(player.position[1])} until {self.device_names()} is back."
        )

    def receive(self, role: str, message: dict[str, Any]) -> None:
        player, event = self._player, message["event"]
        if role != WORKER:
            return
        if event == "segment":
            segment = Segment(message["at"], message["song"], message["offset"])
            player.segments = [*player.segments[-40:], segment]
        elif event in ("song", "peaks"):
            player.songs.setdefault(message["song"], {}).update(message)
        elif event == "bad":
            player.bad[message["song"]] = message["sentence"]
            if len(player.settings.songs) > 1 or player.segments:
                player.say(message["sentence"])
        elif event == "end" and not player.segments:
            last = list(player.bad.values())[-1] if player.bad else "There is nothing to play."
            self.refusal = InputError("None of the songs can be played." if len(player.settings.songs) > 1 else last)
