"""WHAM! noise (Wichern et al. 2019, arXiv 1907.01160): cafés, bars and parks, 16 kHz, two channels.

wham_noise/tr/*.wav   wham_noise/cv/*.wav   wham_noise/tt/*.wav
"""

from __future__ import annotations

from pathlib import Path

from training.data.datasets.layout import filled, find
from training.data.manifest import Row, audio_files, recording

DOWNLOAD = "download wham_noise.zip (http://wham.whisper.ai), unpack it and give the folder that holds tr, cv and tt."
LICENCE = "CC BY-NC 4.0"
SPLITS = {"tr": "train", "cv": "valid", "tt": "test"}


def rows(root: Path) -> list[Row]:
    """Noise; tr, cv and tt are train, valid and test. Raises FileNotFoundError if tr, cv or their files are missing."""
    found = []
    for name, split in SPLITS.items():
        if split == "test" and not any((root / place).is_dir() for place in (name, f"wham_noise/{name}")):
            continue
        folder = find(root, [name, f"wham_noise/{name}"], DOWNLOAD)
        files = filled(audio_files(folder), folder, DOWNLOAD)
        found += [recording(path, "noise", split, "WHAM!", LICENCE) for path in files]
    return found
