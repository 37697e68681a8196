"""A blind test of whether somebody hears a difference: A/B/X, its trials and what chance would make of the answers.

In each trial A and B are two versions of a recording, and X is one of the two again; which, only the server knows. How
many trials there are is said before the first, and nothing is told before the last: whoever stops when it looks good
finds differences where there are none (see D. Clark, "High-resolution subjective testing using a double-blind
comparator", JAES 30(5), 1982).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rtsep.errors import InputError

FEWEST, MOST = 5, 60  # trials; with fewer than 5 no answers at all reach p = 0.05
MOST_VERSIONS = 3
SOUNDS = ("a", "b", "x")


def binomial_p(correct: int, trials: int) -> float:
    """Probability of at least ``correct`` right answers of ``trials`` by guessing, each right half the time."""
    return sum(math.comb(trials, k) for k in range(correct, trials + 1)) / 2**trials


@dataclass
class Trial:
    """Two versions, which of them is X, and whether the answer was right."""

    a: int
    b: int
    x: int
    right: bool | None = None


class BlindTest:
    """The trials of one test. versions: their numbers. gains: linear, by which all are equally loud."""

    def __init__(
        self, versions: Sequence[int], trials: int, gains: Mapping[int, float], chance: random.Random | None = None
    ) -> None:
        """Raises InputError for a number of versions or trials that cannot be."""
        if not 2 <= len(set(versions)) == len(versions) <= MOST_VERSIONS:
            raise InputError(f"A blind test compares two or {MOST_VERSIONS} versions; choose as many.")
        if not FEWEST <= trials <= MOST:
            raise InputError(f"A blind test has {FEWEST} to {MOST} trials, not {trials}.")
        chance = chance or random.SystemRandom()
        pairs = list(itertools.combinations(versions, 2))
        asked = [pairs[k % len(pairs)] for k in range(trials)]  # each pair as often, as far as it can be
        chance.shuffle(asked)
        self.versions, self.gains = tuple(versions), dict(gains)
        self._trials = []
        for pair in asked:
            a, b = chance.sample(pair, 2)
            self._trials.append(Trial(a, b, chance.choice(pair)))

    @property
    def at(self) -> int:
        """Number of the trial that is asked, from 0 on; as many as there are when it is over."""
        return sum(trial.right is not None for trial in self._trials)

    @property
    def over(self) -> bool:
        return self.at == len(self._trials)

    def version(self, trial: int, sound: str) -> int:
        """What "a", "b" or "x" is in a trial. Raises InputError for one that is still to come."""
        if not 0 <= trial <= min(self.at, len(self._trials) - 1) or sound not in SOUNDS:
            raise InputError("There is no such trial yet.")
        found: int = getattr(self._trials[trial], sound)
        return found

    def answer(self, trial: int, sound: str) -> None:
        """X was said to be "a" or "b". Raises InputError for a trial that is not the one that is asked."""
        if trial != self.at or self.over:
            raise InputError("This trial was answered.")
        if sound not in ("a", "b"):
            raise InputError("X is either A or B.")
        self._trials[trial].right = self.version(trial, sound) == self.version(trial, "x")

    def state(self) -> dict[str, Any]:
        """What pages may know: nothing of the answers before the last."""
        return {
            "versions": list(self.versions),
            "trials": len(self._trials),
            "at": self.at,
            "over": self.over,
            "results": self.results() if self.over else [],
        }

    def results(self) -> list[dict[str, Any]]:
        """Right answers, trials and p, of all versions together and, of three, of every pair."""
        pairs = list(itertools.combinations(self.versions, 2))
        groups = [self.versions, *(pairs if len(pairs) > 1 else [])]
        found = []
        for group in groups:
            rights = [trial.right for trial in self._trials if {trial.a, trial.b} <= set(group)]
            correct = sum(map(bool, rights))
            found.append({"versions": list(group), "correct": correct, "trials": len(rights)})
            found[-1]["p"] = binomial_p(correct, len(rights))
        return found
