"""A folder of stems whose samples are known: a constant each, twice as loud on the left."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.manifest import new_folder
from training.data.sound_files import write_sound

RATE = 48000
LEVELS = {
    "one": {"drums": 0.05, "bass": 0.1, "keys": 0.15},
    "two": {"drums": 0.06, "guitar": 0.12, "strings": 0.08, "winds": 0.1},
    "three": {"drums": 0.1, "bass": 0.2, "winds": 0.05},
}


def instrument_folder(root: Path, noise: float = 0.0) -> Path:
    """The manifest of `root`/songs: songs of 4 s, the last one to validate on; `noise` is added to every stem."""
    rng = np.random.default_rng(0)
    with new_folder(root / "songs") as (folder, add):
        for song, levels in LEVELS.items():
            split = "valid" if song == "three" else "train"
            for name, level in levels.items():
                sound = np.full((4 * RATE, 1), level) + noise * rng.standard_normal((4 * RATE, 1))
                write_sound(folder / f"{song}-{name}.flac", sound * [1.0, 0.5], RATE)
                add([f"{song}-{name}.flac", "stem", split, "", "made", 4.0, RATE, 2, "", "free", "here", ""])
    return root / "songs" / "manifest.csv"
