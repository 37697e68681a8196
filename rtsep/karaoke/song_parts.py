"""A song as two parts that sum to it: the accompaniment as the model hears it, and the rest, which is the vocals.

`Separator` gives the parts, aligned with the song, and `Karaoke` mixes them as a person wants; both take the song in
pieces and in constant memory, as `rtsep.engine.enhance.Enhancer` does. What is played and what is rendered come from
the same lines, so they are the same bits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.enhance import new_enhancer
from rtsep.engine.spectral_spec import SpectralSpec
from rtsep.errors import InputError
from rtsep.karaoke.pitch_shift import Shifter, check_key
from rtsep.model import Model, ModelFile, installed, look_at, shipped

TARGET = "accompaniment"
DEFAULT, FALLBACK = "karaoke", "mid-side"
FOR_FILES = "spleeter"  # once it was added
GUIDE_DB = -12.0  # vocals to sing along with
Floats = NDArray[np.float32]


def default_model(live: bool = False) -> str:
    """Name of the model that `rtsep karaoke` uses when none is named.

    For songs in files Spleeter, if it was added; for live sound, and else, the trained one, if this version ships it.
    """
    if not live and FOR_FILES in installed():
        return FOR_FILES
    return DEFAULT if DEFAULT in shipped() else FALLBACK


def karaoke_model(name: str, live: bool = False) -> ModelFile:
    """The model of that name; InputError for one that puts out no accompaniment, or is none for ``live`` sound."""
    model = look_at(name)
    if model.spec.target != TARGET:
        raise InputError(
            f"The model {model.spec.name} puts out {model.spec.target}; karaoke needs one that puts out {TARGET}."
        )
    if live and not model.streams:
        raise InputError(
            f"{model.spec.name} sees whole stretches of a song and separates files; leave --model out for live sound."
        )
    return model


def good_for(model: ModelFile) -> str:
    """One sentence on which model is at work and what it is good for."""
    spec = model.spec
    if isinstance(spec, SpectralSpec):
        seen = spec.segment / spec.sample_rate
        return (
            f"{spec.name} is at work: for songs in files, it sees {seen:.0f} s at once; "
            f"--model {DEFAULT} is the one for live sound."
        )
    late = f"{1000 * spec.algorithmic_latency / spec.sample_rate:.0f} ms"
    if spec.name == DEFAULT:
        return (
            f"{spec.name} is at work: for live sound, {late} of latency, and it turns voices down rather than off; "
            f"`rtsep models add {FOR_FILES}` brings a better one for songs in files."
        )
    return f"{spec.name} is at work: {late} of latency."


def vocals_gain(decibels: float | None) -> float:
    """Linear gain of the vocals at ``decibels`` (dB, None is off); InputError above 0 dB or for what is no number."""
    if decibels is None:
        return 0.0
    if not -math.inf < decibels <= 0:
        raise InputError(f"vocals is {decibels}; it must be None (off) or a number of dB from 0 down.")
    return 10.0 ** (decibels / 20.0)


class Parts(NamedTuple):
    """The same stretch of time three times, float32 [samples, channels]."""

    song: Floats
    accompaniment: Floats
    vocals: Floats


def split(song: Floats, accompaniment: Floats) -> Parts:
    """The parts of a song whose accompaniment is known."""
    return Parts(song, accompaniment, song - accompaniment)


class KeyShift:
    """Parts in pieces to the parts in another key, aligned; the song is not shifted. Key 0 gives back what comes in."""

    def __init__(self, sample_rate: int, channels: int, key: int) -> None:
        """sample_rate: Hz. key: semitones, -6 to 6. Raises InputError for other keys."""
        self._shifters = [Shifter(sample_rate, channels, check_key(key)) for _ in range(2)] if key else []
        self._channels = channels
        self._clear()

    def _clear(self) -> None:
        self._song = np.zeros((0, self._channels), np.float32)  # whose parts are not yet shifted

    def process(self, parts: Parts) -> Parts:
        """What is ready by now; may be empty."""
        if not self._shifters:
            return parts
        shifted = [s.process(part) for s, part in zip(self._shifters, parts[1:], strict=True)]
        self._song = np.concatenate([self._song, parts.song])
        song, self._song = self._song[: len(shifted[0])], self._song[len(shifted[0]) :]
        return Parts(song, *shifted)

    def flush(self, parts: Parts) -> Parts:
        """The last ``parts``, and what is still owed; then it is as new."""
        parts = self.process(parts)
        if self._shifters:
            tails = [shifter.flush() for shifter in self._shifters]
            whole = (np.concatenate(pair) for pair in zip(parts[1:], tails, strict=True))
            parts = Parts(np.concatenate([parts.song, self._song]), *whole)
        self._clear()
        return parts

    def reset(self) -> None:
        """Forget all sound."""
        for shifter in self._shifters:
            shifter.reset()
        self._clear()


class Separator:
    """A song in pieces to its parts. With a ``key`` the two parts are shifted, and the song is not."""

    def __init__(self, model: Model, sample_rate: int, channels: int = 2, key: int = 0) -> None:
        """sample_rate: Hz, 8000 to 192000. channels: 1 or 2. key: semitones, -6 to 6.

        Raises InputError for values outside these, and for a spatial baseline on one channel.
        """
        self._enhancer = new_enhancer(model, sample_rate, channels)
        self._shift = KeyShift(sample_rate, channels, key)
        self._dry = self._nothing = np.zeros((0, channels), np.float32)  # not yet separated

    def process(self, block: Floats) -> Parts:
        """The next piece, [samples, channels] of any length, to the parts of what is ready by now; may be empty."""
        self._dry = np.concatenate([self._dry, block])
        return self._shift.process(self._split(self._enhancer.process(block)))

    def flush(self) -> Parts:
        """The parts of the samples still owed; then the separator is as new."""
        parts = self._shift.flush(self._split(self._enhancer.flush()))
        self._dry = self._nothing
        return parts

    def reset(self) -> None:
        """Forget all sound."""
        self._enhancer.reset()
        self._shift.reset()
        self._dry = self._nothing

    def _split(self, accompaniment: Floats) -> Parts:
        song, self._dry = self._dry[: len(accompaniment)], self._dry[len(accompaniment) :]
        return split(song, accompaniment)


class Karaoke:
    """A song in pieces to the song with less voice in it: aligned, as long, same rate and channels.

    vocals: what the voice is turned down by, dB <= 0; None is off. solo: only the vocals instead, at full level.
    """

    def __init__(
        self,
        model: Model,
        sample_rate: int,
        channels: int = 2,
        vocals: float | None = None,
        solo: bool = False,
        key: int = 0,
    ) -> None:
        """Raises InputError, see Separator and vocals_gain."""
        self._gains = (0.0, 1.0) if solo else (1.0, vocals_gain(vocals))
        self._as_it_is = self._gains == (1.0, 1.0) and not key
        self._separator = Separator(model, sample_rate, channels, key)

    def process(self, block: Floats) -> Floats:
        """The next piece, [samples, channels] of any length, to what is ready by now; may be empty."""
        return self._mixed(self._separator.process(block))

    def flush(self) -> Floats:
        """The samples still owed; then it is as new."""
        return self._mixed(self._separator.flush())

    def _mixed(self, parts: Parts) -> Floats:
        return parts.song if self._as_it_is else mixed(parts, *self._gains)


def mixed(parts: Parts, accompaniment: float, vocals: float) -> Floats:
    """The sum of the parts with these linear gains; float32 throughout, as in the player's callback."""
    return np.float32(accompaniment) * parts.accompaniment + np.float32(vocals) * parts.vocals
