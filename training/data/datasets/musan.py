"""MUSAN (Snyder, Chen & Povey 2015, arXiv 1510.08484): speech, noise and music, 16 kHz.

    musan/speech/librivox/*.wav   musan/noise/free-sound/*.wav   musan/music/fma/*.wav   musan/music/fma/ANNOTATIONS

It has no split: the last 5 % of the names of a kind are `valid`. Music counts only where ANNOTATIONS says that nobody
sings: its third column is N.
"""

from __future__ import annotations

from pathlib import Path

from training.data.datasets.layout import filled, find
from training.data.manifest import Row, audio_files, split_by_name

DOWNLOAD = "download musan.tar.gz (https://www.openslr.org/17) and unpack it there."
LICENCE = "CC BY 4.0 and public domain, see LICENSE in its folders"


def rows(root: Path) -> list[Row]:
    """Speech, noise and instrumental music. Raises FileNotFoundError if a folder or its files are missing."""
    found = []
    for name, kind in (("speech", "speech"), ("noise", "noise"), ("music", "instrumental")):
        folder = find(root, [name, f"musan/{name}"], DOWNLOAD)
        files = filled(audio_files(folder), folder, DOWNLOAD)
        if name == "music":
            silent = without_vocals(folder)
            files = [path for path in files if path.stem in silent]
        found += split_by_name(files, kind, "MUSAN", LICENCE)
    return found


def without_vocals(folder: Path) -> set[str]:
    """Names of the pieces that no ANNOTATIONS file below `folder` says to have vocals."""
    lines = [line.split() for file in folder.rglob("ANNOTATIONS") for line in file.read_text("utf-8").splitlines()]
    return {words[0] for words in lines if len(words) > 2 and words[2] == "N"}
