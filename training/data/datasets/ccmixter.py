"""The ccMixter corpus (Liutkus, Fitzgerald & Rafii 2015): 50 songs in stereo, 44.1 kHz.

    ccmixter_corpus/ARTIST_-_TITLE/mix.wav   …/source-01.wav (all but the voice)   …/source-02.wav (voice)

It has no split: the last 5 % of the names are `valid`.
"""

from __future__ import annotations

from pathlib import Path

from training.data.datasets.layout import filled, last_names, song_rows
from training.data.manifest import Row

DOWNLOAD = (
    "download ccmixter_corpus.zip (https://members.loria.fr/ALiutkus/kam/), unpack it and give the folder of the songs."
)
LICENCE = "Creative Commons, per song"


def rows(root: Path) -> list[Row]:
    """Accompaniment and vocals of every song. Raises FileNotFoundError if there is none or one lacks a source."""
    voices = sorted(path for path in root.rglob("source-02.wav") if path.is_file())
    filled(voices, root, DOWNLOAD)
    valid = last_names(path.parent.name for path in voices)
    found: list[Row] = []
    for voice in voices:
        music, name = voice.with_name("source-01.wav"), voice.parent.name
        if not music.is_file():
            raise FileNotFoundError(f"{music} is missing, the accompaniment of {name}: {DOWNLOAD}")
        found += song_rows(name, "valid" if name in valid else "train", "ccMixter", LICENCE, [voice], [music])
    return found
