"""Cleaner: what a worker does with a file, wherever it comes from and goes to."""

from __future__ import annotations

import posixpath
import time
from pathlib import Path
from typing import Any

from rtsep.audio_io.job import Enhancers, Job, Work, do_job
from rtsep.audio_io.temporary_folder import temporary_folder
from rtsep.batch.locations import Item, file_system, is_remote
from rtsep.batch.manifest import DONE, EXISTED, FAILED, Result
from rtsep.errors import RtsepError


class Cleaner:
    """A model, loaded once, for file after file."""

    def __init__(self, model: str, strength: float | None, overwrite: bool) -> None:
        """Raises InputError as ``rtsep.load`` does."""
        self._work = Work(model, strength, overwrite)
        self._model, self._enhancers = self._work.load(), Enhancers()

    def clean(self, item: Item) -> Result:
        """Fetch, clean and put away; the output is there whole or not at all. Never raises an Exception."""
        began = time.perf_counter()
        try:
            return self._clean(item, began)
        except RtsepError as error:
            said, code = str(error), error.exit_code
        except OSError as error:
            said, code = f"{item.source}: {error.strerror or error}.", RtsepError.exit_code
        except Exception as error:  # of one of many file systems, each with errors of its own
            what = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
            said, code = f"{item.source} failed unexpectedly ({what}).", RtsepError.exit_code
        return Result(item.source, item.target, FAILED, said, code)

    def _clean(self, item: Item, began: float) -> Result:
        files, path = file_system(item.target)
        if not self._work.overwrite and files.exists(path):
            return Result(item.source, item.target, EXISTED)
        files.makedirs(posixpath.dirname(path), exist_ok=True)
        with temporary_folder() as folder:
            source = self._fetched(item.source, folder)
            target = folder / f"out{posixpath.splitext(path)[1]}" if is_remote(item.target) else Path(path)
            outcome = do_job(Job(str(source), target), self._model, self._work, None, self._enhancers)
            names = {str(source): item.source, str(target): item.target}
            if outcome.error is not None:
                return Result(item.source, item.target, FAILED, _named(outcome.error, names), outcome.exit_code)
            if is_remote(item.target):
                files.put_file(str(target), path)  # stores show an object when it is whole
        assert outcome.report is not None
        report, took = outcome.report, time.perf_counter() - began
        damage = None if report.damage is None else _named(report.damage, names)
        status = DONE if damage is None else FAILED
        return Result(item.source, item.target, status, damage, outcome.exit_code, report.seconds, took)

    def _fetched(self, source: str, folder: Path) -> Path:
        files, path = file_system(source)
        if not is_remote(source):
            return Path(path)
        place = folder / posixpath.basename(path)
        files.get_file(path, str(place))
        return place


def _named(sentence: str, names: dict[str, Any]) -> str:
    for name, instead in names.items():
        sentence = sentence.replace(name, instead)
    return sentence
