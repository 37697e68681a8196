"""Judges: networks that say how speech sounds or what is understood of it, beside the measures of `speech_metrics`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.evaluation import distillmos, dnsmos, word_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

#: measure -> (column title, decimals), as speech_metrics.MEASURES; a row holds those of the judges that were asked
MEASURES = dnsmos.MEASURES | distillmos.MEASURES | word_errors.MEASURES
#: measure -> the key of a row by which its mean over rows is weighted
WEIGHTS = {measure: word_errors.WEIGHT for measure in word_errors.MEASURES}


@dataclass(frozen=True)
class Choice:
    """Which judges are asked. Plain values, so that worker processes can build their own."""

    dnsmos: Path | None = None  # its file
    distillmos: bool = False
    words: bool = False


def choose(dnsmos_file: Path | None = None, distill: bool = False, words: bool = False) -> Choice:
    """The judges that a program was told to ask; DNSMOS always, where its file is given or speechmos is installed."""
    return Choice(dnsmos_file or dnsmos.find(), distill, words)


class Panel:
    """The chosen judges, loaded. Raises InputError or RtsepError for one that cannot be had."""

    def __init__(self, choice: Choice) -> None:
        self._opinions: list[Callable[[ArrayLike, float], dict[str, float]]] = []
        self.about: dict[str, Any] = {}  # for reports
        if choice.dnsmos:
            opinion = dnsmos.DNSMOS(choice.dnsmos)
            self._opinions.append(opinion)
            self.about["dnsmos_sha256"] = opinion.sha256
        if choice.distillmos:
            self._opinions.append(distillmos.DistillMOS())
        self._words = word_errors.WordErrors() if choice.words else None

    def __call__(self, clean: ArrayLike, rate: float, estimate: ArrayLike, estimate_rate: float) -> dict[str, float]:
        """What the judges say of `estimate` `[samples]` at `estimate_rate` Hz, by measure (and what weighs it)."""
        values: dict[str, float] = {}
        for opinion in self._opinions:
            values |= opinion(estimate, estimate_rate)
        if self._words:
            values |= self._words(clean, rate, estimate, estimate_rate)
        return values


@cache
def panel(choice: Choice) -> Panel:
    """The loaded judges of a choice, once a process."""
    return Panel(choice)
