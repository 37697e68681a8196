"""DSD100 (Liutkus et al. 2017): 100 songs in stereo, 44.1 kHz.

    DSD100/Sources/Dev/055 - Angels In Amplifiers - I'm Alright/{vocals,drums,bass,other}.wav     DSD100/Sources/Test/…

Dev is `train`, its last 5 % of the names `valid`. Many of these songs are in MUSDB18 too, some of them in its test set:
take one of the two.
"""

from __future__ import annotations

from pathlib import Path

from training.data.datasets.layout import filled, find, last_names, song_rows
from training.data.manifest import Row

DOWNLOAD = "download DSD100.zip (http://liutkus.net/DSD100.zip), unpack it and give the folder that holds Sources."
LICENCE = "non-commercial, see dsd100.xlsx of the download"
BACKING = ("drums", "bass", "other")


def rows(root: Path) -> list[Row]:
    """Accompaniment and vocals of every song. Raises FileNotFoundError if Sources/Dev or a file is missing."""
    folder = find(root, ["Sources/Dev", "DSD100/Sources/Dev"], DOWNLOAD)
    songs = sorted(path for path in folder.iterdir() if path.is_dir())
    filled([path / "vocals.wav" for path in songs if (path / "vocals.wav").is_file()], folder, DOWNLOAD)
    valid = last_names(path.name for path in songs)
    found: list[Row] = []
    for path in songs:
        for name in ("vocals", *BACKING):
            if not (path / f"{name}.wav").is_file():
                raise FileNotFoundError(f"{path} has none of the expected sound files {name}.wav: {DOWNLOAD}")
        found += _song(path, "valid" if path.name in valid else "train")
    test = folder.with_name("Test")
    for path in sorted(test.iterdir()) if test.is_dir() else []:
        found += _song(path, "test") if path.is_dir() else []
    return found


def _song(folder: Path, split: str) -> list[Row]:
    backing = [folder / f"{name}.wav" for name in BACKING]
    return song_rows(folder.name, split, "DSD100", LICENCE, [folder / "vocals.wav"], backing)
