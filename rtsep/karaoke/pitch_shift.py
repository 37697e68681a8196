"""Pitch shift for singers: the key of a song up or down by semitones, its length and timing kept.

The shifting is Rubber Band's (https://breakfastquay.com/rubberband, the finer engine with its short window) through
pylibrb, which is optional because of its licence, the GPL.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import InputError

MOST = 6  # semitones up or down: further away nobody's voice is natural any more
_PIECE = 1024  # samples that go in at once: always as many, for the output depends on it


def check_key(key: float) -> int:
    """``key`` in semitones as an int; InputError unless whole and from -6 to 6, or when pylibrb is missing."""
    if isinstance(key, bool) or not float(key).is_integer() or not -MOST <= key <= MOST:
        raise InputError(f"--key is {key}; it must be a whole number of semitones from -{MOST} to {MOST}.")
    if key:
        _library()
    return int(key)


def _library() -> Any:
    try:
        import pylibrb
    except ImportError:
        raise InputError("Another key (--key) needs Rubber Band; install it with: pip install pylibrb.") from None
    return pylibrb


class Shifter:
    """A sound in pieces, shifted in pitch and aligned with what went in; exactly as long when flushed.

    delay: samples that are held back, at most.
    """

    def __init__(self, sample_rate: int, channels: int, key: int) -> None:
        """sample_rate: Hz. key: semitones. Raises InputError without pylibrb."""
        library = _library()
        option = library.Option
        # Together: left and right keep their phase, so the image stays where it was.
        options = option.PROCESS_REALTIME | option.ENGINE_FINER | option.WINDOW_SHORT | option.CHANNELS_TOGETHER
        self._band = library.RubberBandStretcher(
            sample_rate=sample_rate,
            channels=channels,
            options=options | option.THREADING_NEVER,
            initial_time_ratio=1.0,
            initial_pitch_scale=2.0 ** (key / 12),
        )
        self._channels = channels
        self._start()

    def _start(self) -> None:
        pad = self._band.get_preferred_start_pad()
        self._skip = self._band.get_start_delay()
        self.delay = pad + self._skip + _PIECE
        self._owed = 0
        self._waiting = np.zeros((pad, self._channels), np.float32)

    def _feed(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        self._waiting = np.concatenate([self._waiting, block])
        whole = len(self._waiting) // _PIECE * _PIECE
        ready = [np.zeros((0, self._channels), np.float32)]
        for at in range(0, whole, _PIECE):
            self._band.process(np.ascontiguousarray(self._waiting[at : at + _PIECE].T), final=False)
            while count := self._band.available():
                ready.append(self._band.retrieve(count).T)
        self._waiting = self._waiting[whole:]
        made = np.concatenate(ready)
        skipped = min(self._skip, len(made))
        self._skip -= skipped
        return made[skipped:]

    def process(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """[samples, channels] float32 of any length to what is ready by now; may be empty."""
        self._owed += len(block)
        made = self._feed(block)[: self._owed]
        self._owed -= len(made)
        return made

    def flush(self) -> NDArray[np.float32]:
        """The samples still owed; then the shifter is as new."""
        silence = np.zeros((_PIECE, self._channels), np.float32)
        pieces = [np.zeros((0, self._channels), np.float32)]
        while self._owed > 0:
            made = self._feed(silence)[: self._owed]
            self._owed -= len(made)
            pieces.append(made)
        self.reset()
        return np.concatenate(pieces)

    def reset(self) -> None:
        """Forget all sound."""
        self._band.reset()
        self._start()
