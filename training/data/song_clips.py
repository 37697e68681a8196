"""Songs: vocals and accompaniment in stereo, decoded once into memory-mapped arrays that mixing reads segments of."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr

from training.data.augment.offline_augment import Copy, varied
from training.data.file_marks import file_mark
from training.data.manifest import STEMS, ForbiddenRow, Row
from training.data.sound_files import SoundOnDisk

WIDE = 14000  # Hz; what ends below lacks treble that one hears
NO_LIMIT = 1e6  # Hz
INSTRUMENTAL = "instrumental"  # the kind of a recording nobody sings in: an accompaniment without vocals


@dataclass(frozen=True)
class Song:
    """The rows of one song: `accompaniment`, `vocals`, or one of the two."""

    name: str
    accompaniment: Row | None
    vocals: Row | None

    @property
    def rows(self) -> list[Row]:
        """Those of the two rows that there are, accompaniment first."""
        return [row for row in (self.accompaniment, self.vocals) if row]


def pair_songs(rows: Iterable[Row]) -> list[Song]:
    """Songs of the rows of kind accompaniment, vocals and instrumental, in the order of the first row of each.

    Raises ValueError with one sentence where a song has a part twice, or in two splits.
    """
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row.kind not in (*STEMS, INSTRUMENTAL):
            continue
        key = (row.corpus, row.song or str(row.path))
        kind = "accompaniment" if row.kind == INSTRUMENTAL else row.kind
        parts = found.setdefault(key, {})
        if kind in parts:
            raise ValueError(f"{row.corpus} has the {kind} of the song {key[1]} twice.")
        parts[kind] = row
        if len({part.split for part in parts.values()}) > 1:
            raise ValueError(f"The parts of the song {key[1]} are in different splits: training would hear the test.")
    return [Song(name, parts.get("accompaniment"), parts.get("vocals")) for (_, name), parts in found.items()]


def decode_stereo(row: Row, rate: int) -> np.ndarray:
    """The row's samples at `rate` Hz, float32 `[2, samples]`; one channel is doubled, of more the first two count.

    Raises ForbiddenRow for a row of the test split, ValueError with one sentence for a file that cannot be read.
    """
    if row.split == "test":
        raise ForbiddenRow(f"{row.path.name} belongs to the test split; training must not open it.")
    total = _read(row.path, row.take, rate)
    for path in row.plus:
        total = _added(total, _read(path, row.take, rate))
    if row.minus:
        total = _added(total, -_read(row.minus, (), rate))
    return total


def _added(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    length = min(one.shape[1], other.shape[1])
    return one[:, :length] + other[:, :length]


def _read(path: Path, take: tuple[int, ...], rate: int) -> np.ndarray:
    if path.suffix.lower() == ".mp4":
        sound, own = _read_streams(path, take)
    else:
        try:
            sound, own = soundfile.read(path, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError):
            raise ValueError(f"{path} is damaged or no sound file: unpack it again.") from None
        if take:
            sound = sound[:, list(take)].sum(1, keepdims=True)
    if own != rate:
        sound = soxr.resample(sound, own, rate)
    return np.ascontiguousarray(np.broadcast_to(sound.T[:2], (2, len(sound))), dtype=np.float32)


def _read_streams(path: Path, take: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """The sum of some streams of a stem file, `[samples, 2]`, and its rate."""
    try:
        import stempeg
    except ModuleNotFoundError:
        raise ValueError(f"{path.name} needs the package stempeg: pip install 'rtsep[train]'.") from None
    streams, rate = stempeg.read_stems(str(path), stem_id=list(take), dtype=np.float32)
    streams = np.asarray(streams, np.float32)
    return (streams.sum(0) if streams.ndim == 3 else streams), int(rate)


@dataclass(frozen=True)
class Clip:
    """A song, or a copy of it, ready to be cut. `parts`: accompaniment, vocals → int16 `[2, samples]`, sliced as such.

    `voiced` are the starts (samples) of the seconds in which the vocals are heard.
    """

    song: Song
    parts: dict[str, np.ndarray | SoundOnDisk]
    voiced: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def length(self) -> int:
        """Samples of the shorter part."""
        return min(part.shape[1] for part in self.parts.values())

    def limit(self, part: str) -> float:
        """Up to which frequency in Hz the recording of a part goes, where that is said and well below what is heard."""
        row: Row | None = getattr(self.song, part)
        return float(row.bandwidth) if row and row.bandwidth < WIDE else NO_LIMIT


def open_clips(songs: Sequence[Song], rate: int, cache: Path | None = None) -> list[Clip]:
    """Every song at `rate` Hz, read from its files where it is cut: nothing is decoded ahead, nothing is kept.

    For many hours, in forms that can be read from anywhere (FLAC, Ogg Vorbis, WAV). Of the vocals it is looked up once
    where they are heard, and kept in `cache`. A song whose parts lie in several files or streams is decoded ahead, as
    by `load_clips`. Raises ForbiddenRow for a song of the test split.
    """
    return [_open(song, rate, cache) for song in songs]


def _open(song: Song, rate: int, cache: Path | None) -> Clip:
    if any(row.plus or row.take or row.minus or row.path.suffix == ".mp4" for row in song.rows):
        return _load(song, None, rate, cache)
    parts = {}
    for name in STEMS:
        row: Row | None = getattr(song, name)
        if row and row.split == "test":
            raise ForbiddenRow(f"{row.path.name} belongs to the test split; training must not open it.")
        if row:
            parts[name] = SoundOnDisk(row.path, rate)
    if "vocals" not in parts:
        return Clip(song, {**parts})
    file = cache / f"voiced-{_mark(song, None, rate)}.npy" if cache else None
    if file and file.exists():
        return Clip(song, {**parts}, np.load(file))
    voiced = voiced_seconds(parts["vocals"], rate)
    voiced = voiced[voiced + rate <= min(part.shape[1] for part in parts.values())]
    if cache and file:
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, voiced)
        partial.replace(file)
    return Clip(song, {**parts}, voiced)


def load_clips(
    songs: Sequence[Song], rate: int, copies: Sequence[Copy] = (), cache: Path | None = None, threads: int = 2
) -> list[Clip]:
    """Every song at `rate` Hz, and copies of those that have both parts: of either part alone there is no lack.

    In `cache` they are files, mapped into memory, one for each song and copy, named by what they were made of: 23 MB a
    minute of song. Without a cache they are held in memory. Raises ForbiddenRow for a song of the test split.
    """
    wanted: list[tuple[Song, Copy | None]] = []
    for song in songs:
        wanted += [(song, copy) for copy in (None, *(copies if len(song.rows) == 2 else ()))]
    if cache:
        cache.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda one: _load(one[0], one[1], rate, cache), wanted))


def _load(song: Song, copy: Copy | None, rate: int, cache: Path | None) -> Clip:
    for row in song.rows:
        if row.split == "test":
            raise ForbiddenRow(f"{row.path.name} belongs to the test split; training must not open it.")
    file = cache / f"song-{_mark(song, copy, rate)}.npy" if cache else None
    if file and file.exists():
        samples = np.load(file, mmap_mode="r")
    else:
        samples = _make(song, copy, rate)
        if file:
            partial = file.with_suffix(f".{os.getpid()}.npy")
            np.save(partial, samples)
            partial.replace(file)
            samples = np.load(file, mmap_mode="r")
    names = [name for name in STEMS if getattr(song, name)]
    parts: dict[str, np.ndarray | SoundOnDisk] = {
        name: samples[2 * index : 2 * index + 2] for index, name in enumerate(names)
    }
    voiced = voiced_seconds(parts["vocals"], rate) if "vocals" in parts else np.zeros(0, np.int64)
    return Clip(song, parts, voiced)


def _make(song: Song, copy: Copy | None, rate: int) -> np.ndarray:
    """int16 `[2 × parts, samples]`; the parts cut to the shorter, and lowered together where one would clip."""
    parts = [decode_stereo(row, rate) for row in song.rows]
    length = min(part.shape[1] for part in parts)
    sound = np.stack([part[:, :length] for part in parts])
    if copy:
        sound = varied(sound, rate, copy)
    sound = sound.reshape(2 * len(parts), -1)
    sound *= 1 / max(1.0, float(np.abs(sound).max()))
    return np.rint(sound * 32767).astype(np.int16)


def _mark(song: Song, copy: Copy | None, rate: int) -> str:
    """Which files exactly, and what was made of them: what was made anew is decoded anew."""
    files = [(row.kind, row.take, path) for row in song.rows for path in (row.path, *row.plus, row.minus) if path]
    marks = [(kind, take, *file_mark(path)) for kind, take, path in files]
    return hashlib.sha256(repr((marks, copy, rate)).encode()).hexdigest()[:20]


def voiced_seconds(vocals: np.ndarray | SoundOnDisk, rate: int, below: float = 30.0) -> np.ndarray:
    """Starts (samples, int64) of the whole seconds of `[2, samples]` that lie within `below` dB of the loudest."""
    seconds = vocals.shape[1] // rate
    power = np.array(
        [np.square(vocals[:, n * rate : (n + 1) * rate].astype(np.float32)).mean() for n in range(seconds)]
    )
    if not len(power) or power.max() == 0:
        return np.zeros(0, np.int64)
    return np.flatnonzero(power > power.max() * 10 ** (-below / 10)) * rate


def spread(lengths: Sequence[int], size: int, count: int) -> list[tuple[int, int]]:
    """`count` places, spread evenly over clips of so many samples: which clip, and where a piece of `size` begins."""
    ends = np.cumsum([max(length - size, 1) for length in lengths])
    places = ((np.arange(count) + 0.5) / count * ends[-1]).astype(np.int64)
    clips = np.searchsorted(ends, places, side="right")
    return [
        (int(clip), int(place - (ends[clip - 1] if clip else 0))) for clip, place in zip(clips, places, strict=True)
    ]
