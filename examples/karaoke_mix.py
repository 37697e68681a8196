"""A song with its vocals turned down by 12 dB: python examples/karaoke_mix.py SONG OUT.wav."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile

import rtsep


def quieter_vocals(song: np.ndarray, sample_rate: int, vocals_db: float) -> np.ndarray:
    """The song, [samples, 2], as its accompaniment and the rest, which is the vocals, turned up or down by dB."""
    accompaniment = rtsep.enhance(song, sample_rate=sample_rate, model="karaoke")
    return accompaniment + np.float32(10 ** (vocals_db / 20)) * (song - accompaniment)


def main(song: Path, out: Path) -> None:
    """Written as float, because the parts of a loud song may go above full scale, where integers would clip."""
    sound, rate = soundfile.read(song, dtype="float32", always_2d=True)
    soundfile.write(out, quieter_vocals(sound, rate, -12.0), rate, subtype="FLOAT")
    print(f"wrote {out}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except rtsep.RtsepError as error:
        sys.exit(str(error))
