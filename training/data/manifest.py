"""The manifest: which recordings there are, and which of them training may open."""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

HELD_OUT = Path(__file__).with_name("held_out.txt")
COLUMNS = "path,kind,split,speaker,corpus,seconds,sample_rate,channels,bandwidth_hz,licence,source,note"  # as written
AUDIO = {".wav", ".flac", ".ogg", ".opus", ".mp3"}
STEMS = ("accompaniment", "vocals")  # the kinds that share a `song`
INSTRUMENT_STEM = "stem"  # the kind of one instrument alone; all instruments of a piece share a `song`, too


class ForbiddenRow(RuntimeError):
    """Somebody asked training to open a recording of the test split."""


@dataclass(frozen=True)
class Row:
    """One recording. `seconds` in s, `sample_rate` and `bandwidth` in Hz; `split` is train, valid or test.

    Where a dataset has noisy and clean speech but no noise, `minus` is the clean file: the recording is the difference.
    The parts of one piece of music share the name `song`. A part that lies in several files is `path` and all of `plus`
    together; `take` picks what is summed of a file that holds more than one part: streams of a stem file (.mp4),
    channels of any other. `event` is the class of a sound event, such as dog_bark; `instrument` what plays in a stem.
    """

    path: Path
    kind: str
    split: str
    corpus: str
    licence: str
    seconds: float
    sample_rate: int
    channels: int
    bandwidth: int
    minus: Path | None = None
    song: str = ""
    plus: tuple[Path, ...] = ()
    take: tuple[int, ...] = ()
    speaker: str = ""
    event: str = ""
    instrument: str = ""


def held_out_patterns(file: Path = HELD_OUT) -> list[str]:
    """Globs of train rows that are kept for validation, one a line, `#` starts a comment."""
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def read_manifest(file: Path, held_out: Iterable[str] | None = None) -> list[Row]:
    """Rows of a manifest.csv, with the held-out train rows moved to `valid`.

    Raises FileNotFoundError if there is no such file and ValueError if a column is missing.
    """
    patterns = held_out_patterns() if held_out is None else list(held_out)
    rows = []
    with open(file, encoding="utf-8", newline="") as handle:
        for record in csv.DictReader(handle):
            try:
                row = Row(
                    path=Path(file).parent / record["path"],
                    kind=record["kind"],
                    split=record["split"],
                    corpus=record["corpus"],
                    licence=record["licence"],
                    seconds=float(record["seconds"]),
                    sample_rate=int(record["sample_rate"]),
                    channels=int(record["channels"]),
                    bandwidth=int(record["bandwidth_hz"] or 0) or int(record["sample_rate"]) // 2,
                    speaker=record.get("speaker") or "",
                    event=event_of(record.get("note") or ""),
                )
            except KeyError as missing:
                raise ValueError(f"{file} has no column {missing}: it is not a manifest of recordings.") from None
            if row.split == "train" and any(_matches(record["path"], pattern) for pattern in patterns):
                row = replace(row, split="valid")
            if row.kind in (*STEMS, INSTRUMENT_STEM):  # NAME-vocals, NAME-accompaniment, NAME-drums
                song, _, part = row.path.stem.rpartition("-")
                row = replace(row, song=song, instrument=part if row.kind == INSTRUMENT_STEM else "")
            rows.append(row)
    return rows


def _matches(path: str, pattern: str) -> bool:
    """Whether a path, or its end from a folder on, is meant: manifests elsewhere name recordings by longer paths."""
    return fnmatch(path, pattern) or fnmatch(path, f"*/{pattern}")


def event_of(note: str) -> str:
    """The class that a note such as `001 - Dog bark` names, as dog_bark; none in any other."""
    found = re.fullmatch(r"\d{3} - (.+)", note)
    return re.sub(r"\W+", "_", found[1].lower()) if found else ""


@contextmanager
def new_folder(out: Path) -> Iterator[tuple[Path, Callable[[Iterable[object]], object]]]:
    """A folder of recordings with its manifest.csv that becomes `out` once it is whole, and not at all if it does not.

    Gives the folder to write into, and what writes a row (of `COLUMNS`) into the manifest. Raises ValueError with one
    sentence if `out` is there already.
    """
    if out.exists():
        raise ValueError(f"{out} exists already; name a folder that does not.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent, ignore_cleanup_errors=True) as unfinished:
        folder = Path(unfinished, "whole")
        folder.mkdir()
        with open(folder / "manifest.csv", "w", encoding="utf-8", newline="") as handle:
            handle.write(COLUMNS + "\n")
            yield folder, csv.writer(handle, lineterminator="\n").writerow
        folder.rename(out)


def scan_folder(folder: Path, kind: str, valid_share: float = 0.05, hidden: Collection[Path] = ()) -> list[Row]:
    """Every audio file below `folder` as rows of one kind; the last `valid_share` of the names are `valid`.

    Files of `hidden` (resolved paths) are passed over unopened. Raises FileNotFoundError if no other sound is there.
    """
    files = [path for path in audio_files(folder) if path.resolve() not in hidden]
    if not files:
        raise FileNotFoundError(f"No audio file below {folder}: give a folder with WAV, FLAC, OGG, Opus or MP3 files.")
    return split_by_name(files, kind, Path(folder).name, "?", valid_share)


def audio_files(folder: Path) -> list[Path]:
    """Every audio file below `folder`, by name."""
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in AUDIO and path.name[0] != ".")


def split_by_name(files: list[Path], kind: str, corpus: str, licence: str, valid_share: float = 0.05) -> list[Row]:
    """Rows of `files`, for data without a split of its own: the last `valid_share` of them are `valid`."""
    first_valid = len(files) - max(1, round(len(files) * valid_share)) if len(files) > 1 else 1
    splits = ("train" if index < first_valid else "valid" for index in range(len(files)))
    return [recording(path, kind, split, corpus, licence) for path, split in zip(files, splits, strict=True)]


def recording(path: Path, kind: str, split: str, corpus: str, licence: str, minus: Path | None = None) -> Row:
    """The row of one file, from its header; raises ValueError with one sentence if it is no sound file.

    A file of the test split is named and never opened, not even for its header: its length and rate read 0.
    """
    if split == "test":
        return Row(path, kind, split, corpus, licence, 0.0, 0, 1, 0, minus)
    import soundfile

    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError:
        raise ValueError(f"{path} is damaged or no sound file: unpack it again.") from None
    rate = info.samplerate
    return Row(path, kind, split, corpus, licence, info.duration, rate, info.channels, rate // 2, minus)
