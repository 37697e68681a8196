"""MedleyDB, versions 1 and 2 (Bittner et al., ISMIR 2014): multitracks in stereo, 44.1 kHz, with a YAML for each.

    Audio/LizNelson_Rainfall/LizNelson_Rainfall_MIX.wav
    Audio/LizNelson_Rainfall/LizNelson_Rainfall_STEMS/LizNelson_Rainfall_STEM_01.wav
    Audio/LizNelson_Rainfall/LizNelson_Rainfall_METADATA.yaml       (or Metadata/LizNelson_Rainfall_METADATA.yaml)

Stems whose instrument is a voice make the vocals. Songs whose stems bleed into each other count only if nobody sings in
them. It has no split: the last 5 % of the artists are `valid`. `mirdata` knows the mixes and melodies of MedleyDB, but
not its stems, so the YAML files are read here.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from training.data.datasets.layout import filled, find, last_names, song_rows
from training.data.manifest import Row

DOWNLOAD = (
    "ask for it at https://medleydb.weebly.com (https://zenodo.org/records/1649325 and 1715175), unpack it and give "
    "the folder that holds Audio."
)
LICENCE = "CC BY-NC-SA 4.0"
VOICES = ("singer", "vocalist", "speaker", "rapper", "choir", "voice", "screamer", "beatbox")


def rows(root: Path) -> list[Row]:
    """Accompaniment and vocals of every song; accompaniment alone of instrumental ones.

    Raises FileNotFoundError if the folder, a YAML or a stem is missing.
    """
    folder = find(root, ["Audio", "MedleyDB/Audio", "MedleyDB_V2/Audio", "V1", "V2"], DOWNLOAD)
    songs = [path for path in sorted(folder.iterdir()) if (path / f"{path.name}_MIX.wav").is_file()]
    filled(songs, folder, DOWNLOAD)
    valid = last_names(path.name.partition("_")[0] for path in songs)
    found: list[Row] = []
    for path in songs:
        about = yaml.safe_load(_about(path, folder.parent).read_text(encoding="utf-8"))
        vocals: list[Path] = []
        backing: list[Path] = []
        for stem in about["stems"].values():
            file = path / f"{path.name}_STEMS" / stem["filename"]
            if not file.is_file():
                raise FileNotFoundError(f"{file} is missing, a stem of {path.name}: {DOWNLOAD}")
            (vocals if is_voice(stem["instrument"]) else backing).append(file)
        if vocals and str(about.get("has_bleed", "no")).lower() in ("yes", "true"):
            continue
        split = "valid" if path.name.partition("_")[0] in valid else "train"
        found += song_rows(path.name, split, "MedleyDB", LICENCE, vocals, backing)
    return found


def is_voice(instrument: str | list[str]) -> bool:
    """Whether the YAML's instrument, or one of several, is a human voice."""
    names = [instrument] if isinstance(instrument, str) else instrument
    return any(voice in str(name).lower() for name in names for voice in VOICES)


def _about(song: Path, root: Path) -> Path:
    name = f"{song.name}_METADATA.yaml"
    for place in (song / name, root / "Metadata" / name, root / "metadata" / name):
        if place.is_file():
            return place
    raise FileNotFoundError(f"{song} has no {name}: {DOWNLOAD}")
