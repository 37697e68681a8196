"""The manifest: which recordings there are, and which of them training may open."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

HELD_OUT = Path(__file__).with_name("held_out.txt")
AUDIO = {".wav", ".flac", ".ogg", ".opus", ".mp3"}


@dataclass(frozen=True)
class Row:
    """One recording. `seconds` in s, `sample_rate` and `bandwidth` in Hz; `split` is train, valid or test."""

    path: Path
    kind: str
    split: str
    corpus: str
    licence: str
    seconds: float
    sample_rate: int
    channels: int
    bandwidth: int


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
                )
            except KeyError as missing:
                raise ValueError(f"{file} has no column {missing}: it is not a manifest of recordings.") from None
            if row.split == "train" and any(fnmatch(record["path"], pattern) for pattern in patterns):
                row = replace(row, split="valid")
            rows.append(row)
    return rows


def scan_folder(folder: Path, kind: str, valid_share: float = 0.05) -> list[Row]:
    """Every audio file below `folder` as rows of one kind; the last `valid_share` of the names are `valid`.

    Raises FileNotFoundError if the folder holds no audio file that soundfile can open.
    """
    import soundfile

    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in AUDIO)
    if not files:
        raise FileNotFoundError(f"No audio file below {folder}: give a folder with WAV, FLAC, OGG, Opus or MP3 files.")
    first_valid = len(files) - max(1, round(len(files) * valid_share)) if len(files) > 1 else 1
    rows = []
    for index, path in enumerate(files):
        info = soundfile.info(path)
        split = "train" if index < first_valid else "valid"
        rate = info.samplerate
        rows.append(Row(path, kind, split, Path(folder).name, "?", info.duration, rate, info.channels, rate // 2))
    return rows
