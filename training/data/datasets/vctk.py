"""VCTK (Yamagishi et al. 2019), versions 0.92 and 0.80: 110 English speakers, 48 kHz.

    wav48_silence_trimmed/p225/p225_001_mic1.flac   (0.92; the second microphone is left out)
    wav48/p225/p225_001.wav                         (0.80)

VoiceBank+DEMAND is made of these voices, so its splits hold: p232 and p257 are `test`, p226 and p287 `valid`.
"""

from __future__ import annotations

from pathlib import Path

from training.data.datasets.layout import filled, find
from training.data.manifest import Row, audio_files, recording

DOWNLOAD = (
    "download VCTK-Corpus-0.92.zip (https://datashare.ed.ac.uk/handle/10283/3443), unpack it "
    "and give the folder that holds wav48_silence_trimmed."
)
LICENCE = "CC BY 4.0"
SPLITS = {"p232": "test", "p257": "test", "p226": "valid", "p287": "valid"}


def rows(root: Path) -> list[Row]:
    """Speech, one microphone each. Raises FileNotFoundError if the folder or its files are missing."""
    places = ["wav48_silence_trimmed", "wav48"]
    folder = find(root, [*places, *(f"VCTK-Corpus-0.92/{place}" for place in places)], DOWNLOAD)
    files = [path for path in audio_files(folder) if "_mic2" not in path.name]
    return [
        recording(path, "speech", SPLITS.get(path.name[:4], "train"), "VCTK", LICENCE)
        for path in filled(files, folder, DOWNLOAD)
    ]
