"""GateSettings: what a person chooses for a gate; see ``gate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rtsep.errors import InputError


@dataclass(frozen=True)
class GateSettings:
    """floor: dB that the output is turned down by. open: probability from 0 to 1. hold, lookback: seconds."""

    floor: float
    open: float = 0.5
    hold: float = 0.25
    lookback: float = 0.0

    def __post_init__(self) -> None:
        """Raises InputError for a value that makes no sense."""
        if not 0 <= self.floor < float("inf"):
            raise InputError(f"The gate's attenuation is {self.floor}; it must be a number of dB from 0 up.")
        if not 0 < self.open <= 1:
            raise InputError(f"The gate's threshold is {self.open}; it must be a probability above 0, up to 1.")
        if not 0 <= self.hold <= 10:
            raise InputError(f"The gate's hold is {self.hold} s; it must be from 0 to 10 s.")
        if not 0 <= self.lookback <= 0.2:
            raise InputError(f"The gate's look-back is {1000 * self.lookback:.0f} ms; it must be from 0 to 200 ms.")


def check_gate(spec: Any) -> None:
    """Raises InputError when the model cannot move a gate."""
    if not spec.activity:
        raise InputError(f"The model {spec.name} does not say when there is a voice; leave --gate out.")
