"""The karaoke tab's controller: a playlist and the player that `rtsep karaoke` uses; or what other programs play.

One thread owns the session. What a person turns is heard at once; another model, output or singer begins the session
anew at the same place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtsep.errors import InputError
from rtsep.karaoke.pitch_shift import check_key
from rtsep.karaoke.song_parts import default_model, vocals_gain
from rtsep.live.engine.live_engine import LiveSettings
from rtsep.live.player.player_settings import MAX_VOLUME_DB, MIN_VOLUME_DB, PlayerSettings
from rtsep.live.routing.capture import Capture
from rtsep.live.routing.devices import OWN_NAME
from rtsep.live.routing.pulse_routing import ServerPins
from rtsep.live.session import LiveSession
from rtsep.panel.commands import command
from rtsep.panel.model_list import song_models
from rtsep.panel.playlist import Entry, Playlist, songs_in
from rtsep.panel.song_taker import SongTaker
from rtsep.panel.tab import SessionTab, TabView

if TYPE_CHECKING:
    from rtsep.live.player.player import Player
    from rtsep.live.player.player_session import PlayerSession

SONGS, CAPTURE = "songs", "capture"


class Karaoke(SessionTab):
    """See SessionTab. taker: of songs that pages send."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        super().__init__(changed)
        self._models = song_models()
        self._playlist = Playlist()
        self.taker = SongTaker(self._playlist, self._lock, changed, self.tell)
        self._model = default_model()
        self._output: str | None = None
        self._singer: str | None = None
        self._vocals: float | None = None
        self._solo = self._original = self._paused = False
        self._key, self._volume = 0, 0.0
        self._mode = SONGS
        self._start: tuple[int | None, float] = (None, 0.0)  # song and second that the next session begins at
        self._played: list[Entry] = []  # songs of the session that runs
        self._player_session: PlayerSession | None = None
        self._capture: LiveSession | None = None
        self._status: Mapping[str, Any] | None = None

    def close(self) -> None:
        """See Tab."""
        super().close()
        self.taker.uploads.close()

    @property
    def player(self) -> Player | None:
        """Of the session whose sound runs."""
        with self._lock:
            return None if self._player_session is None or self._status is None else self._player_session.player

    @property
    def capture_session(self) -> LiveSession | None:
        """That turns down what other programs play, when its sound runs."""
        with self._lock:
            return None if self._status is None else self._capture

    # What pages see

    def state(self) -> dict[str, Any]:
        """See Tab."""
        with self._lock:
            status = dict(self._status) if self._status is not None and self._on else None
            current, peaks = self._current(), []
            if current is not None and self._player_session is not None:
                known = self._player_session.player.songs.get(self._played.index(current), {})
                peaks = known.get("peaks", [])
            return super().state() | {
                "on": self._on,
                "ending": not self._on and (self._player_session is not None or self._capture is not None),
                "mode": self._mode,
                "playlist": [entry.as_dict() for entry in self._playlist],
                "current": None if current is None else current.number,
                "peaks": peaks,
                "status": status,
                "song_models": self._models,
                "model": self._model,
                "output": self._output,
                "singer": self._singer,
                "vocals": self._vocals,
                "solo": self._solo,
                "original": self._original,
                "paused": self._paused,
                "key": self._key,
                "volume": self._volume,
            }

    def _current(self) -> Entry | None:
        """The song that plays."""
        if self._player_session is None or self._status is None or not self._on:
            return None
        place = min(len(self._played) - 1, self._player_session.player.position[0])
        return self._played[place]

    # What pages ask for: songs

    @command
    def add(self, path: str) -> None:
        """The songs of a folder of this machine, or one song."""
        found = songs_in(Path(path).expanduser())
        with self._lock:
            self._playlist.add(found)
        self._changed()

    @command
    def remove(self, song: int) -> None:
        """From the playlist; if it plays, the next one does."""
        with self._lock:
            following = self._after(song)
            plays = self._current()
            entry = self._playlist.remove(song)
            if plays is entry:
                if following is None:
                    self._turn(False)
                else:
                    self._begin_at(following.number)
            if entry.sent and entry.path is not None:
                self.taker.uploads.remove(entry.path)
        self._changed()

    @command
    def play(self, song: int) -> None:
        """From its beginning."""
        with self._lock:
            entry = self._playlist.entry(song)
            if entry.path is None:
                raise InputError(f"{entry.name} is still on its way.")
            self._paused = False
            self._begin_at(song)
        self._changed()

    @command
    def run(self, on: bool) -> None:
        """Play the playlist, or stop."""
        with self._lock:
            if on and not self._playlist.playable():
                raise InputError("There is no song to play; drop some, or choose a folder.")
            if on:
                self._mode, self._paused = SONGS, False
            self._turn(on)
        self._changed()

    @command
    def pause(self, on: bool) -> None:
        """Stand still, or go on at the same sample."""
        self._running().pause(on)
        self._paused = on
        self._changed()

    @command
    def turn(self, songs: int) -> None:
        """To the next song (1) or the previous one (-1)."""
        with self._lock:
            playable, current = self._playlist.playable(), self._current()
            if current is None or current not in playable:
                raise InputError("No song plays.")
            place = min(len(playable) - 1, max(0, playable.index(current) + songs))
            self._begin_at(playable[place].number)

    @command
    def seek(self, seconds: float) -> None:
        """To a place in the song that plays."""
        self._running().seek(seconds)

    # What pages ask for: sound

    @command
    def set_vocals(self, decibels: float | None) -> None:
        """Their level in dB, None is off."""
        vocals_gain(decibels)
        self._vocals, self._solo = decibels, False
        if self.player is not None:
            self.player.set_vocals(decibels)
        capture = self.capture_session
        if capture is not None:
            capture.engine.set_strength(None if decibels is None else -decibels)
        self._changed()

    @command
    def set_solo(self, on: bool) -> None:
        """Only the vocals."""
        self._solo = on
        if self.player is not None:
            self.player.set_solo(on)
        self._changed()

    @command
    def set_original(self, on: bool) -> None:
        """The song as it is, at the same place."""
        self._original = on
        if self.player is not None:
            self.player.compare(on)
        if self.capture_session is not None:
            self.capture_session.engine.bypass(on)
        self._changed()

    @command
    def set_key(self, key: int) -> None:
        """Semitones, -6 to 6."""
        self._key = check_key(key)
        if self.player is not None:
            self.player.set_key(key)
        self._changed()

    @command
    def set_volume(self, decibels: float) -> None:
        """From -60 to 0."""
        self._volume = min(MAX_VOLUME_DB, max(MIN_VOLUME_DB, decibels))
        if self.player is not None:
            self.player.set_volume(self._volume)
        self._changed()

    # What pages ask for: what a session is made with

    @command
    def choose_model(self, model: str) -> None:
        """By name."""
        self._known(model)
        with self._lock:
            self._model = model
            self._begin_again()

    @command
    def choose_output(self, output: str | None) -> None:
        """A device by name; None is the default."""
        with self._lock:
            self._output = output
            self._begin_again()

    @command
    def choose_singer(self, microphone: str | None) -> None:
        """A microphone that is denoised and mixed in, by name; None is none."""
        with self._lock:
            self._singer = microphone
            if self._mode == SONGS:
                self._begin_again()

    @command
    def capture(self, on: bool) -> None:
        """Turn down what other programs play to a loudspeaker made for it, or stop."""
        with self._lock:
            if on and self._on:
                self._quit.set()
            if on:
                self._mode = CAPTURE
            self._turn(on)
        self._changed()

    def _running(self) -> Player:
        player = self.player
        if player is None:
            raise InputError("No song plays.")
        return player

    def _known(self, model: str) -> dict[str, Any]:
        found = next((one for one in self._models if one["name"] == model), None)
        if found is None:
            raise InputError(f"There is no model {model!r} for songs.")
        return found

    def _after(self, song: int) -> Entry | None:
        playable = self._playlist.playable()
        numbers = [entry.number for entry in playable]
        later = [entry for entry, number in zip(playable, numbers, strict=True) if number > song]
        return later[0] if later else None

    def _begin_at(self, song: int, seconds: float = 0.0) -> None:
        """Go there: within the session that runs, if the song is one of its, else by another session."""
        player, played = self.player, [entry.number for entry in self._played]
        self._mode = SONGS
        if player is not None and song in played:
            player.seek(seconds, played.index(song))
            player.pause(self._paused)
            return
        self._start = song, seconds
        self._quit.set()
        self._turn(True)

    def _begin_again(self) -> None:
        """The session, at the same place."""
        player, current = self.player, self._current()
        if player is not None and current is not None:
            self._start = current.number, player.position[1]
        self._quit.set()
        self._changed()

    # The session's thread

    def _sessions(self) -> None:
        if self._mode == CAPTURE:
            self._run_capture()
        else:
            self._run_songs()

    def _run_songs(self) -> None:
        from rtsep.live.player.player_session import PlayerSession  # only now, for Numba takes its time to load

        with self._lock:
            quit = self._quit = threading.Event()
            (song, seconds), self._start = self._start, (None, 0.0)
            songs = self._playlist.playable()
            songs = [entry for entry in songs if song is None or entry.number >= song]
            if not songs or not self._on:
                self._on = False
                return
            settings = PlayerSettings(
                tuple(str(entry.path) for entry in songs),
                model=self._model,
                output=self._output,
                vocals=self._vocals,
                solo=self._solo,
                key=self._key,
                volume=self._volume,
                begin=seconds,
                paused=self._paused,
                client=f"{OWN_NAME}_player",
            )
            self._played = songs
        with ServerPins() as pins:
            session = PlayerSession(
                settings, lambda _: TabView(self), self._singer, quit, opened=pins.pin, keyboard=False
            )
            self._player_session = session
            try:
                session.run()
            finally:
                with self._lock:
                    self._player_session = self._status = None
        with self._lock:
            if quit.is_set() or not self._on:
                return
            following = self._after(songs[-1].number)  # came while these played
            if following is None:
                self._on = False
                self.tell("The playlist is over.")
            else:
                self._start = following.number, 0.0

    def _run_capture(self) -> None:
        with self._lock:
            quit = self._quit = threading.Event()
            if not self._on:
                return
            name = self._model if self._known(self._model)["live"] else default_model(live=True)
            strength = None if self._vocals is None else -self._vocals
        with Capture(None, self._output, virtual_sink=True) as capture:
            settings = LiveSettings(model=name, strength=strength, channels=2, **capture.settings())
            greeting = f"Point other players at {capture.made}; it plays on {capture.output}."
            session = LiveSession(
                settings, TabView(self), opened=capture.pin, quit=quit, keyboard=False, greeting=greeting
            )
            self._capture = session
            try:
                session.run()
            finally:
                with self._lock:
                    self._capture = self._status = None

    def show(self, status: Mapping[str, Any]) -> None:
        """See SessionTab."""
        with self._lock:
            first = self._status is None
            self._status = status
            if self._player_session is not None:
                self._look_at(self._player_session.player)
        if first and self._original:
            self.set_original(True)
        self._changed()

    def _look_at(self, player: Player) -> None:
        """Titles and what cannot be played; and a song that was removed is passed over."""
        for place, song in list(player.songs.items()):
            self._played[place].title = song.get("title", "")
        for place, sentence in list(player.bad.items()):
            self._played[place].sentence = sentence
        here = self._played[min(len(self._played) - 1, player.position[0])]
        if here not in list(self._playlist):
            following = self._after(here.number)
            if following is None:
                self._turn(False)
            else:
                self._begin_at(following.number)
