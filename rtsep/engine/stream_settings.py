"""What a stream can be set to: checked, and as it computes with it."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import InputError
from rtsep.model_spec import MAX_CHANNELS, MAX_RATE, MIN_RATE, ModelSpec

#: For a recogniser, which mistakes more words when all noise goes (`benchmarks.word_errors`: 6 to 12 dB are alike).
ASR_STRENGTH_DB = 9.0


def whole(value: object) -> bool:
    """Whether it is a whole number, of any type."""
    return isinstance(value, Real) and not isinstance(value, bool) and float(value).is_integer()


def check_rate(sample_rate: float) -> int:
    """``sample_rate`` (Hz) as an int; InputError unless it is a whole number from 8000 to 192000."""
    if not whole(sample_rate) or not MIN_RATE <= sample_rate <= MAX_RATE:
        raise InputError(
            f"sample_rate is {sample_rate}; it must be a whole number of Hz from {MIN_RATE} to {MAX_RATE}."
        )
    return int(sample_rate)


def check_channels(channels: int, spec: ModelSpec) -> int:
    """``channels``, or InputError when ``spec``'s model cannot run on so many."""
    if not whole(channels) or not 1 <= channels <= MAX_CHANNELS:
        raise InputError(f"channels is {channels}; it must be from 1 to {MAX_CHANNELS}.")
    if spec.channels > 1 and channels not in (1, spec.channels):
        raise InputError(
            f"{spec.name} is a model for {spec.channels} channels and takes 1 or {spec.channels}, not {channels}."
        )
    return int(channels)


def gain_of(strength: float | None) -> float:
    """The dry gain g = 10^(-strength/20) of an attenuation limit in dB; None is no limit, g = 0."""
    if strength is None:
        return 0.0
    if isinstance(strength, bool) or not isinstance(strength, Real) or not 0 <= strength < math.inf:
        raise InputError(f"strength is {strength!r}; it must be None (no limit) or a number of dB from 0 up.")
    return 10.0 ** (-float(strength) / 20.0)


def condition_of(value: NDArray[Any] | str | None, spec: ModelSpec) -> NDArray[np.float32]:
    """What a condition is handed over as: [condition] float32, zeros for None; InputError for what fits no model."""
    if value is None:
        return np.zeros(spec.condition, np.float32)
    if not spec.condition:
        raise InputError(f"{spec.name} takes no condition.")
    if isinstance(value, str):
        found = [index for index, name in enumerate(spec.classes) if value in (name, name.split("_")[0])]
        if len(found) != 1:
            known = f"its classes are {', '.join(spec.classes)}" if spec.classes else "it has no classes"
            raise InputError(f"{spec.name} has no class {value!r}; {known}.")
        return np.eye(spec.condition, dtype=np.float32)[found[0]]
    array = np.asarray(value, np.float32)
    if spec.side_width and array.ndim == 2 and array.shape[1] == spec.side_width and array.size <= spec.condition:
        array = np.pad(array.ravel(), (0, spec.condition - array.size))  # frames that are still to come are zeros
    if array.size != spec.condition or not np.isfinite(array).all():
        raise InputError(f"A condition of {spec.name} is {spec.condition} finite numbers, not {list(array.shape)}.")
    return array.reshape(-1).copy()
