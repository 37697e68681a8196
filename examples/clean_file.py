"""Clean a recording: python examples/clean_file.py NOISY CLEAN [STRENGTH_DB].

`rtsep denoise NOISY -o CLEAN` does more: constant memory, tags, MP3, videos. This is what is at its heart.
"""

from __future__ import annotations

import sys
from pathlib import Path

import soundfile

import rtsep


def main(noisy: Path, clean: Path, strength: float | None = None) -> None:
    """The same rate, channels, length and sample format; aligned to the sample."""
    sound, rate = soundfile.read(noisy, dtype="float32")  # [samples] or [samples, channels]
    result = rtsep.enhance(sound, sample_rate=rate, model="denoise", strength=strength)
    soundfile.write(clean, result, rate, subtype=soundfile.info(noisy).subtype)
    print(f"{len(result) / rate:.1f} s written to {clean}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else None)
    except rtsep.RtsepError as error:
        sys.exit(str(error))
