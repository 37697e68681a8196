"""The files tab's controller: recordings come in, are cleaned one after another, and can be listened to and fetched.

Cleaned by the very lines that `rtsep denoise FILE` runs. Everything lies in a temporary folder and goes with the panel.
"""

from __future__ import annotations

import functools
import itertools
import math
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtsep.audio_io.files import Source
from rtsep.audio_io.job import Enhancers, Job, Stopped, Work, do_job
from rtsep.audio_io.plan import plan
from rtsep.engine.enhance import BACKEND
from rtsep.errors import InputError, RtsepError
from rtsep.live.choices import TARGET, parse_strength
from rtsep.model import Model, check_target, load
from rtsep.panel.blind_test import BlindTest
from rtsep.panel.commands import command
from rtsep.panel.model_list import speech_models
from rtsep.panel.recordings import DONE, FAILED, WORKING, Recording, Version
from rtsep.panel.sounds import Sounds
from rtsep.panel.tab import PROBLEM, Tab
from rtsep.panel.upload_requests import without_folder
from rtsep.panel.uploads import Uploads

MOST = 100  # recordings at a time


class Files(Tab):
    """See Tab. uploads: where recordings lie. sounds: what pages listen to."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        super().__init__(changed)
        self.uploads, self.sounds = Uploads(), Sounds()
        self._models = speech_models()
        self._model, self._strength = "denoise", "max"
        self._recordings: dict[int, Recording] = {}
        self._numbers = itertools.count(1)
        self._blind: tuple[Recording, BlindTest] | None = None
        self._load = functools.lru_cache(_load)
        self._waiting: queue.SimpleQueue[tuple[Recording, Version] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="files")
        self._thread.start()

    def close(self) -> None:
        """See Tab."""
        with self._lock:
            for number in list(self._recordings):
                self.remove(number)
        self._waiting.put(None)
        self._thread.join()
        self.sounds.close()
        self.uploads.close()

    def state(self) -> dict[str, Any]:
        """See Tab."""
        with self._lock:
            blind = None
            if self._blind is not None:
                blind = {"recording": self._blind[0].number, **self._blind[1].state()}
            return super().state() | {
                "models": self._models,
                "model": self._model,
                "strength": self._strength,
                "recordings": [recording.as_dict() for recording in self._recordings.values()],
                "blind": blind,
            }

    # What pages ask for

    @command
    def choose(self, model: str, strength: str) -> None:
        """What the next versions are made with, in the words of the command line."""
        parse_strength(strength)
        check_target(model, TARGET)
        with self._lock:
            self._model, self._strength = model, strength
        self._changed()

    @command
    def clean(self, recording: int) -> None:
        """Make another version, by what is chosen."""
        with self._lock:
            found = self._recording(recording)
            if any((one.model, one.strength) == (self._model, self._strength) for one in found.versions):
                raise InputError(f"{found.name} was cleaned like that already; choose another model or strength.")
            self._clean(found)
        self._changed()

    @command
    def remove(self, recording: int) -> None:
        """A recording and all that was made of it."""
        with self._lock:
            found = self._recording(recording)
            del self._recordings[recording]
            if self._blind is not None and self._blind[0] is found:
                self._blind = None
            for version in found.versions:
                version.removed = True
                self.sounds.forget(version.path)
                if version.state != WORKING:  # else who works on it sees to it
                    self.uploads.remove(version.path)
        self._changed()

    @command
    def begin_blind_test(self, recording: int, versions: list[int], trials: int) -> None:
        """Of two or three versions that are there; instead of the one before."""
        with self._lock:
            found = self._recording(recording)
            made = [self._version(found, number) for number in versions]
        BlindTest(versions, trials, {})  # what cannot be is said before long work
        levels = {version.number: self.sounds.loudness(version.path) for version in made}
        heard = [level for level in levels.values() if math.isfinite(level)]
        if len(heard) < len(levels):
            raise InputError(f"{found.name} is silent, or too short to compare.")
        gains = {number: 10 ** ((min(heard) - level) / 20) for number, level in levels.items()}
        with self._lock:
            self._recording(recording)  # is still there
            self._blind = (found, BlindTest(versions, trials, gains))
        self._changed()

    @command
    def answer_blind_test(self, trial: int, sound: str) -> None:
        """X is "a" or "b"."""
        with self._lock:
            self._blind_test()[1].answer(trial, sound)
        self._changed()

    @command
    def end_blind_test(self) -> None:
        """And forget it."""
        with self._lock:
            self._blind = None
        self._changed()

    def _recording(self, number: int) -> Recording:
        if number not in self._recordings or self._recordings[number].seconds is None:
            raise InputError("This recording is not here.")
        return self._recordings[number]

    def _version(self, recording: Recording, number: int) -> Version:
        if not 0 <= number < len(recording.versions) or recording.versions[number].state != DONE:
            raise InputError("This version is not there yet.")
        return recording.versions[number]

    def _blind_test(self) -> tuple[Recording, BlindTest]:
        if self._blind is None:
            raise InputError("There is no blind test; begin one.")
        return self._blind

    def path(self, recording: int, version: int) -> Path:
        """Of a version that is there; raises InputError."""
        with self._lock:
            return self._version(self._recording(recording), version).path

    def blind_sound(self, trial: int, sound: str) -> tuple[Path, float]:
        """The file of "a", "b" or "x" in a trial, and its gain (linear); raises InputError."""
        with self._lock:
            recording, test = self._blind_test()
            number = test.version(trial, sound)
            return self._version(recording, number).path, test.gains[number]

    # Recordings come

    def check(self, name: str, size: int | None) -> None:
        """See Taker."""
        self.uploads.check(name, size)
        if len(self._recordings) >= MOST:
            raise InputError(f"There are {MOST} recordings here; remove some before others come in.")

    def expect(self, name: str, size: int) -> Recording:
        """See Taker."""
        with self._lock:
            recording = Recording(next(self._numbers), name, size)
            self._recordings[recording.number] = recording
            return recording

    def arrived(self, item: Recording, count: int) -> None:
        """See Taker."""
        item.arrived = count
        self._changed()

    def came(self, item: Recording, path: Path) -> None:
        """See Taker; it is cleaned now."""
        with Source(path) as sound:
            seconds = sound.samples / sound.sample_rate
        with self._lock:
            if item.number not in self._recordings:
                raise InputError(f"{item.name} was removed.")
            item.versions.append(Version(0, path, state=DONE))
            item.seconds = seconds
            self._clean(item)
        self._changed()

    def failed(self, item: Recording) -> None:
        """See Taker."""
        with self._lock:
            self._recordings.pop(item.number, None)
        self._changed()

    # Cleaning

    def _clean(self, recording: Recording) -> None:
        number = len(recording.versions)
        mark = "denoised" if number == 1 else f"denoised-{number}"
        folder = self.uploads.new_folder()
        (job,) = plan([str(recording.versions[0].path)], str(folder), mark)
        assert job.target is not None
        version = Version(number, job.target, self._model, self._strength)
        recording.versions.append(version)
        self._waiting.put((recording, version))

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            recording, version = task
            if version.removed:
                continue
            version.state = WORKING
            self._changed()
            try:
                self._make(recording, version)
            except Stopped:
                pass
            except RtsepError as error:
                version.state, version.sentence = FAILED, str(error)
            if version.removed:
                self.uploads.remove(version.path)
                self.uploads.remove(recording.versions[0].path)
            self._changed()

    def _make(self, recording: Recording, version: Version) -> None:
        def progress(done: int, total: int) -> None:
            if version.removed:
                raise Stopped
            version.share = min(1.0, done / total) if total else 0.0
            self._changed()

        source, limit = recording.versions[0].path, parse_strength(version.strength)
        job = Job(str(source), version.path)
        outcome = do_job(job, self._load(version.model), Work(version.model, limit), progress, Enhancers())
        damage = outcome.report.damage if outcome.report is not None else None
        version.sentence = without_folder(outcome.error or damage or "", source)
        version.state = DONE if outcome.error is None else FAILED
        if version.sentence and not version.removed:
            self.tell(version.sentence, PROBLEM)


def _load(name: str) -> Model:
    return load(name, BACKEND)
