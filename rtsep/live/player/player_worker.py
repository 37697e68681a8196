"""The worker of a player: separates what is played next and writes it into the rings, about a second ahead.

It takes commands from standard input and tells on standard output what is where, a JSON object a line each. It ends
with its parent.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from rtsep.engine.enhance import BACKEND, mono_sentence
from rtsep.engine.native_function import NativeFunction
from rtsep.errors import InputError, RtsepError
from rtsep.karaoke.song_parts import Parts, Separator
from rtsep.live.backends import realtime
from rtsep.live.backends.shared_state import SharedBlock
from rtsep.live.engine.processes import say, say_not_compiled
from rtsep.live.engine.worker import load_code
from rtsep.live.player.playlist import Segment, locate
from rtsep.live.player.separated_song import Ahead, SeparatedParts, SeparatedSong
from rtsep.live.player.song import Song
from rtsep.model import Model, SpectralModel, load

AHEAD_S = 1.0
_WARM_S = 0.3  # before the place of a seek, so that the model knows what it is in
_LEAD_S = 0.05  # is there before a jump is made
_FIRST_LEAD_S = 0.5  # and before a device begins: one with large buffers takes as much at once
_MARGIN_S = 0.15  # from asking for another key until it is heard; longer for a model that looks ahead
_PIECE = 2048
_KEPT = 3  # songs that stay decoded
_LOOK_S = 0.005


_fence = NativeFunction("rtsep.live.engine.worker_kernels", "fence", "void()")


class PlayerWorker:
    """Fills one shared block. ``run`` returns when the parent says stop."""

    def __init__(
        self,
        block: SharedBlock,
        model: Model,
        songs: list[str],
        song: int = 0,
        seconds: float = 0.0,
        key: int = 0,
        append: bool = False,
    ) -> None:
        """song, seconds: where to begin. key: semitones. append: what is in the rings already plays first."""
        self.commands: queue.Queue[dict[str, Any]] = queue.Queue()
        self._block, self._state, self._player = block, block.state, block.player
        self._model, self._songs = model, songs
        self._begin, self._append = (song, seconds), append
        self._key = key
        self._epoch, self._rate = -1, 0
        self._bad: set[int] = set()
        self._open: dict[int, Song] = {}
        self._separated: dict[int, SeparatedSong] = {}  # of a model that sees whole segments
        self._ahead = Ahead() if isinstance(model, SpectralModel) else None
        self._told: dict[int, int] = {}  # peaks were told when so much was ready
        self._segments: list[Segment] = []
        self._song: Song | None = None
        self._number = 0
        self._separator: Separator | SeparatedParts | None = None
        self._separates = (0, 0)  # rate and key it was made for
        self._cursor = 0  # sample of the song that is read next
        self._drop = 0  # samples to come that are only separated to warm up
        self._put = 0  # sample of the song up to which the rings are written
        self._base = 0  # position from which on the newest jump plays
        self._jump: int | None = None  # where a jump is to be made that is not yet asked for, -1 is at once

    def run(self) -> None:
        state = self._state
        while not state.stop:
            if state.epoch != self._epoch:
                if state.block > 0:
                    self._prepare()
            elif not self._write_piece():
                self._wait()
            while not self.commands.empty():
                self._do(self.commands.get())

    def _wait(self) -> None:
        try:
            self._do(self.commands.get(timeout=_LOOK_S))
        except queue.Empty:
            self._look_at_songs()

    def _prepare(self) -> None:
        """Begin, or begin again at the same place because the device has another rate."""
        state, player = self._state, self._player
        epoch, rate = state.epoch, state.rate
        if rate != self._rate:
            if self._segments:
                song, sample = locate(self._segments, player.position)
                self._begin = (song, sample / self._rate)
            for song in list(self._open):
                self._close(song)
            self._rate = rate
            player.jump_version += player.jump_version % 2  # a worker before this one may have died over it
            self._go(self._begin[0], round(self._begin[1] * rate), state.processed if self._append else -1)
            self._append = False
        elif self._jump is None and self._segments:
            state.ready_epoch = epoch
        self._epoch = epoch

    def _do(self, command: dict[str, Any]) -> None:
        if not self._rate:
            return
        if command["do"] == "go":
            self._go(command["song"], round(command["seconds"] * self._rate))
        elif command["do"] == "key" and command["key"] != self._key:
            self._key = command["key"]
            self._change_key()

    def _change_key(self) -> None:
        """The same sound in another key, from a little later on and to the sample."""
        state, player = self._state, self._player
        if not self._segments:
            return
        pending = self._jump is not None or player.jumps_made != player.jump_version
        frozen = pending or player.playing == 0.0 or state.processed - player.position > self._block.length // 2
        ahead = self._model.spec.lookahead / self._model.spec.sample_rate  # s, to be separated in this time as well
        margin = _MARGIN_S * (1 + ahead / (_WARM_S + _LEAD_S))
        at = state.processed if self._song is None else min(state.processed, player.position + self._samples(margin))
        song, sample = locate(self._segments, self._base if pending else player.position if frozen else at)
        self._go(song, sample, -1 if frozen else at)

    def _samples(self, seconds: float) -> int:
        return round(seconds * self._rate)

    # Places

    def _go(self, number: int, sample: int, at: int = -1) -> None:
        """Go on with ``sample`` of song ``number`` from position ``at`` on (-1: as soon as it can be played)."""
        state, player = self._state, self._player
        if not self._load(number):
            return
        assert self._song is not None
        length = self._song.expected if self._song.length is None else self._song.length
        sample = max(0, min(sample, length))
        self._drop = min(sample, self._samples(_WARM_S))
        self._cursor, self._put = sample - self._drop, sample
        if self._separator is None or self._separates != (self._rate, self._key):
            kept = isinstance(self._model, SpectralModel)
            made = SeparatedParts(self._rate, self._key) if kept else Separator(self._model, self._rate, 2, self._key)
            self._separator, self._separates = made, (self._rate, self._key)
        else:
            self._separator.reset()
        self._separate_from(self._cursor)
        player.end = 0
        self._base, self._jump = state.processed, at
        self._mark(sample)

    def _separate_from(self, place: int) -> None:
        """What is separated ahead goes on at sample ``place`` of the song, and after it with the next song."""
        if self._ahead is None:
            return
        assert isinstance(self._separator, SeparatedParts)
        self._separator.begin(self._separated[self._number], place)
        following = self._separated.get(self._number + 1)
        self._ahead.want([(self._separated[self._number], place), *([] if following is None else [(following, 0)])])

    def _load(self, number: int) -> bool:
        """Make ``number`` the song, or the next one that can be played; False when there is none."""
        state, player = self._state, self._player
        for index in range(number, len(self._songs)):
            song = self._opened(index)
            if song is not None:
                self._song, self._number = song, index
                return True
        self._song = None
        player.end = max(1, state.processed)
        say("end", at=player.end)
        return False

    def _opened(self, number: int) -> Song | None:
        if number in self._bad:
            return None
        if number not in self._open:
            try:
                song = Song(Path(self._songs[number]), self._rate)
                if self._model.spatial and song.one_channel:
                    song.close()
                    raise InputError(f"{self._songs[number]}: {mono_sentence(self._model)}")
            except RtsepError as error:
                self._bad.add(number)
                say("bad", song=number, sentence=str(error))
                return None
            self._open[number] = song
            if isinstance(self._model, SpectralModel):
                self._separated[number] = SeparatedSong(song, self._model)
            say("song", song=number, title=song.title, seconds=song.expected / self._rate)
            for old in [key for key in self._open if not self._number - 1 <= key <= number]:
                if len(self._open) > _KEPT and old != self._number:
                    self._close(old)
        return self._open[number]

    def _close(self, number: int) -> None:
        if number in self._separated:
            self._separated.pop(number).close()
        self._open.pop(number).close()

    def _mark(self, offset: int) -> None:
        state = self._state
        segment = Segment(state.processed, self._number, offset)
        self._segments = [*self._segments[-20:], segment]
        say("segment", at=segment.at, song=segment.song, offset=segment.offset)

    def _look_at_songs(self) -> None:
        """Tell how far decoding has come, and begin with the next song once this one is decoded."""
        for number, song in list(self._open.items()):
            done = song.length is not None
            if song.ready - self._told.get(number, 0) > 10 * self._rate or (done and self._told.get(number) != -1):
                self._told[number] = -1 if done else song.ready
                length = song.expected if song.length is None else song.length
                peaks = [round(float(peak), 3) for peak in song.peaks]
                say("peaks", song=number, peaks=peaks, seconds=length / self._rate)
                if done and song.error is not None:
                    say("bad", song=number, sentence=song.error)
        following = self._number + 1
        if self._song is not None and self._song.length is not None and following < len(self._songs):
            new = following not in self._open
            if self._opened(following) is not None and new:
                self._separate_from(self._cursor)

    # Sound

    def _write_piece(self) -> bool:
        """One more piece into the rings; False when there is nothing to do."""
        state, player, song = self._state, self._player, self._song
        if self._ahead is not None and self._ahead.failure is not None:
            raise self._ahead.failure
        if song is None or self._separator is None:
            return False
        if state.processed - max(self._base, player.position) >= min(self._samples(AHEAD_S), self._block.length // 4):
            return False
        piece = song.read(self._cursor, _PIECE)
        if isinstance(self._separator, SeparatedParts):
            piece = piece[: self._separator.ready(len(piece))]
        if len(piece) < _PIECE and self._cursor + len(piece) != song.length:
            return False
        began = time.monotonic_ns()
        self._cursor += len(piece)
        if len(piece):
            self._write(self._separator.process(piece))
        if song.length is not None and self._cursor >= song.length:
            self._finish(song)
        self._block.log_run(began, len(piece), state.processed)
        lead = self._samples(_LEAD_S if state.running else _FIRST_LEAD_S)
        if self._jump is not None and (state.processed - self._base >= lead or self._song is None):
            self._ask_for_jump(self._jump)
        return True

    def _finish(self, song: Song) -> None:
        """The song's last samples, and at once the next song's first."""
        assert self._separator is not None and song.length is not None
        try:
            self._write(self._separator.flush())
        except RtsepError as error:  # a mono song in two channels; its end plays as silence beside the original
            say("bad", song=self._number, sentence=f"{song.path}: {error}")
            rest = song.read(self._put, song.length - self._put)
            self._drop = 0
            self._write(Parts(rest, np.zeros_like(rest), np.zeros_like(rest)))
            self._separator.reset()
        if not self._state.processed:  # begun at its end: one silent sample, for an end at 0 means none yet
            self._write(Parts(*np.zeros((3, 1, 2), np.float32)))
        if self._load(self._number + 1):
            self._cursor = self._drop = self._put = 0
            self._separate_from(0)
            self._mark(0)

    def _write(self, parts: Parts) -> None:
        """Into the rings, but for what was only there to warm up."""
        state, block = self._state, self._block
        dropped = min(self._drop, len(parts.song))
        self._drop -= dropped
        count = len(parts.song) - dropped
        if not count:
            return
        place = np.arange(state.processed, state.processed + count) % block.length
        block.heard[0:2, place] = parts.song[dropped:].T
        block.heard[2:4, place] = parts.vocals[dropped:].T
        block.results[0:2, place] = parts.accompaniment[dropped:].T
        _fence()
        state.processed += count
        self._put += count

    def _ask_for_jump(self, at: int) -> None:
        """Ask the callback for a jump to what was written last."""
        state, player = self._state, self._player
        self._jump = None
        player.jump_version += 1
        _fence()
        player.jump_at, player.jump_to = at, self._base
        _fence()
        player.jump_version += 1
        state.ready_epoch = self._epoch


def _main(arguments: list[str]) -> None:
    settings = json.loads(arguments[1])
    block = SharedBlock.attach(arguments[0])
    model = load(settings.pop("model"), BACKEND)
    _fence.load()
    load_code(model)
    realtime.release_compiler()
    realtime.lock_memory()
    say_not_compiled(model)
    worker = PlayerWorker(block, model, **settings)

    def listen() -> None:
        for line in sys.stdin:
            worker.commands.put(json.loads(line))
        os._exit(0)  # the parent is gone

    threading.Thread(target=listen, daemon=True, name="parent").start()
    worker.run()
    os._exit(0)


if __name__ == "__main__":
    _main(sys.argv[1:])
