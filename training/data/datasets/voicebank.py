"""VoiceBank+DEMAND (Valentini-Botinhao 2017): 28 or 56 speakers, clean and noisy, 48 kHz.

    clean_trainset_28spk_wav/p226_001.wav   noisy_trainset_28spk_wav/p226_001.wav
    clean_testset_wav/p232_001.wav          noisy_testset_wav/p232_001.wav

The noise is the difference of noisy and clean. Speakers p226 and p287 are `valid`, as most papers have it; the test set
is of the test split.
"""

from __future__ import annotations

from pathlib import Path

from training.data.datasets.layout import filled, find
from training.data.manifest import Row, audio_files, recording

DOWNLOAD = (
    "download clean_trainset_28spk_wav.zip and noisy_trainset_28spk_wav.zip of VoiceBank+DEMAND "
    "(https://datashare.ed.ac.uk/handle/10283/2791) and unpack both there."
)
LICENCE = "CC BY 4.0"
VALID = ("p226", "p287")


def rows(root: Path) -> list[Row]:
    """Clean speech, and noise as noisy minus clean, of the train sets (28 or 56 speakers) and of the test set if there.

    Raises FileNotFoundError if a folder, or the clean partner of a noisy file, is missing.
    """
    first = find(root, ["clean_trainset_28spk_wav", "clean_trainset_56spk_wav"], DOWNLOAD)
    folders = [first, root / "clean_trainset_56spk_wav", root / "clean_testset_wav"]
    found = []
    for clean in dict.fromkeys(folder for folder in folders if folder.is_dir()):
        noisy = find(root, [clean.name.replace("clean", "noisy")], DOWNLOAD)
        for path in filled(audio_files(noisy), noisy, DOWNLOAD):
            partner = clean / path.name
            if not partner.exists():
                raise FileNotFoundError(f"{partner} is missing, the clean partner of {path.name}: {DOWNLOAD}")
            train = "valid" if path.name.startswith(VALID) else "train"
            split = "test" if "testset" in clean.name else train
            found.append(recording(partner, "speech", split, "VoiceBank", LICENCE))
            found.append(recording(path, "noise", split, "VoiceBank+DEMAND", LICENCE, minus=partner))
    return found
