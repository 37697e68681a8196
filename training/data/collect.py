"""Public recordings for training, by a catalogue of where they are and what their licences say.

    python -m training.data.collect OUT [--repos DIR] [--only NAME] [--catalogue FILE]

fetches the sources of `catalogue.yaml` (git repositories at a commit, Debian packages at a version; or takes those that
lie in DIR, clones with or without a work tree and .deb files), checks each file, cuts long silence, joins short ones of
a speaker (of noise: of a label) into tracks, and writes them as FLAC with OUT/manifest.csv, for `--data`. A source that
cannot be had is skipped with a sentence. What was made is not made again, unless it is deleted or
its entry of the catalogue changed.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

import csv
import hashlib
import io
import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from training.data.manifest import COLUMNS
from training.data.public_sources import (
    CATALOGUE,
    Catalogue,
    Part,
    Source,
    SourceUnavailable,
    label_from_path,
    matches,
    opened,
    read_catalogue,
)
from training.data.recording_checks import (
    GAP_S,
    bandwidth,
    cut_silence,
    decode,
    levelled,
    measure,
    reason_against,
)

TRACK_S = 60.0  # a track is closed once it is as long
LONGEST_S = 180.0  # more of one file is left out
CLIP_S = 4 * TRACK_S  # of a file that are looked at, before its silence is cut
VERSION = 1  # of what is written: another one makes everything anew


@dataclass
class Track:
    """Short recordings of one speaker or label on their way into one file: mono float32 at `rate` Hz."""

    rate: int = 0
    pieces: list[np.ndarray] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Length in s."""
        return sum(map(len, self.pieces)) / self.rate if self.rate else 0.0


def share(text: str) -> float:
    """A number in [0, 1) that belongs to a text."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:6], "big") / 2**48


def plain(text: str) -> str:
    """`text` as a part of a file's name; where that loses something, a piece of its hash keeps two texts apart."""
    word = re.sub(r"[^\w]+", "-", text.encode("utf-8", "replace").decode()).strip("-").lower()[:60]
    return word if word == text.lower() else f"{word}-{round(share(text) * 0xFFFFFF):06x}"


def groups_of(source: Source, part: Part, paths: list[str]) -> dict[tuple[str, str], list[str]]:
    """(speaker or label, split) → its files in an order that a hash gives.

    A speaker is in one split as a whole; of noise each file is put by itself.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for path in paths:
        voice = part.kind in ("speech", "vocals")
        who = label_from_path(part.speaker if voice else part.label or "re:([^/]+)/[^/]+$", path) or "unknown"
        key = f"{source.name}/{who}" if voice else f"{source.name}/{Path(path).stem}"
        split = "valid" if share(key) < part.valid else "train"
        found.setdefault((who, split), []).append(path)
    return {key: sorted(files, key=share) for key, files in sorted(found.items(), key=lambda item: share(item[0][0]))}


def usable(
    contents: Iterator[bytes], files: list[str], part: Part, seen: set[str], left_out: Counter[str]
) -> Iterator[tuple[str, np.ndarray, int, str]]:
    """Path, samples, rate in Hz and hash of each file that is fit; the others are counted by reason."""
    for path, content in zip(files, contents, strict=True):
        mark = hashlib.sha256(content).hexdigest()[:20]
        if not content or mark in seen:
            left_out["there twice" if content else "not in the clone"] += 1
            continue
        try:
            sound, rate = decode(content, Path(path).suffix)
        except ValueError as error:
            left_out[str(error)] += 1
            continue
        sound = sound[: round(CLIP_S * rate)]
        if part.kind == "room":
            yield path, sound, rate, mark
            continue
        mono = sound if part.kind == "instrumental" else sound.mean(axis=1, keepdims=True)
        facts = measure(mono.mean(axis=1), rate)
        if reason := reason_against(facts, part.kind, part.limits):
            left_out[reason] += 1
            continue
        if part.kind != "instrumental":
            mono = cut_silence(mono[:, 0], rate, part.kind)[:, None]
        sound = mono[: round(LONGEST_S * rate)]
        if len(sound) >= part.limits.shortest * rate:
            yield path, sound, rate, mark


def tracks_of(sounds: Iterator[tuple[str, np.ndarray, int, str]], part: Part, minutes: float) -> Iterator[Track]:
    """Tracks of about a minute, at most `minutes` in all; rooms and instrumentals are one track a file."""
    alone = part.kind in ("room", "instrumental")
    open_tracks: dict[int, Track] = {}
    made = 0.0
    for path, sound, rate, _ in sounds:
        if alone:
            made += len(sound) / rate
            yield Track(rate, [sound], [path])
        else:
            track = open_tracks.setdefault(rate, Track(rate))
            if track.pieces:
                track.pieces.append(np.zeros(round(GAP_S * rate), np.float32))
            track.pieces.append(levelled(sound[:, 0], rate))
            track.files.append(path)
            made += len(sound) / rate
            if track.seconds >= TRACK_S:
                yield open_tracks.pop(rate)
        if made >= 60 * minutes:
            break
    yield from (track for track in open_tracks.values() if track.seconds >= 0.5)


def write_whole(file: Path, content: bytes) -> None:
    """Writes beside and renames, so that a file is there whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.part")
    beside.write_bytes(content)
    os.replace(beside, file)


