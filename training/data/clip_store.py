"""A bank: every recording of some kinds, decoded once into one long int16 tensor."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

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

    Attributes: `samples` int16 `[total]`, `start` and `length` int64 `[clips]`, `bandwidth` float32 `[clips]` in Hz,
    `weight` float64 `[clips]` (chance of a clip, sums to 1), `rate` in Hz.
    """

    def __init__(self, rate: int, clips: Sequence[np.ndarray], rows: Sequence[Row], weights: Sequence[float]):
        self.rate = rate
        self.rows = list(rows)
        self.samples = torch.from_numpy(np.concatenate(clips) if clips else np.zeros(1, np.int16))
        length = np.array([len(clip) for clip in clips], dtype=np.int64)
        self.length = length
        self.start = np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64) if len(clips) else length
        self.bandwidth = np.array([row.bandwidth for row in rows], dtype=np.float32)
        weight = np.asarray(weights, dtype=np.float64)
        self.weight = weight / weight.sum() if len(clips) else weight

    def __len__(self) -> int:
        return len(self.length)

    def to(self, device: torch.device) -> Bank:
        """Moves the samples to `device`; a whole bank fits into the memory of a GPU."""
        self.samples = self.samples.to(device)
        return self

    def pick(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Indices int64 `[count]` of clips drawn by weight."""
        return rng.choice(len(self), size=count, p=self.weight)

    def cut(self, clips: np.ndarray, size: int, rng: np.random.Generator, wrap: bool) -> torch.Tensor:
        """Random segments, float32 `[len(clips), size]` in ±1.

        A clip shorter than `size` is repeated when `wrap` (noise), else placed somewhere in silence (speech).
        """
        length = torch.from_numpy(self.length[clips])[:, None]
        start = torch.from_numpy(self.start[clips])[:, None]
        spare = self.length[clips] - size
        offset = np.floor(rng.random(len(clips)) * (np.abs(spare) + 1)).astype(np.int64) * np.sign(spare + 0.5).astype(
            int
        )
        if wrap:
            offset = np.abs(offset)
        index = torch.arange(size)[None, :] + torch.from_numpy(offset)[:, None]
        inside = (index >= 0) & (index < length)
        index = torch.remainder(index, length)
        device = self.samples.device
        segment = self.samples[(start + index).to(device)].float() / 32767
        return segment if wrap else segment * inside.to(device)


def build_banks(
    rows: Iterable[Row], corpus_weight: dict[str, float], power: float, cache: Path | None = None, threads: int = 2
) -> dict[int, Bank]:
    """Decodes rows into one Bank a rate. A clip's chance is seconds**power × its corpus's weight (default 1).

    Clips under half a second are left out.

    `cache` is a folder: decoded samples are kept there, named by a hash of the rows, so that a restart takes seconds.
    """
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(bank_rate(row.sample_rate), []).append(row)
    banks = {}
    for rate, members in sorted(groups.items()):
        clips = _decode_all(members, rate, cache, threads)
        kept = [(row, clip) for row, clip in zip(members, clips, strict=True) if len(clip) >= rate // 2]
        if not kept:
            continue
        weights = [row.seconds**power * corpus_weight.get(row.corpus, 1.0) for row, _ in kept]
        banks[rate] = Bank(rate, [clip for _, clip in kept], [row for row, _ in kept], weights)
    return banks


def data_hash(rows: Iterable[Row]) -> str:
    """Short sha256 over names and lengths of the rows: which data a run has seen."""
    text = "\n".join(f"{row.path.parent.name}/{row.path.name} {row.split} {row.seconds:.2f}" for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _files_hash(rows: list[Row]) -> str:
    """Which files exactly: a recording that was made anew is decoded anew."""
    files = [path for row in rows for path in (row.path, *row.plus, row.minus) if path]
    marks = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(marks).encode()).hexdigest()[:16]


def _decode_all(rows: list[Row], rate: int, cache: Path | None, threads: int) -> list[np.ndarray]:
    file = cache / f"{_files_hash(rows)}-{rate}.npz" if cache else None
    if file and file.exists():
        stored = np.load(file)
        return np.split(stored["samples"], np.cumsum(stored["lengths"])[:-1])
    with ThreadPoolExecutor(threads) as pool:
        clips = list(pool.map(decode, rows))
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.npz")
        np.savez(partial, samples=np.concatenate(clips), lengths=np.array([len(clip) for clip in clips]))
        partial.rename(file)
    return clips
