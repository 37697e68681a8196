"""Stems of instruments mixed anew: `StemMixer.batch(step)` makes the same sources for the same seed and step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.data.manifest import INSTRUMENT_STEM, ForbiddenRow, Row
from training.data.song_clips import spread
from training.data.sound_files import SoundOnDisk
from training.data.speech_mixer import BaseMixer


@dataclass(frozen=True)
class StemMixSpec:
    """How stems are mixed. Seconds; every `_share` is a probability.

    A `song_share` of the examples are pieces of one song as it is. In all others each instrument is of a song of its
    own, at a random `gain`, with its channels swapped, or missing; two at least are there, of those that any song has.
    """

    seconds: float = 4.096
    song_share: float = 0.5
    gain: tuple[float, float] = (0.25, 1.25)  # as Open-Unmix (Stöter et al. 2019) has it
    swap_share: float = 0.5
    missing_share: float = 0.1


@dataclass(frozen=True)
class StemSong:
    """One song; `stems` are its instruments, sliced as int16 `[2, samples]` and read from their files where cut."""

    name: str
    stems: dict[str, SoundOnDisk]

    @property
    def length(self) -> int:
        """Samples of the shortest stem."""
        return min(stem.shape[1] for stem in self.stems.values())


def open_stems(rows: Iterable[Row], instruments: Sequence[str], rate: int) -> list[StemSong]:
    """Songs of the rows that are stems, at `rate` Hz, in the order of the first row of each.

    Raises ForbiddenRow for a stem of the test split, ValueError with one sentence for an instrument that is none of
    `instruments`, or that a song has twice.
    """
    found: dict[tuple[str, str], dict[str, SoundOnDisk]] = {}
    for row in rows:
        if row.kind != INSTRUMENT_STEM:
            continue
        if row.split == "test":
            raise ForbiddenRow(f"{row.path.name} belongs to the test split; training must not open it.")
        if row.instrument not in instruments:
            raise ValueError(f"{row.path.name} is no stem of {', '.join(instruments)}.")
        stems = found.setdefault((row.corpus, row.song), {})
        if row.instrument in stems:
            raise ValueError(f"{row.corpus} has the {row.instrument} of the song {row.song} twice.")
        stems[row.instrument] = SoundOnDisk(row.path, rate)
    return [StemSong(name, stems) for (_, name), stems in found.items()]


class StemMixer(BaseMixer):
    """Mixes `instruments` of `songs` at `rate` Hz, on `device`.

    Songs are drawn by their length; those shorter than half a piece are left out. Raises ValueError if none is left.
    """

    def __init__(
        self,
        songs: Sequence[StemSong],
        instruments: Sequence[str],
        spec: StemMixSpec,
        rate: int = 48000,
        seed: int = 0,
        hop: int = 128,
        device: torch.device | str = "cpu",
    ):
        self.instruments, self.spec, self.seed, self.device = tuple(instruments), spec, seed, torch.device(device)
        self.size = round(spec.seconds * rate / hop) * hop
        self.songs = [song for song in songs if song.length >= self.size // 2]
        if not self.songs:
            raise ValueError("There is no song of stems")

    def batch(self, step: int, count: int) -> Tensor:
        """Sources float32 `[count, instruments, 2, samples]`, exactly zero where an instrument is missing."""
        rng = np.random.default_rng((self.seed, step))
        return torch.stack([self._example(rng) for _ in range(count)])

    def passages(self, count: int, mono: bool = False) -> Tensor:
        """`count` pieces of the songs as they are, spread evenly, shaped as a batch: to validate on.

        In `mono` `[count, instruments, samples]`, means of both channels.
        """
        places = spread([song.length for song in self.songs], self.size, count)
        pieces = (self._piece(self.songs[index], start) for index, start in places)
        return torch.stack([piece.mean(1) if mono else piece for piece in pieces])

    def _example(self, rng: np.random.Generator) -> Tensor:
        """`[instruments, 2, samples]`, whose sum does not clip."""
        if rng.random() < self.spec.song_share:
            song = self._drawn(self.songs, rng)
            waves = self._piece(song, self._start(song, rng))
        else:
            waves = self._mixed(rng)
        return waves * (0.99 / max(0.99, float(waves.sum(0).abs().max())))

    def _mixed(self, rng: np.random.Generator) -> Tensor:
        """Each instrument of another song."""
        known = np.array([any(name in song.stems for song in self.songs) for name in self.instruments])
        there = known & (rng.random(len(self.instruments)) >= self.spec.missing_share)
        if there.sum() < 2:
            there = known
        waves = torch.zeros(len(self.instruments), 2, self.size, device=self.device)
        for wave, name, sounds in zip(waves, self.instruments, there, strict=True):
            songs = [song for song in self.songs if name in song.stems]
            if songs and sounds:
                song = self._drawn(songs, rng)
                piece = self._cut(song, name, self._start(song, rng)) * rng.uniform(*self.spec.gain)
                wave[:] = piece.flip(0) if rng.random() < self.spec.swap_share else piece
        return waves

    def _drawn(self, songs: Sequence[StemSong], rng: np.random.Generator) -> StemSong:
        weight = np.array([song.length for song in songs], np.float64)
        return songs[rng.choice(len(songs), p=weight / weight.sum())]

    def _start(self, song: StemSong, rng: np.random.Generator) -> int:
        return int(rng.integers(0, max(song.length - self.size, 0) + 1))

    def _piece(self, song: StemSong, start: int) -> Tensor:
        """All instruments of a song from one place on, `[instruments, 2, samples]`."""
        waves = torch.zeros(len(self.instruments), 2, self.size, device=self.device)
        for wave, name in zip(waves, self.instruments, strict=True):
            if name in song.stems:
                wave[:] = self._cut(song, name, start)
        return waves

    def _cut(self, song: StemSong, name: str, start: int) -> Tensor:
        """float32 `[2, size]`; after its end a song goes on in silence."""
        sound = torch.from_numpy(song.stems[name][:, start : start + self.size]).to(self.device).float() / 32767
        return torch.nn.functional.pad(sound, (0, self.size - sound.shape[1]))
