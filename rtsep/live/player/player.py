"""Player: songs from disk through a model to a device, kept up by a watchdog.

>>> with Player(PlayerSettings(songs=("song.flac",), model="mid-side")) as player:
...     player.seek(60.0)
...     player.set_vocals(-12.0)

What a person turns is heard at once, for the parts are mixed in the callback (see ``deck``); the model runs ahead in a
process of its own (``feeder``), and PortAudio in another (``speaker``). When a device vanishes the song stands still,
and it goes on at the same sample when the device is back.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rtsep.errors import InputError, RtsepError
from rtsep.karaoke.pitch_shift import check_key
from rtsep.karaoke.song_parts import GUIDE_DB, load_karaoke, vocals_gain
from rtsep.live.backends import player_callback
from rtsep.live.backends import shared_state as b
from rtsep.live.child_processes import child_environment, end, how_ended
from rtsep.live.player.player_worker import Segment, locate
from rtsep.live.player.song import look_for_one
from rtsep.live.routing.devices import OWN_NAME
from rtsep.live.status import compute_ms, level, quantiles

_TICK_S = 0.02
_SILENT_S = 0.5  # without a callback for so long, the device is lost
_AGAIN_S = 0.5  # between attempts to open a lost device
_OPENING_S = 30.0  # that an attempt may take: PortAudio can hang when a server half exists
_SHORT_S, _MOST_DEATHS = 10.0, 3  # a worker that so often does not live longer is given up
_RING = 1 << 18
_SAME_S = 0.5  # seeks within this time add up
MOST_VOLUME_DB, LEAST_VOLUME_DB = 0.0, -60.0


@dataclass(frozen=True)
class PlayerSettings:
    """What a person chooses.

    songs: paths. model: name or path. output: device by name, part of it or number; None is the default at the start.
    vocals: dB <= 0, None is off. solo: only the vocals. key: semitones. volume: dB <= 0. begin: seconds into the first
    song. block: frames to ask the device for. ring: samples kept, a power of two. environment, launcher: see
    LiveSettings.
    """

    songs: tuple[str, ...]
    model: str = "mid-side"
    output: str | None = None
    vocals: float | None = None
    solo: bool = False
    key: int = 0
    volume: float = 0.0
    begin: float = 0.0
    paused: bool = False
    block: int | None = None
    ring: int = _RING
    client: str = OWN_NAME
    environment: tuple[tuple[str, str], ...] = ()
    launcher: tuple[str, ...] = ()


class Player:
    """See the module. Every method may be called from any thread of the parent, and none waits for sound.

    state: starting, running, waiting (for a device) or stopped. events: (seconds since the start, sentence).
    songs: what is known of each by its number: title, seconds, peaks. failure: why it cannot go on, if so.
    """

    def __init__(
        self,
        settings: PlayerSettings,
        tell: Callable[[str], None] | None = None,
        opened: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Raises InputError for a model or a setting that cannot be. tell: gets every event's sentence."""
        if not settings.songs:
            raise InputError("There is no song to play; name one.")
        self.settings = settings
        self.model = load_karaoke(settings.model)
        self.vocals, self.solo, self.key, self.volume = settings.vocals, settings.solo, check_key(settings.key), 0.0
        vocals_gain(settings.vocals)
        self.paused = self.comparing = False
        self.state = "stopped"
        self.events: deque[tuple[float, str]] = deque(maxlen=200)
        self.restarts = {"worker": 0, "device": 0}
        self.device: dict[str, Any] = {}
        self.songs: dict[int, dict[str, Any]] = {}
        self.bad: dict[int, str] = {}
        self._tell, self._opened = tell, opened
        self._output = settings.output
        self._segments: list[Segment] = []
        self._audio: subprocess.Popen[bytes] | None = None
        self._feeder: subprocess.Popen[bytes] | None = None
        self._messages: deque[tuple[Any, dict[str, Any]]] = deque()
        self._refusal: RtsepError | None = None
        self._over = threading.Event()
        self._aim: tuple[float, int, float] = (-1.0, 0, 0.0)
        self.failure: RtsepError | None = None
        self._deaths = 0
        self._calls = (0, 0.0)
        self._again = self._opening = 0.0

    # Beginning and end

    def start(self, patience: float = 60.0) -> None:
        """Open everything and return when sound runs. Raises InputError or RtsepError when it cannot."""
        look_for_one(self.settings.songs)
        # What a model looks ahead by comes all at once where a song ends, at four times the model's rate perhaps.
        self.block = player_callback.new_deck(max(self.settings.ring, b.ring_length(8 * self.model.spec.lookahead)))
        self._began = time.monotonic()
        self.set_volume(self.settings.volume)
        self._balance()
        gains = self.block.gains  # no ramp at the beginning
        gains[[b.LOUD, player_callback.ACCOMPANIMENT, player_callback.VOCALS]] = gains[
            [b.LOUD_AIM, player_callback.ACCOMPANIMENT_AIM, player_callback.VOCALS_AIM]
        ]
        self.pause(self.settings.paused)
        gains[player_callback.PLAYING] = gains[player_callback.PLAYING_AIM]
        self.state = "starting"
        self._start_feeder(0, self.settings.begin)
        self._start_audio()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="watchdog")
        self._watcher.start()
        last = time.monotonic() + patience
        while self.state != "running":
            if self._refusal is not None or time.monotonic() > last:
                refusal = self._refusal or RtsepError("The sound did not start in time; try `rtsep doctor`.")
                self.stop()
                raise refusal
            time.sleep(0.01)

    def stop(self) -> None:
        """Fade out, end both processes, give the memory back. Twice is as good as once."""
        if self._over.is_set() or self.state == "stopped":
            return
        if self.state == "running":
            self.block.gains[player_callback.PLAYING_AIM] = 0.0
            time.sleep(0.05)
        self._over.set()
        self._watcher.join()
        self.block.head[b.STOP] = 1
        for process in (self._audio, self._feeder):
            if process is not None:
                end(process, 1.5)
        self.state = "stopped"
        self.block.close()

    def __enter__(self) -> Player:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # What a person turns

    def pause(self, on: bool) -> None:
        """Stand still, or go on at the same sample; faded within 20 ms."""
        self.paused = on
        self.block.gains[player_callback.PLAYING_AIM] = 0.0 if on else 1.0

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
        self.block.gains[player_callback.ACCOMPANIMENT_AIM], self.block.gains[player_callback.VOCALS_AIM] = gains

    def set_volume(self, decibels: float) -> None:
        """dB, from -60 to 0."""
        self.volume = min(MOST_VOLUME_DB, max(LEAST_VOLUME_DB, decibels))
        self.block.gains[b.LOUD_AIM] = 10.0 ** (self.volume / 20.0)

    def compare(self, on: bool) -> None:
        """Play the original instead, at the same place, crossfaded within 20 ms."""
        self.comparing = on
        self.block.gains[b.BYPASS_AIM] = 1.0 if on else 0.0

    def set_key(self, key: int) -> None:
        """Semitones, -6 to 6; heard within about 0.2 s, or half a second when the model looks ahead.

        Raises InputError, without Rubber Band too.
        """
        self.key = check_key(key)
        self._command({"do": "key", "key": self.key})

    def seek(self, seconds: float, song: int | None = None) -> None:
        """Go to a place, in ``song`` (its number) or the one that plays."""
        number = self.position[0] if song is None else song
        seconds = max(0.0, seconds)
        self._aim = (time.monotonic(), number, seconds)
        self._command({"do": "go", "song": number, "seconds": seconds})

    def skip(self, seconds: float) -> None:
        """Go forward (or back) from where it is, or will be after a seek that was just asked for."""
        number, place = self.position
        if time.monotonic() - self._aim[0] < _SAME_S:
            _, number, place = self._aim
        self.seek(place + seconds, number)

    def turn(self, songs: int) -> None:
        """To the beginning of the next song (1), or the previous one (-1)."""
        self.seek(0.0, min(len(self.settings.songs) - 1, max(0, self.position[0] + songs)))

    # Where it is

    @property
    def position(self) -> tuple[int, float]:
        """Number of the song, and seconds into it, of what the device gets next."""
        segments, rate = self._segments, int(self.block.head[b.RATE])
        if not segments or not rate:
            return 0, self.settings.begin
        song, sample = locate(segments, int(self.block.head[player_callback.READ]))
        return song, sample / rate

    @property
    def finished(self) -> bool:
        """Whether the last song is over."""
        head = self.block.head
        return bool(
            0 < head[player_callback.END] <= head[player_callback.READ]
            and head[player_callback.SEEN] == head[player_callback.JUMP_TURN]
        )

    @property
    def processes(self) -> dict[str, int | None]:
        """Process numbers of the children."""
        return {
            "audio": self._audio.pid if self._audio else None,
            "worker": self._feeder.pid if self._feeder else None,
        }

    def status(self) -> dict[str, Any]:
        """Place, settings, counters since the start, level in dB, compute in ms a piece."""
        head, (number, seconds) = self.block.head, self.position
        rate, size, song = int(head[b.RATE]), int(head[b.BLOCK]), self.songs.get(number, {})
        values: dict[str, Any] = {
            "state": "paused" if self.paused and self.state == "running" else self.state,
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
            "block": size,
            **b.words(self.block),
            "restarts": dict(self.restarts),
        }
        if rate:
            at = int(head[b.WRITTEN])
            count = min(at, round(0.3 * rate), self.block.length // 2)
            values["played_db"] = level(self.block.last(self.block.played[:2], at, 0 if self.paused else count))
            values["compute_ms"] = quantiles(compute_ms(self.block, 50))
            values["ahead_s"] = max(0.0, float(head[b.DONE] - head[player_callback.READ]) / rate)
        return values

    # The watchdog: the only thread that starts and ends processes once sound runs

    def _watch(self) -> None:
        while not self._over.wait(_TICK_S):
            try:
                self._tick(time.monotonic())
            except OSError as error:
                self._say(f"The watchdog could not act ({error.strerror or error}).")

    def _tick(self, now: float) -> None:
        audio, head = self._audio, self.block.head
        ended = audio is not None and audio.poll() is not None
        while self._messages:
            self._hear_of(*self._messages.popleft())
        if self._refusal is not None:
            return
        if self._feeder is not None and self._feeder.poll() is not None:
            self._feeder_lost()
        if audio is None:
            if now >= self._again:
                self._start_audio()
        elif ended or (self.state == "waiting" and not self.device and now > self._opening + _OPENING_S):
            self._device_lost(f"The audio process ended ({how_ended(audio)})" if ended else "The device did not open")
        elif self.device and not head[b.RUN]:
            if head[b.EPOCH_READY] == head[b.EPOCH]:
                head[b.RUN] = 1
                self._calls = (int(head[b.CALLBACKS]), now)
                if self.state == "waiting":
                    self._say(f"{self.device['output']} is back; the song goes on.")
                self.state = "running"
        elif head[b.RUN]:
            if head[b.CALLBACKS] != self._calls[0]:
                self._calls = (int(head[b.CALLBACKS]), now)
            elif now - self._calls[1] > _SILENT_S:
                self._device_lost("No sound was taken any more")

    def _hear_of(self, process: Any, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "opened" and process is self._audio:
            self._configure(message)
        elif event == "error":
            if self.state == "starting":
                kind = InputError if message["code"] == InputError.exit_code else RtsepError
                self._refusal = kind(message["sentence"])
        elif event == "segment" and process is self._feeder:
            self._segments = [*self._segments[-40:], Segment(message["at"], message["song"], message["offset"])]
        elif event in ("song", "peaks"):
            self.songs.setdefault(message["song"], {}).update(message)
        elif event == "bad":
            self.bad[message["song"]] = message["sentence"]
            if len(self.settings.songs) > 1 or self.state != "starting":
                self._say(message["sentence"])
        elif event == "end" and self.state == "starting" and not self._segments:
            several = len(self.settings.songs) > 1
            last = list(self.bad.values())[-1] if self.bad else "There is nothing to play."
            self._refusal = InputError("None of the songs can be played." if several else last)

    def _configure(self, message: dict[str, Any]) -> None:
        """Take the device as it is; the feeder begins anew, at the same place, when the rate is another."""
        head, rate = self.block.head, message["rate"]
        if self._opened is not None:
            with contextlib.suppress(RtsepError):
                self._opened(message)
        same = head[b.RATE] == rate
        self.block.configure(rate, message["block"], 0)
        self.device, self._output = message, message["output"]
        if not same:
            head[b.EPOCH] += 1

    def _device_lost(self, why: str) -> None:
        if self.state == "starting" and not self.device:
            if self._refusal is None:
                self._refusal = RtsepError(f"The sound could not be started: {why}.")
            return
        if self.state != "waiting":
            place = clock(self.position[1])
            self._say(f"{why}; the song stands still at {place} until {self._output} is back.")
            self.restarts["device"] += 1
        self.state = "waiting"
        self.block.head[b.RUN] = 0
        self.block.gains[player_callback.PLAYING] = 0.0  # it fades in when it is back
        if self._audio is not None:
            end(self._audio, 0.0)
        self._audio, self.device = None, {}
        self._again = time.monotonic() + _AGAIN_S

    def _feeder_lost(self) -> None:
        assert self._feeder is not None
        why = how_ended(self._feeder)
        end(self._feeder, 0.0)
        if self.state == "starting":
            self._refusal = RtsepError(
                f"The worker ended ({why}) before it began; see whether `rtsep bench step` runs."
            )
            return
        short = time.monotonic() - self._feeder_began < _SHORT_S
        self._deaths = self._deaths + 1 if short else 0
        if self._deaths >= _MOST_DEATHS:
            self.failure, self._feeder = RtsepError(f"The worker ends again and again ({why}); is the disk full?"), None
            return
        self._say(f"The worker ended ({why}) and is started again.")
        self.restarts["worker"] += 1
        rate = max(1, int(self.block.head[b.RATE]))
        song, sample = locate(self._segments, int(self.block.head[b.DONE]))
        self._start_feeder(song, sample / rate, append=True)

    def _start_feeder(self, song: int, seconds: float, append: bool = False) -> None:
        settings = {
            "model": str(self.model.path),
            "songs": list(self.settings.songs),
            "song": song,
            "seconds": seconds,
            "key": self.key,
            "append": append,
        }
        self._feeder_began = time.monotonic()
        self._feeder = self._spawn("feeder", json.dumps(settings))

    def _start_audio(self) -> None:
        settings = {
            "output": self._output,
            "rate": self.model.spec.sample_rate,
            "block": self.settings.block,
            "client": self.settings.client,
        }
        self._opening = time.monotonic()
        self._audio = self._spawn("speaker", json.dumps(settings))

    def _spawn(self, module: str, settings: str) -> subprocess.Popen[bytes]:
        audio = module == "speaker"
        launcher = self.settings.launcher if audio else ()
        process = subprocess.Popen(
            [*launcher, sys.executable, "-m", f"rtsep.live.{module}", self.block.handle, settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("RTSEP_DEBUG") else subprocess.DEVNULL,  # ALSA chatters there
            env=child_environment() | (dict(self.settings.environment) if audio else {}),
            pass_fds=self.block.descriptors if os.name == "posix" else (),
            start_new_session=os.name == "posix",  # Ctrl-C is for the parent, which ends them in order
        )
        threading.Thread(target=self._listen, args=(process,), daemon=True, name=f"{module} listener").start()
        return process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                with contextlib.suppress(ValueError):  # a library's chatter
                    self._messages.append((process, json.loads(line)))

    def _command(self, command: dict[str, Any]) -> None:
        if self._feeder is not None and self._feeder.stdin is not None:
            with contextlib.suppress(OSError):  # it just died; the next one begins where this one was
                self._feeder.stdin.write(json.dumps(command).encode() + b"\n")
                self._feeder.stdin.flush()

    def _say(self, sentence: str) -> None:
        self.events.append((time.monotonic() - self._began, sentence))
        if self._tell is not None:
            self._tell(sentence)


def clock(seconds: float) -> str:
    """Minutes and seconds as people write them."""
    whole = max(0, int(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
