"""DNS Challenge, 2020 to 2023 (Reddy et al.; Dubey et al. 2024): speech and noise, 48 kHz (fullband) or 16 kHz.

    datasets_fullband/clean_fullband/read_speech/*.wav   datasets_fullband/noise_fullband/*.wav   (challenges 4 and 5)
    datasets/clean/**/*.wav                              datasets/noise/*.wav                     (challenges 1 to 3)

It has no split: the last 5 % of the names are `valid`. Its VCTK part holds the test voices of VoiceBank+DEMAND, p232
and p257: they are `test`.
"""

from __future__ import annotations

from pathlib import Path

from training.data.datasets.layout import filled, find
from training.data.manifest import Row, audio_files, recording, split_by_name

DOWNLOAD = (
    "fetch the clean and noise archives with download-dns-challenge-4.sh (or 5, or 3) of "
    "https://github.com/microsoft/DNS-Challenge, unpack them and give the folder that holds datasets_fullband."
)
LICENCE = "mixed, see LICENSE of the DNS Challenge"
FOLDERS = {"speech": ["clean_fullband", "clean"], "noise": ["noise_fullband", "noise"]}
TEST_VOICES = ("p232", "p257")


def rows(root: Path) -> list[Row]:
    """Speech and noise. Raises FileNotFoundError if either folder or its files are missing."""
    found = []
    for kind, names in FOLDERS.items():
        places = [f"{home}/{name}" for name in names for home in ("datasets_fullband", "datasets", ".")]
        folder = find(root, places, DOWNLOAD)
        files = filled(audio_files(folder), folder, DOWNLOAD)
        reserved = [path for path in files if kind == "speech" and path.name.startswith(TEST_VOICES)]
        others = sorted(set(files) - set(reserved))
        found += split_by_name(others, kind, "DNS Challenge", LICENCE)
        found += [recording(path, kind, "test", "DNS Challenge", LICENCE) for path in reserved]
    return found
