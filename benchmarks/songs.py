"""Songs as two stems, for benchmarks: from a manifest, a MUSDB folder, or folders of stems.

- a manifest: a CSV with columns `path,kind,split`; `NAME-vocals.EXT` and `NAME-accompaniment.EXT` of kinds `vocals`
  and `accompaniment` are one song;
- a folder with a folder for every song, or one such folder, with `vocals.EXT` and either `accompaniment.EXT`, or
  `mixture.EXT`, or the other stems, which are summed (MUSDB18-HQ: `drums bass other`);
- MUSDB18 as downloaded, `*.stem.mp4`, read by package `musdb`.

A folder with `train/` and `test/` inside is looked into by the split's name. EXT: wav, flac, ogg, opus, mp3.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile as sf

from rtsep.errors import InputError, RtsepError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Audio = NDArray[np.float32]
    Stems = tuple[Audio, Audio, int]

SOUNDS = (".wav", ".flac", ".ogg", ".opus", ".mp3")


@dataclass(frozen=True)
class Song:
    """One song; its stems are read when they are first asked for.

    `limit`: seconds of its middle, None for all. `gain`: dB by which its vocals are louder than they are in the song.
    """

    name: str
    read: Callable[[], Stems]
    limit: float | None = None
    gain: float = 0.0

    @cached_property
    def _stems(self) -> Stems:
        vocals, accompaniment, rate = self.read()
        if vocals.shape != accompaniment.shape or vocals.shape[1] != 2 or not len(vocals):
            raise InputError(f"The stems of {self.name} must be stereo, equally long and not empty.")
        count = len(vocals) if self.limit is None else min(len(vocals), round(self.limit * rate))
        begin = (len(vocals) - count) // 2
        loud = np.float32(10 ** (self.gain / 20))
        return vocals[begin : begin + count] * loud, accompaniment[begin : begin + count], rate

    @property
    def vocals(self) -> Audio:
        """`[samples, 2]`."""
        return self._stems[0]

    @property
    def accompaniment(self) -> Audio:
        """`[samples, 2]`."""
        return self._stems[1]

    @property
    def rate(self) -> int:
        """Hz."""
        return self._stems[2]

    @cached_property
    def mixture(self) -> Audio:
        """The sum of both stems: what a method hears."""
        return self.vocals + self.accompaniment

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.vocals) / self.rate


def find_songs(place: Path, split: str = "test", limit: float | None = None, gain: float = 0.0) -> list[Song]:
    """The songs at `place`, in order of their names, see `Song`; InputError when there is none."""
    if place.is_file():
        readers = _of_manifest(place, split)
    elif place.is_dir():
        home = place / split if (place / split).is_dir() else place
        readers = _of_stem_files(place, split) or _of_folders(home)
    else:
        raise InputError(f"There is no {place}; name a manifest or a folder of songs.")
    if not readers:
        raise InputError(f"{place} holds no song with vocals and accompaniment (split {split}).")
    told = f", vocals {gain:+g} dB" if gain else ""
    return [Song(name + told, readers[name], limit, gain) for name in sorted(readers)]


def _sound(path: Path) -> tuple[Audio, int]:
    try:
        x, rate = sf.read(path, dtype="float32", always_2d=True)
    except (sf.LibsndfileError, OSError) as error:
        raise InputError(f"{path} cannot be read as audio: {error}.") from None
    return (np.repeat(x, 2, axis=1) if x.shape[1] == 1 else x), rate


def _pair(vocals: Path, rest: list[Path], mixed: bool) -> Callable[[], Stems]:
    """mixed: what is in `rest` is the mixture, from which the vocals are taken."""

    def read() -> Stems:
        voice, rate = _sound(vocals)
        others = [_sound(path) for path in rest]
        if any(other_rate != rate or len(x) != len(voice) for x, other_rate in others):
            raise InputError(f"The stems beside {vocals} differ in rate or length.")
        total = np.asarray(sum(x for x, _ in others), np.float32)
        return voice, (total - voice if mixed else total), rate

    return read


def _of_manifest(manifest: Path, split: str) -> dict[str, Callable[[], Stems]]:
    found: dict[str, dict[str, Path]] = {}
    try:
        with manifest.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["kind"] in ("vocals", "accompaniment") and row["split"] == split:
                    path = manifest.parent / row["path"]
                    found.setdefault(path.stem.removesuffix(f"-{row['kind']}"), {})[row["kind"]] = path
    except (KeyError, OSError, UnicodeDecodeError):
        raise InputError(f"{manifest} is no manifest: a CSV with columns path, kind and split.") from None
    whole = {name: stems for name, stems in found.items() if len(stems) == 2}
    return {name: _pair(stems["vocals"], [stems["accompaniment"]], False) for name, stems in whole.items()}


def _of_folders(home: Path) -> dict[str, Callable[[], Stems]]:
    readers = {}
    for folder in [home, *sorted(path for path in home.iterdir() if path.is_dir())]:
        stems = {path.stem.lower(): path for path in sorted(folder.iterdir()) if path.suffix.lower() in SOUNDS}
        if "vocals" not in stems:
            continue
        for name in ("accompaniment", "mixture"):
            if name in stems:
                readers[folder.name] = _pair(stems["vocals"], [stems[name]], name == "mixture")
                break
        else:
            others = [path for name, path in stems.items() if name != "vocals"]
            if others:
                readers[folder.name] = _pair(stems["vocals"], others, False)
    return readers


def _of_stem_files(home: Path, split: str) -> dict[str, Callable[[], Stems]]:
    if not any(home.glob("*.stem.mp4")) and not any((home / split).glob("*.stem.mp4")):
        return {}
    try:
        import musdb
    except ModuleNotFoundError:
        raise RtsepError('MUSDB18 as .stem.mp4 needs musdb: pip install "rtsep[bench]".') from None
    root = home if (home / split).is_dir() else home.parent
    tracks = musdb.DB(root=str(root), subsets=[split if root == home else home.name])

    def reader(track: object) -> Callable[[], Stems]:
        def read() -> Stems:
            targets = track.targets  # type: ignore[attr-defined]
            vocals, rest = (np.asarray(targets[name].audio, np.float32) for name in ("vocals", "accompaniment"))
            return vocals, rest, int(track.rate)  # type: ignore[attr-defined]

        return read

    return {track.name: reader(track) for track in tracks}
