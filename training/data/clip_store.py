"""A bank: every recording of some kinds, decoded once into one long run of int16 samples, mapped from a file."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from filelock import FileLock
from rich.console import Console

from training.data.bank_files import LOCK, UNFINISHED, mapped, remove_unused
from training.data.file_marks import file_mark
from training.data.manifest import ForbiddenRow, Row

RATES = (16000, 48000)  # what banks hold; other rates are brought to the nearest above, at most 48 kHz


def decode(row: Row) -> np.ndarray:
    """The row's samples, int16 `[samples]`, mono, at the bank's rate; less those of `row.minus` if there is one.

    Raises ForbiddenRow for a row of the test split: training never opens those.
    """
    if row.split == "test":
        raise ForbiddenRow(f"{row.path.name} belongs to the test split; training must not open it.")
    if row.plus or row.take:  # a part of a song that is noise here
        from training.data.song_clips import decode_stereo

        mono = decode_stereo(row, bank_rate(row.sample_rate)).mean(axis=0)
        return np.clip(np.rint(mono * 32767), -32768, 32767).astype(np.int16)
    samples, rate = soundfile.read(row.path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if row.minus:
        other = soundfile.read(row.minus, dtype="float32", always_2d=True)[0].mean(axis=1)
        mono = mono[: len(other)] - other[: len(mono)]
    target = bank_rate(row.sample_rate)
    if rate != target:  # Opus files decode at 48 kHz whatever was encoded
        mono = soxr.resample(mono, rate, target)
    return np.clip(np.rint(mono * 32767), -32768, 32767).astype(np.int16)


def bank_rate(rate: int) -> int:
    """The rate in Hz at which a recording of `rate` Hz is kept: the smallest of RATES that holds its band."""
    return next((kept for kept in RATES if kept >= rate), RATES[-1])


class Bank:
    """Recordings of one rate, ready to be cut into segments.

    Attributes: `samples` int16 `[total]` (in memory, or mapped from a file: only what is cut is ever read), `start` and
    `length` int64 `[clips]`, `bandwidth` float32 `[clips]` in Hz, `weight` float64 `[clips]` (chance of a clip, sums to
    1), `rate` in Hz.
    """

    def __init__(
        self,
        rate: int,
        samples: np.ndarray,
        length: Sequence[int] | np.ndarray,
        rows: Sequence[Row],
        weights: Sequence[float],
    ):
        """`samples` int16 `[total]` holds the clips of `rows` one behind the other, each `length` samples long."""
        self.rate = rate
        self.rows = list(rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a mapped file is read-only, and nobody writes to it here
            self.samples = torch.from_numpy(samples)
        self.length = np.asarray(length, dtype=np.int64)
        self.start = np.cumsum(self.length) - self.length
        self.bandwidth = np.array([row.bandwidth for row in rows], dtype=np.float32)
        weight = np.asarray(weights, dtype=np.float64)
        self.weight = weight / weight.sum() if len(weight) else weight

    def __len__(self) -> int:
        return len(self.length)

    def to(self, device: torch.device) -> Bank:
        """Moves the samples to `device`; a whole bank fits into the memory of a GPU. On the CPU nothing is copied."""
        self.samples = self.samples.to(device)
        return self

    def pick(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Indices int64 `[count]` of clips drawn by weight."""
        return rng.choice(len(self), size=count, p=self.weight)

    def cut(self, clips: np.ndarray, size: int, rng: np.random.Generator, wrap: bool) -> torch.Tensor:
        """Random segments, float32 `[len(clips), size]` in ±1.

        A clip shorter than `size` is repeated when `wrap` (noise), else placed somewhere in silence (speech).
        """
        spare = self.length[clips] - size
        offset = np.floor(rng.random(len(clips)) * (np.abs(spare) + 1)).astype(np.int64)
        segments = torch.zeros(len(clips), size, device=self.samples.device)
        for segment, clip, free, begin in zip(segments, clips, spare, offset, strict=True):
            sound = self.samples[self.start[clip] : self.start[clip] + self.length[clip]]
            if free >= 0:
                segment[:] = sound[begin : begin + size]
            elif wrap:
                begin %= len(sound)
                repeats = -(-(begin + size) // len(sound))
                segment[:] = sound.repeat(repeats)[begin : begin + size]
            else:
                segment[begin : begin + len(sound)] = sound
        return segments.div_(32767)


def build_banks(
    rows: Iterable[Row], corpus_weight: dict[str, float], power: float, cache: Path | None = None, threads: int = 2
) -> dict[int, Bank]:
    """Decodes rows into one Bank a rate. A clip's chance is seconds**power × its corpus's weight (default 1).

    Clips under half a second are left out.

    `cache` is a folder: decoded samples are kept there, named by a hash of the rows, and mapped into memory, so that a
    restart takes a second and banks may be larger than memory. Before a new bank is written there, those that no run
    has used for `UNUSED_DAYS` make room, and one sentence on standard error says so.
    """
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(bank_rate(row.sample_rate), []).append(row)
    banks = {}
    for rate, members in sorted(groups.items()):
        samples, length = _cached(members, rate, cache, threads) if cache else _decoded(members, rate, threads)
        kept = np.flatnonzero(length)
        if not len(kept):
            continue
        used = [members[index] for index in kept]
        weights = [row.seconds**power * corpus_weight.get(row.corpus, 1.0) for row in used]
        banks[rate] = Bank(rate, samples, length[kept], used, weights)
    return banks


def data_hash(rows: Iterable[Row]) -> str:
    """Short sha256 over names and lengths of the rows: which data a run has seen."""
    text = "\n".join(f"{row.path.parent.name}/{row.path.name} {row.split} {row.seconds:.2f}" for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _files_hash(rows: list[Row]) -> str:
    """Which files exactly: a recording that was made anew is decoded anew."""
    files = [path for row in rows for path in (row.path, *row.plus, row.minus) if path]
    return hashlib.sha256(repr([file_mark(path) for path in files]).encode()).hexdigest()[:16]


def _decoded(rows: list[Row], rate: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
    clips = list(_clips(rows, rate, threads))
    return np.concatenate(clips), np.array([len(clip) for clip in clips], np.int64)


def _cached(rows: list[Row], rate: int, cache: Path, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """All clips end to end, int16 `[total]`, mapped; and their lengths int64 `[rows]`, 0 for those left out."""
    sound = cache / f"{_files_hash(rows)}-{rate}.int16"
    lengths = sound.with_suffix(".lengths.npy")  # written last: where it is, the samples are whole
    try:
        return mapped(sound), np.load(lengths)
    except FileNotFoundError:
        cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / LOCK):  # of several processes of a run one decodes, and the others read what it has made
        if not lengths.exists():
            if told := remove_unused(cache):
                Console(stderr=True).print(told)
            _fill(sound, lengths, _clips(rows, rate, threads))
    return mapped(sound), np.load(lengths)


def _fill(sound: Path, lengths: Path, clips: Iterable[np.ndarray]) -> None:
    """Writes clips end to end, and how long each is; both files whole or neither."""
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=sound.parent) as unfinished:
        length = []
        with open(Path(unfinished, "sound"), "wb") as file:
            for clip in clips:
                clip.tofile(file)
                length.append(len(clip))
        np.save(Path(unfinished, "lengths.npy"), np.array(length, np.int64))
        Path(unfinished, "sound").replace(sound)
        Path(unfinished, "lengths.npy").replace(lengths)


def _clips(rows: list[Row], rate: int, threads: int) -> Iterator[np.ndarray]:
    """Decoded rows in their order, a few ahead of who takes them; empty for a clip of under half a second."""
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[np.ndarray]] = deque()
        for row in rows:
            ahead.append(pool.submit(decode, row))
            if len(ahead) > 4 * threads:
                yield _long_enough(ahead.popleft().result(), rate)
        while ahead:
            yield _long_enough(ahead.popleft().result(), rate)


def _long_enough(clip: np.ndarray, rate: int) -> np.ndarray:
    return clip if len(clip) >= rate // 2 else clip[:0]
