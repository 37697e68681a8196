"""Sounds written to files, and read from them piece by piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

OGG_SIZE = 0.3  # 0 is the largest file, 1 the smallest; about 150 kbit/s in stereo, with the treble to 19 kHz
MARGIN = 256  # samples around a piece that resampling needs


def write_sound(file: Path, sound: np.ndarray, rate: int) -> None:
    """`[samples]` or `[samples, channels]` at `rate` Hz, as FLAC, or as Ogg Vorbis if the name ends in .ogg.

    Raises ValueError with one sentence for another suffix.
    """
    if file.suffix not in (".flac", ".ogg"):
        raise ValueError(f"{file.name} is to be .flac or .ogg.")
    form: dict[str, Any] = {"compression_level": OGG_SIZE} if file.suffix == ".ogg" else {}
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    with soundfile.SoundFile(file, "w", rate, channels, **form) as handle:
        for begin in range(0, len(sound), rate):  # a long piece at once is more than the Vorbis encoder can take
            handle.write(np.clip(sound[begin : begin + rate], -1, 1))


class SoundOnDisk:
    """A sound file as an array of `rate` Hz that is read where it is sliced: `sound[:, start:stop]`.

    A slice is int16 `[2, samples]`, as of a song that was decoded ahead; one channel is doubled, of more the first two
    count. The file is opened anew for every slice, so that processes may share the object. Raises ValueError with one
    sentence for a file that cannot be read.
    """

    def __init__(self, file: Path, rate: int):
        self.file, self.rate = Path(file), rate
        try:
            info = soundfile.info(file)
        except (soundfile.LibsndfileError, OSError):
            raise ValueError(f"{file} is damaged or no sound file: unpack it again.") from None
        self.own_rate = int(info.samplerate)
        self.shape = (2, info.frames * rate // self.own_rate)

    def __getitem__(self, which: tuple[slice, slice]) -> np.ndarray:
        begin, end, _ = which[1].indices(self.shape[1])
        sound = self._read(begin, max(begin, end))
        stereo = np.broadcast_to(sound.T[:2], (2, len(sound)))
        return np.clip(np.rint(stereo * 32767), -32768, 32767).astype(np.int16)[which[0]]

    def _read(self, begin: int, end: int) -> np.ndarray:
        """Samples `begin` to `end` at `rate`, float32 `[samples, channels]`."""
        if self.own_rate == self.rate:
            return soundfile.read(self.file, end - begin, begin, dtype="float32", always_2d=True)[0]
        # Whole seconds lie at whole samples of both rates: the piece is cut out of those around it.
        first = max(begin - MARGIN, 0) // self.rate
        last = -(-(end + MARGIN) // self.rate)
        around = (first * self.own_rate, last * self.own_rate)
        sound = soundfile.read(self.file, around[1] - around[0], around[0], dtype="float32", always_2d=True)[0]
        sound = soxr.resample(sound, self.own_rate, self.rate)[begin - first * self.rate :][: end - begin]
        return np.pad(sound, ((0, end - begin - len(sound)), (0, 0)))
