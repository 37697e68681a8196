"""MUSDB18 and MUSDB18-HQ (Rafii et al. 2017, 2019): 150 songs in stereo, 44.1 kHz, as the package `musdb` finds them.

    train/Artist - Title.stem.mp4          test/…      (MUSDB18: mixture, drums, bass, other, vocals as streams)
    train/Artist - Title/vocals.wav        test/…      (MUSDB18-HQ: also mixture, drums, bass, other)

The 14 validation songs are those of `musdb`. Songs of test are named and never opened.
"""

from __future__ import annotations

from pathlib import Path

from training.data.datasets.layout import song_rows
from training.data.manifest import Row

DOWNLOAD = (
    "download musdb18.zip (https://zenodo.org/records/1117372) or musdb18hq.zip (https://zenodo.org/records/3338373), "
    "unpack it and give the folder that holds train and test."
)
LICENCE = "non-commercial for most songs, see https://sigsep.github.io/datasets/musdb.html"
BACKING = ("drums", "bass", "other")
STREAMS = {"accompaniment": (1, 2, 3), "vocals": (4,)}


def rows(root: Path) -> list[Row]:
    """Accompaniment and vocals of every song. Raises FileNotFoundError if there is no train folder, no song in it, or a
    source of a song is missing, and ValueError without the package `musdb`."""
    try:
        import musdb
    except ModuleNotFoundError:
        raise ValueError("MUSDB18 is read by the package musdb: pip install 'rtsep[train]'.") from None
    if not (root / "train").is_dir():
        raise FileNotFoundError(f"{root} has no folder train: {DOWNLOAD}")
    wav = not any((root / "train").glob("[!.]*.stem.mp4"))
    if wav:
        for path in sorted(path for path in (root / "train").iterdir() if path.is_dir()):
            for name in ("mixture", "vocals", *BACKING):
                if not (path / f"{name}.wav").is_file():
                    raise FileNotFoundError(f"{path} has none of the expected sound files {name}.wav: {DOWNLOAD}")
    found: list[Row] = []
    for split in ("train", "valid"):
        database = musdb.DB(root=str(root), is_wav=wav, subsets="train", split=split)
        for track in database.tracks:
            found += _wav(Path(track.path).parent, split) if wav else _stem_file(track, split)
    if not found:
        raise FileNotFoundError(f"{root / 'train'} has none of the expected sound files: {DOWNLOAD}")
    for path in sorted((root / "test").glob("[!.]*")) if (root / "test").is_dir() else []:
        if path.is_dir():
            found += _wav(path, "test")
        elif path.name.endswith(".stem.mp4"):
            found += [_row(path, kind, "test", 0.0, 0) for kind in STREAMS]
    return found


def _wav(folder: Path, split: str) -> list[Row]:
    backing = [folder / f"{name}.wav" for name in BACKING]
    return song_rows(folder.name, split, "MUSDB18-HQ", LICENCE, [folder / "vocals.wav"], backing)


def _stem_file(track, split: str) -> list[Row]:
    return [_row(Path(track.path), kind, split, float(track.duration), int(track.rate)) for kind in STREAMS]


def _row(path: Path, kind: str, split: str, seconds: float, rate: int) -> Row:
    name = path.name.removesuffix(".stem.mp4")
    # AAC at 256 kbit/s: the band ends at 16 kHz.
    band = min(rate // 2, 16000)
    return Row(path, kind, split, "MUSDB18", LICENCE, seconds, rate, 2, band, None, name, (), STREAMS[kind])
