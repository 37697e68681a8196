"""Player: songs from disk through a model to a device, kept up by a supervisor.

>>> with Player(PlayerSettings(songs=("song.flac",), model="mid-side")) as player:
...     player.seek(60.0)
...     player.set_vocals(-12.0)

What a person turns is heard at once, for the parts are mixed in the callback (see ``player_callback``); the model runs
ahead in a process of its own (``player_worker``), and the device in another (``audio_process``). When a device vanishes
the song stands still, and it goes on at the same sample when the device is back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rtsep.errors import InputError, RtsepError
from rtsep.karaoke.pitch_shift import check_key
from rtsep.karaoke.song_parts import GUIDE_DB, karaoke_model, vocals_gain
from rtsep.live.backends.player_block import new_player_block
from rtsep.live.backends.shared_state import counters, ring_length
from rtsep.live.engine.processes import Children
from rtsep.live.engine.status import LEVEL_S, Counters, compute_ms, level, quantiles
from rtsep.live.engine.supervisor import RUNNING, Supervised
from rtsep.live.player.player_settings import MAX_VOLUME_DB, MIN_VOLUME_DB, PlayerSettings
from rtsep.live.player.player_supervisor import PlayerSupervisor
from rtsep.live.player.playlist import Segment, locate
from rtsep.live.player.song import look_for_one

_SAME_S = 0.5  # seeks within this time add up
_FADE_S = 0.05  # at the end


class PlayerStatus(Counters, total=False):
    """What `rtsep karaoke --json` prints once a second; the keys after ``restarts`` once a device was opened."""

    state: str  # starting, preparing, running, paused, waiting (for a device that was lost) or stopped
    song: int  # from 1 on
    songs: int
    title: str
    seconds: float  # into the song
    length: float | None  # of the song, s
    vocals: float | None  # level in dB, None is off
    solo: bool  # only the vocals
    original: bool  # the song as it is
    key: int  # semitones
    volume: float  # dB
    model: str
    output: str | None  # name of the device
    rate: int  # Hz
    block: int  # frames a callback
    restarts: dict[str, int]  # how often worker and device were lost
    played_db: float  # level re full scale
    compute_ms: dict[str, float | None]  # p50, p99 and max of the worker's pieces
    ahead_s: float  # that are ready to be played


class Player(Supervised):
    """See the module. Every method may be called from any thread of the parent, and none waits for sound.

    state, device, restarts, events: see Supervised. songs: what is known of each by its number: title, seconds, peaks.
    bad: sentences about those that cannot be played. segments: what lies in the rings. failure: why it cannot go on, if
    so.
    """

    def __init__(
        self,
        settings: PlayerSettings,
        tell: Callable[[str], None] | None = None,
        opened: Callable[[dict[str, Any]], None] | None = None,
        quit: threading.Event | None = None,
    ) -> None:
        """Raises InputError for a model or a setting that cannot be.

        tell, opened, quit: see Supervised.
        """
        super().__init__(tell, opened, quit)
        if not settings.songs:
            raise InputError("There is no song to play; name one.")
        self.settings = settings
        self.model = karaoke_model(settings.model)
        self.vocals, self.solo, self.key, self.volume = settings.vocals, settings.solo, check_key(settings.key), 0.0
        vocals_gain(settings.vocals)
        self.paused = self.comparing = False
        self.songs: dict[int, dict[str, Any]] = {}
        self.bad: dict[int, str] = {}
        self.segments: list[Segment] = []
        self.failure: RtsepError | None = None
        self._last_seek: tuple[float, int, float] = (-1.0, 0, 0.0)  # when, song, seconds into it

    # Beginning and end

    def start(self, patience: float = 90.0) -> None:
        """See Supervised."""
        look_for_one(self.settings.songs)
        # What a model looks ahead by comes all at once where a song ends, at four times the model's rate perhaps.
        self.block = new_player_block(max(self.settings.ring, ring_length(8 * self.model.spec.lookahead)))
        self.set_volume(self.settings.volume)
        self._balance()
        self.pause(self.settings.paused)
        state, player = self.block.state, self.block.player  # no ramp at the beginning
        state.volume, player.playing = state.volume_target, player.playing_target
        player.accompaniment, player.vocals = player.accompaniment_target, player.vocals_target
        self.children = Children(self.block, self.settings.environment, self.settings.launcher)
        self._start(PlayerSupervisor(self), patience)

    def fade_out(self) -> None:
        """See Supervised."""
        self.block.player.playing_target = 0.0
        time.sleep(_FADE_S)

    # What a person turns

    def pause(self, on: bool) -> None:
        """Stand still, or go on at the same sample; faded within 20 ms."""
        self.paused = on
        self.block.player.playing_target = 0.0 if on else 1.0

    def set_vocals(self, decibels: float | None) -> None:
        """Level of the vocals in dB, None is off; raises InputError above 0."""
        vocals_gain(decibels)
        self.vocals, self.solo = decibels, False
        self._balance()

    def set_solo(self, on: bool) -> None:
        """Only the vocals, or what `vocals` says again."""
        self.solo = on
        self._balance()

    def guide(self) -> None:
        """The vocals quiet, to sing along with."""
        self.set_vocals(GUIDE_DB)

    def _balance(self) -> None:
        gains = (0.0, 1.0) if self.solo else (1.0, vocals_gain(self.vocals))
        self.block.player.accompaniment_target, self.block.player.vocals_target = gains

    def set_volume(self, decibels: float) -> None:
        """dB, from -60 to 0."""
        self.volume = min(MAX_VOLUME_DB, max(MIN_VOLUME_DB, decibels))
        self.block.state.volume_target = 10.0 ** (self.volume / 20.0)

    def compare(self, on: bool) -> None:
        """Play the original instead, at the same place, crossfaded within 20 ms."""
        self.comparing = on
        self.block.state.bypass_target = 1.0 if on else 0.0

    def set_key(self, key: int) -> None:
        """Semitones, -6 to 6; heard within about 0.2 s, or half a second when the model looks ahead.

        Raises InputError, without Rubber Band too.
        """
        self.key = check_key(key)
        self.children.tell_worker({"do": "key", "key": self.key})

    def seek(self, seconds: float, song: int | None = None) -> None:
        """Go to a place, in ``song`` (its number) or the one that plays."""
        number = self.position[0] if song is None else song
        seconds = max(0.0, seconds)
        self._last_seek = (time.monotonic(), number, seconds)
        self.children.tell_worker({"do": "go", "song": number, "seconds": seconds})

    def skip(self, seconds: float) -> None:
        """Go forward (or back) from where it is, or will be after a seek that was just asked for."""
        number, place = self.position
        if time.monotonic() - self._last_seek[0] < _SAME_S:
            _, number, place = self._last_seek
        self.seek(place + seconds, number)

    def turn(self, songs: int) -> None:
        """To the beginning of the next song (1), or the previous one (-1)."""
        self.seek(0.0, min(len(self.settings.songs) - 1, max(0, self.position[0] + songs)))

    # Where it is

    @property
    def position(self) -> tuple[int, float]:
        """Number of the song, and seconds into it, of what the device gets next."""
        segments, rate = self.segments, self.block.state.rate
        if not segments or not rate:
            return 0, self.settings.begin
        song, sample = locate(segments, self.block.player.position)
        return song, sample / rate

    @property
    def finished(self) -> bool:
        """Whether the last song is over."""
        player = self.block.player
        return 0 < player.end <= player.position and player.jumps_made == player.jump_version

    def status(self) -> PlayerStatus:
        """Place, settings, counters since the start, level in dB, compute in ms a piece."""
        state, (number, seconds) = self.block.state, self.position
        rate, song = state.rate, self.songs.get(number, {})
        values: dict[str, Any] = {
            "state": "paused" if self.paused and self.state == RUNNING else self.state,
            "song": number + 1,
            "songs": len(self.settings.songs),
            "title": song.get("title", ""),
            "seconds": round(seconds, 3),
            "length": song.get("seconds"),
            "vocals": self.vocals,
            "solo": self.solo,
            "original": self.comparing,
            "key": self.key,
            "volume": self.volume,
            "model": self.model.spec.name,
            "output": self.device.get("output"),
            "rate": rate,
            "block": state.block,
            **counters(self.block),
            "restarts": dict(self.restarts),
        }
        if rate:
            count = min(state.position, round(LEVEL_S * rate), self.block.length // 2)
            sound = self.block.samples_before(self.block.played[:2], state.position, 0 if self.paused else count)
            values |= {
                "played_db": level(sound),
                "compute_ms": quantiles(compute_ms(self.block, 50)),
                "ahead_s": max(0.0, (state.processed - self.block.player.position) / rate),
            }
        return values  # type: ignore[return-value]
