"""LibriMix (Cosentino et al. 2020, arXiv 2005.11262): LibriSpeech voices and WHAM! noise, as its scripts lay them out.

    Libri2Mix/wav16k/max/train-360/s1/*.wav   …/s2/*.wav   …/noise/*.wav   (also train-100, dev, test; wav8k; min)

Sources only: mixtures are made anew.
"""

from __future__ import annotations

from pathlib import Path

from training.data.datasets.layout import filled, find
from training.data.manifest import Row, audio_files, recording

DOWNLOAD = (
    "make it with the scripts of LibriMix (https://github.com/JorisCos/LibriMix) and give the folder that holds wav16k."
)
LICENCES = {"speech": "CC BY 4.0", "noise": "CC BY-NC 4.0"}
FORMS = [f"{rate}/{mode}" for rate in ("wav16k", "wav8k") for mode in ("max", "min")]


def rows(root: Path) -> list[Row]:
    """Speech of s1, s2 (and s3) and noise; dev is `valid`, test is `test`. The best form there is: 16 kHz before 8, max
    before min.

    Raises FileNotFoundError if there is no train set, or it has no speech or no noise.
    """
    names = ["", "Libri2Mix", "Libri3Mix", "MiniLibriMix"]
    folder = find(root, [str(Path(name) / form) for form in FORMS for name in names], DOWNLOAD)
    found = []
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        split = {"dev": "valid", "val": "valid", "test": "test"}.get(part.name, "train")
        for source in ("s1", "s2", "s3", "noise"):
            kind = "noise" if source == "noise" else "speech"
            files = audio_files(part / source)
            found += [recording(path, kind, split, f"LibriMix {part.name}", LICENCES[kind]) for path in files]
    for kind in LICENCES:
        filled([row.path for row in found if row.kind == kind and row.split == "train"], folder, DOWNLOAD)
    return found