def write_track(out: Path, target: str, track: Track, kind: str) -> list[Any]:
    """Writes one track below `out`; seconds, rate, channels and bandwidth of it."""
    import soundfile

    sound = np.concatenate(track.pieces)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(sound, -1, 1), track.rate, "PCM_24" if kind == "room" else "PCM_16", format="FLAC")
    write_whole(out / target, buffer.getvalue())
    mono = sound if sound.ndim == 1 else sound.mean(axis=1)
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    return [f"{len(sound) / track.rate:.2f}", track.rate, channels, bandwidth(mono, track.rate)]


@dataclass
class Record:
    """What was made of a source so far: groups (by the beginning of their tracks' paths) with their rows and hashes."""

    file: Path
    mark: str = ""
    whole: bool = False
    groups: dict[str, dict[str, list[Any]]] = field(default_factory=dict)

    @classmethod
    def read(cls, out: Path, source: Source) -> Record:
        """The record of a source below `out`; an empty one if there is none."""
        record = cls(out / "done" / f"{plain(source.name)}.json")
        if record.file.exists():
            kept = json.loads(record.file.read_text(encoding="utf-8"))
            record.mark, record.whole, record.groups = kept["mark"], kept.get("whole", False), kept.get("groups", {})
        return record

    def write(self) -> None:
        """Writes it, whole or not at all."""
        kept = {"mark": self.mark, "whole": self.whole, "groups": self.groups}
        write_whole(self.file, json.dumps(kept, ensure_ascii=False).encode("utf-8", "replace"))

    def there(self, out: Path) -> dict[str, dict[str, list[Any]]]:
        """The groups whose tracks all lie below `out`."""
        return {
            name: group for name, group in self.groups.items() if all((out / row[0]).exists() for row in group["rows"])
        }

    @property
    def rows(self) -> list[list[Any]]:
        """Rows of all groups."""
        return [row for group in self.groups.values() for row in group["rows"]]

    @property
    def seen(self) -> set[str]:
        """Hashes of all files that are in."""
        return {mark for group in self.groups.values() for mark in group["seen"]}


def mark_of(source: Source, catalogue: Catalogue) -> str:
    """Changes with everything that decides what is made of a source."""
    return hashlib.sha256(repr((VERSION, astuple(source), catalogue.held_back)).encode()).hexdigest()[:16]


def collect_source(
    source: Source, catalogue: Catalogue, out: Path, repos: Path | None, seen: set[str], tell: Callable[[str], object]
) -> list[list[Any]]:
    """The rows of one source, its tracks written below `out`; raises SourceUnavailable if it cannot be had."""
    old, mark = Record.read(out, source), mark_of(source, catalogue)
    there = old.there(out) if old.mark == mark else {}
    if old.whole and there and len(there) == len(old.groups):
        seen.update(old.seen)
        tell(f"{source.name}: there already, {len(old.rows)} tracks")
        return old.rows
    new = Record(old.file, mark)
    left_out: Counter[str] = Counter()
    with opened(source, repos) as (paths, read):
        open_paths = [path for path in paths if not catalogue.holds_back(source, path)]
        for number, part in enumerate(source.parts):
            chosen = [path for path in open_paths if matches(path, part)]
            if not chosen:
                tell(f"{source.name}: no file is like {', '.join(part.files)}")
            minutes = 0.0
            for (who, split), files in groups_of(source, part, chosen).items():
                limit = min(part.each, part.cap - minutes)
                if limit <= 0:
                    break
                stem = f"{part.kind}/{plain(source.name)}/{number}-{plain(who)}-{split}"
                if stem in there:
                    group = there[stem]
                    seen.update(group["seen"])
                else:
                    taken: list[str] = []
                    sounds = _noting(usable(read(files), files, part, seen, left_out), seen, taken)
                    tracks = enumerate(tracks_of(sounds, part, limit))
                    made = [
                        row_of(source, part, who, split, track, f"{stem}-{index:03d}", out) for index, track in tracks
                    ]
                    group = {"rows": made, "seen": taken}
                new.groups[stem] = group
                minutes += sum(float(row[5]) for row in group["rows"]) / 60
                if stem not in there and group["rows"]:
                    new.write()
            tell(f"{source.name}: {minutes:.1f} minutes of {part.kind} from {len(chosen)} files")
    if left_out:
        tell(f"{source.name}: left out {', '.join(f'{count} {reason}' for reason, count in left_out.most_common())}")
    new.whole = True
    new.write()
    for gone in {row[0] for row in old.rows} - {row[0] for row in new.rows}:
        (out / gone).unlink(missing_ok=True)
    return new.rows


