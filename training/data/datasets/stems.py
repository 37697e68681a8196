"""Plain folders of stems, one folder a song; any rate, WAV, FLAC, OGG, Opus or MP3.

    SONG/vocals.wav   SONG/accompaniment.wav        (or instrumental, no_vocals, backing, minus_one)
    SONG/vocals.wav   SONG/drums.wav  SONG/bass.wav …     (everything but vocals and the mixture is accompaniment)
    SONG/vocals.wav   SONG/mixture.wav                    (the accompaniment is the difference)
    SONG/accompaniment.wav                                (nobody sings)

Folders named train, valid (or validation, dev) and test above the songs are splits; otherwise the last 5 % of the names
are `valid`.
"""

from __future__ import annotations

from pathlib import Path

from training.data.datasets.layout import filled, last_names, song_rows
from training.data.manifest import Row, audio_files

DOWNLOAD = "give a folder with one folder a song, each with vocals.wav and accompaniment.wav (or its own stems)."
LICENCE = "?"
VOCALS = ("vocals", "vocal", "voice", "acapella", "lead_vocals", "backing_vocals")
WHOLE = ("accompaniment", "instrumental", "no_vocals", "backing", "minus_one")
MIXTURE = ("mixture", "mix")
SPLITS = {"train": "train", "valid": "valid", "validation": "valid", "dev": "valid", "test": "test"}


def rows(root: Path) -> list[Row]:
    """Accompaniment and vocals of every song. Raises FileNotFoundError if there is no song, or none with vocals."""
    files = filled(audio_files(root), root, DOWNLOAD)
    songs: dict[Path, dict[str, Path]] = {}
    for path in files:
        songs.setdefault(path.parent, {})[path.stem.lower()] = path
    filled([path for parts in songs.values() for name, path in parts.items() if name in VOCALS], root, DOWNLOAD)
    given = {folder: next((SPLITS[name] for name in _above(folder, root) if name in SPLITS), "") for folder in songs}
    valid = set() if any(given.values()) else last_names(str(folder) for folder in songs)
    found: list[Row] = []
    for folder, parts in songs.items():
        split = given[folder] or ("valid" if str(folder) in valid else "train")
        vocals = [path for name, path in parts.items() if name in VOCALS]
        whole = [path for name, path in parts.items() if name in WHOLE]
        rest = [path for name, path in parts.items() if name not in (*VOCALS, *WHOLE, *MIXTURE)]
        mixture = next((parts[name] for name in MIXTURE if name in parts), None)
        if mixture and len(vocals) > 1 and not (whole or rest):
            raise ValueError(f"{folder} has two voices and a mixture: give its accompaniment too.")
        name = folder.relative_to(root).as_posix()
        found += song_rows(name, split, root.resolve().name, LICENCE, vocals, whole[:1] or rest, mixture)
    return found


def _above(folder: Path, root: Path) -> list[str]:
    return [part.lower() for part in folder.relative_to(root).parts[:-1]]
