"""What a recipe is about: how its examples are mixed, which losses fit, how it is scored, what the card says.

A task is one file with one class, derived from `Task`, and one line in `training.tasks.TASKS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from training.data.manifest import Row
from training.data.speech_mixer import BaseMixer

if TYPE_CHECKING:
    from training.recipe import Recipe

MUSIC = ("instrumental", "accompaniment")  # kinds of rows without voices: fit to be noise
VALID_SEED = 987654321  # of valid examples, apart from any training run's


@dataclass(frozen=True)
class NoOptions:
    """Of a task without keys of its own."""


class Task(ABC):
    """The examples of one recipe. Attributes of the class say what its recipes may hold.

    `sources` are the references of every example, in this order; a network puts out some of them. `mix` is the
    dataclass of `data.mix`, `data_keys` are the other keys of `data`, `Options` a dataclass of those that no other task
    has (see `Recipe.options`), `unfit` the names of losses that mean nothing
    here, and `rows` the kinds of recordings that are used. `fixed` are the batches to validate on. Raises ValueError
    with one sentence if the rows do not do.

    `free_sources` are for tasks that know no sources: a network's may have any names. `conditioned` are the
    kinds of side information that it has.
    """

    sources: ClassVar[tuple[str, ...]]
    audio_channels: ClassVar[tuple[int, ...]]  # that a network may have
    rows: ClassVar[tuple[str, ...]]
    unfit: ClassVar[frozenset[str]] = frozenset()
    mix: ClassVar[type[Any]]
    data_keys: ClassVar[tuple[str, ...]]
    Options: ClassVar[type[Any]] = NoOptions
    free_sources: ClassVar[bool] = False
    conditioned: ClassVar[tuple[str, ...]] = ("",)  # by what its networks may be conditioned; an empty name: by nothing

    def __init__(self, recipe: Recipe, rows: list[Row], cache: Path | None, device: torch.device):
        self.recipe, self._rows, self._cache, self._device = recipe, rows, cache, device
        self.mixer: BaseMixer = self.build_mixer(recipe, rows, "train", cache, recipe.training.seed, device)
        self.fixed = self.valid()
        self.fixed_conditions = self.valid_conditions()

    @classmethod
    @abstractmethod
    def check_rows(cls, rows: list[Row]) -> None:
        """Raises ValueError with one sentence unless there is enough both to train on and to validate with."""

    @classmethod
    @abstractmethod
    def build_mixer(
        cls, recipe: Recipe, rows: list[Row], split: str, cache: Path | None, seed: int, device: torch.device
    ) -> BaseMixer:
        """What mixes examples of one split; raises ValueError with one sentence if that split lacks something."""

    @property
    def samples(self) -> int:
        """Of an example: as long as `data.mix` says, in whole hops."""
        network = self.recipe.network
        return round(self.recipe.mix.seconds * network.sample_rate / network.hop) * network.hop

    def examples(self, step: int, count: int) -> Tensor:
        """The sources of `count` examples, float32 `[count, sources, (channels,) samples]`; same step, same examples.

        Their sum is the mixture.
        """
        return self.mixer.batch(step, count)

    def conditions(self, step: int, count: int) -> Tensor | None:
        """Side information of the examples of a step, `[count, condition]`, for a network that takes some."""
        return None

    def batches(self, first: int, size: int, rank: int = 0, ranks: int = 1) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Examples and conditions of steps `first`, `first` + 1, … without end; each rank of several draws others."""
        step = first
        while True:
            number = step * ranks + rank
            yield self.examples(number, size), self.conditions(number, size)
            step += 1

    @abstractmethod
    def valid(self) -> list[Tensor]:
        """Fixed batches of the valid split, shaped as `examples`: the same whatever the run."""

    def valid_conditions(self) -> list[Tensor | None]:
        """Side information of the fixed batches."""
        return [None] * len(self.fixed)

    @abstractmethod
    def scores(self, estimates: Mapping[str, Tensor], references: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Figures of one valid batch, by name, from `[batch, (channels,) samples]` of each source."""

    @classmethod
    def trained_on(cls, rows: list[Row], options: Any) -> str:
        """Corpora, minutes and licences of the train rows, one a line: what the card of a model must list.

        `options` are the recipe's, of the task's `Options`; a task that learns from more than rows adds lines.
        """
        minutes: dict[tuple[str, str, str], float] = {}
        for row in rows:
            if row.split == "train" and row.kind in cls.rows:
                key = (row.kind, row.corpus, row.licence)
                minutes[key] = minutes.get(key, 0.0) + row.seconds / 60
        return "\n".join(
            f"{kind}: {corpus}, {m:.0f} min, {licence}" for (kind, corpus, licence), m in sorted(minutes.items())
        )


class ExampleStream(IterableDataset):
    """The batches of a task from step `first` on (arguments as `Task.batches`), made in a data worker."""

    def __init__(self, task: Task, first: int, size: int, rank: int, ranks: int):
        self.task, self.arguments = task, (first, size, rank, ranks)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        return self.task.batches(*self.arguments)


def require_rows(rows: list[Row], kinds: tuple[str, ...], advice: str) -> None:
    """Raises ValueError unless there are rows of every kind in the train and in the valid split."""
    for split in ("train", "valid"):
        for kind in kinds:
            if not any(row.split == split and row.kind == kind for row in rows):
                raise ValueError(f"There is no {kind} in the {split} split: {advice}")
