"""iKala (Chan et al., ICASSP 2015): 252 excerpts of 30 s, 44.1 kHz, accompaniment left and voice right.

    iKala/Wavfile/10161_chorus.wav   iKala/Wavfile/10161_verse.wav

It has no split: the last 5 % of the songs (both their excerpts) are `valid`. The layout is the one that `mirdata`
documents; its loader is not needed for two channels of a file, and wants an index from the network first.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from training.data.datasets.layout import filled, find, last_names
from training.data.manifest import Row, audio_files, recording

DOWNLOAD = "unpack your own download there; it is no longer distributed (http://mac.citi.sinica.edu.tw/ikala)."
LICENCE = "research only"
CHANNELS = {"accompaniment": (0,), "vocals": (1,)}


def rows(root: Path) -> list[Row]:
    """Accompaniment and vocals of every excerpt. Raises FileNotFoundError if the folder or its files are missing, and
    ValueError if a file has not two channels."""
    folder = find(root, ["Wavfile", "iKala/Wavfile"], DOWNLOAD)
    files = filled(audio_files(folder), folder, DOWNLOAD)
    valid = last_names(path.stem.partition("_")[0] for path in files)
    found: list[Row] = []
    for path in files:
        split = "valid" if path.stem.partition("_")[0] in valid else "train"
        for kind, channel in CHANNELS.items():
            row = recording(path, kind, split, "iKala", LICENCE)
            if row.channels != 2:
                raise ValueError(
                    f"{path} has {row.channels} channel(s): in iKala music is left and the voice is right."
                )
            found.append(replace(row, song=path.stem, take=channel))
    return found
