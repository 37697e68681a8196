"""Manifest: a line of JSON for every file that is done or failed, so that whoever starts again goes on from there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rtsep.audio_io.file_lock import lock
from rtsep.batch.locations import Item
from rtsep.errors import InputError

DONE, EXISTED, FAILED = "done", "existed", "failed"


@dataclass(frozen=True)
class Result:
    """What became of a file. seconds: of sound. took: seconds of work. attempts: workers that began with it."""

    source: str
    target: str
    status: str
    error: str | None = None
    exit_code: int = 0
    seconds: float = 0.0
    took: float = 0.0
    attempts: int = 1


class Manifest:
    """A file that grows by a line a result; one run at a time has it. ``results`` holds the newest of each source.

    The first line tells what the outputs are made with, and another run must agree with it.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Raises InputError when the file cannot be used, is in use, or was made by something else."""
        self.path = path
        self.results: dict[str, Result] = {}
        try:
            self._file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}.") from None
        try:
            if lock(self._file.fileno()) is False:
                raise InputError(f"{path} is in use by another run; wait for it, or name another --manifest.")
            self._read(dict(about))
        except BaseException:
            self._file.close()
            raise

    def left(self, items: list[Item]) -> list[Item]:
        """The items that are not done; those that failed are among them."""
        return [item for item in items if item.source not in self.results or not self._is_done(item)]

    def add(self, result: Result) -> None:
        """Write a result; it is there even if this process ends at once."""
        self.results[result.source] = result
        self._write(asdict(result))

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _is_done(self, item: Item) -> bool:
        result = self.results[item.source]
        return result.status != FAILED and result.target == item.target

    def _read(self, about: dict[str, Any]) -> None:
        self._file.seek(0)
        text = self._file.read()
        whole = text[: text.rfind("\n") + 1]  # whoever wrote it may have been killed in the middle of a line
        if len(whole) < len(text):
            self._file.truncate(len(whole.encode()))
        lines = whole.splitlines()
        if not lines:
            self._write({"made_with": about})
            return
        try:
            first, *rest = map(json.loads, lines)
            before = first["made_with"]
            self.results = {line["source"]: Result(**line) for line in rest}
        except (ValueError, TypeError, KeyError):
            raise InputError(f"{self.path} is no manifest of rtsep; name another --manifest.") from None
        if before != about:
            raise InputError(f"{self.path} is of outputs made with {_told(before)}, not {_told(about)}; name another.")

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _told(about: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in about.items()) if isinstance(about, dict) else str(about)
