"""Slakh2100 (Manilow et al., WASPAA 2019): music synthesised from MIDI, 44.1 kHz, mono. Nobody sings in it.

    slakh2100_flac_redux/train/Track00001/mix.flac   …/Track00001/metadata.yaml   …/validation/…   …/test/…

Instrumentals: songs free of vocals. Those with a synthetic choir or voice (by the MIDI programs of metadata.yaml) are
left out. `omitted` repeats songs of other splits and is left out too.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from training.data.datasets.layout import filled, find
from training.data.manifest import Row, recording

DOWNLOAD = (
    "download slakh2100_flac_redux.tar.gz (https://zenodo.org/records/4599666), unpack it and give the folder that "
    "holds train, validation and test."
)
LICENCE = "CC BY 4.0"
SPLITS = {"train": "train", "validation": "valid", "test": "test"}
VOICES = (52, 53, 54, 85, 91)  # General MIDI, from 0: choir aahs, voice oohs, synth voice, lead voice, choir pad


def rows(root: Path) -> list[Row]:
    """One instrumental a track. Raises FileNotFoundError if there is no train folder or no mix in it."""
    home = find(root, ["train", "slakh2100_flac_redux/train", "slakh2100_flac/train"], DOWNLOAD).parent
    found: list[Row] = []
    for name, split in SPLITS.items():
        mixes = sorted(path for path in (home / name).glob("*/mix.*") if path.suffix in (".flac", ".wav"))
        if split == "train":
            filled(mixes, home / name, DOWNLOAD)
        found += [
            recording(path, "instrumental", split, "Slakh2100", LICENCE)
            for path in mixes
            if split == "test" or not has_voice(path.with_name("metadata.yaml"))
        ]
    return found


def has_voice(file: Path) -> bool:
    """Whether a track's metadata.yaml names a MIDI program that imitates voices; False where there is no such file."""
    if not file.is_file():
        return False
    stems = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("stems") or {}
    return any(stem.get("program_num") in VOICES and not stem.get("is_drum") for stem in stems.values())