def row_of(source: Source, part: Part, who: str, split: str, track: Track, stem: str, out: Path) -> list[Any]:
    """Writes a track to OUT/`stem`.flac; its row of the manifest."""
    target = f"{stem}-vocals.flac" if part.kind == "vocals" else f"{stem}.flac"  # each is a song of its own
    facts = write_track(out, target, track, part.kind)
    voice = part.kind in ("speech", "vocals")
    speaker = ("mixed" if who == "mixed" else f"{plain(source.name)}-{plain(who)}") if voice else ""
    language = label_from_path(part.language, track.files[0])
    words = [f"language={language}"] if language else []
    words += [] if voice else [f"label={who}"]
    words.append(track.files[0])
    if len(track.files) > 1:
        words.append(f"and {len(track.files) - 1} more")
    licence = f"{part.licence or source.licence} ({source.stated})"
    return [target, part.kind, split, speaker, source.name, *facts, licence, source.origin, "; ".join(words)]


def _noting(
    sounds: Iterator[tuple[str, np.ndarray, int, str]], seen: set[str], taken: list[str]
) -> Iterator[tuple[str, np.ndarray, int, str]]:
    for sound in sounds:
        seen.add(sound[3])
        taken.append(sound[3])
        yield sound


def write_manifest(out: Path, rows: list[list[Any]]) -> None:
    """OUT/manifest.csv with all rows, whole or not at all."""
    text = io.StringIO()
    text.write(COLUMNS + "\n")
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_whole(out / "manifest.csv", text.getvalue().encode("utf-8", "replace"))


def collect(
    out: Path, catalogue: Catalogue, repos: Path | None, only: list[str], tell: Callable[[str], object]
) -> tuple[float, list[str]]:
    """Collects the sources named in `only`, or all; the minutes in the manifest and the sentences of skipped ones.

    Rows of sources that were collected before stay in the manifest. Raises ValueError with one sentence for bad input.
    """
    known = [source.name for source in catalogue.sources]
    if unknown := [name for name in only if name not in known]:
        raise ValueError(f"{', '.join(unknown)} is none of {', '.join(known)}.")
    if repos is not None and not repos.is_dir():
        raise ValueError(f"{repos} is no folder.")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; name a folder.")
    made: dict[str, list[list[Any]]] = {}  # of each source, in the order of the catalogue
    for source in catalogue.sources:
        before = Record.read(out, source)
        fits = before.whole and before.mark == mark_of(source, catalogue)
        made[source.name] = [row for row in before.rows if (out / row[0]).exists()] if fits else []
    skipped, seen = [], set[str]()
    for source in catalogue.sources:
        if only and source.name not in only:
            seen |= Record.read(out, source).seen if made[source.name] else set()
            continue
        try:
            made[source.name] = collect_source(source, catalogue, out, repos, seen, tell)
        except SourceUnavailable as reason:
            skipped.append(str(reason))
            tell(str(reason))
            continue
        write_manifest(out, [row for rows in made.values() for row in rows])
    rows = [row for each in made.values() for row in each]
    if not rows:
        raise ValueError("Nothing was collected: " + (skipped[0] if skipped else "no file is fit."))
    write_manifest(out, rows)
    return sum(float(row[5]) for row in rows) / 60, skipped


def main(
    out: Annotated[Path, typer.Argument(help="Folder of tracks and manifest.csv; may hold a part already.")],
    repos: Annotated[Path | None, typer.Option(help="A folder with clones or .deb files.")] = None,
    only: Annotated[list[str], typer.Option(help="This source only; may be said again.")] = [],  # noqa: B006
    catalogue: Annotated[Path, typer.Option(help="Another catalogue.")] = CATALOGUE,
) -> None:
    """Collect public recordings for training."""
    try:
        minutes, skipped = collect(out, read_catalogue(catalogue), repos, only, typer.echo)
    except (OSError, ValueError, zipfile.BadZipFile, re.error) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{minutes:.1f} minutes in {out}" + (f"; {len(skipped)} sources were skipped" if skipped else ""))


if __name__ == "__main__":
    typer.run(main)
