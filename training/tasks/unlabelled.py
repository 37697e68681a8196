"""Mixtures whose sources nobody knows: beside some that are known, or nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from training.data.manifest import Row
from training.losses.si_sdr import si_sdr
from training.tasks.speech import SpeechTask

if TYPE_CHECKING:
    from training.recipe import Recipe


def _share(name: str) -> float:
    """A number from 0 to 1 that a recording has for good."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32


@dataclass(frozen=True)
class UnlabelledOptions:
    """`labelled` of the train recordings have references; of the others only mixtures are heard, `unlabelled_share` of
    the examples."""

    labelled: float = 0.1
    unlabelled_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.labelled < 1 or not 0 <= self.unlabelled_share <= 1:
            raise ValueError("data.labelled and data.unlabelled_share are shares, 0 to 1.")


class UnlabelledTask(SpeechTask):
    """Speech and noise, or, as `unlabelled`, the sum of both, while the other two are silent.

    `unless: unlabelled` keeps a loss from examples without references, `where: unlabelled` from all others.
    """

    sources = ("speech", "noise", "unlabelled")
    Options = UnlabelledOptions

    def __init__(self, recipe: Recipe, rows: list[Row], cache: Path | None, device: torch.device):
        few = recipe.options.labelled
        known = [row for row in rows if row.split != "train" or _share(row.path.name) < few]
        self.check_rows(known)
        super().__init__(recipe, known, cache, device)
        others = [row for row in rows if row not in known]
        self.others = None
        if recipe.options.unlabelled_share:
            self.others = self.build_mixer(recipe, others, "train", cache, recipe.training.seed + 1, device)

    def examples(self, step: int, count: int) -> Tensor:
        pairs = super().examples(step, count)
        silent = torch.zeros_like(pairs[:, :1])
        if self.others is None:
            return torch.cat([pairs, silent], 1)
        rng = np.random.default_rng((self.recipe.training.seed, step, 3))
        hidden = torch.from_numpy(rng.random(count) < self.recipe.options.unlabelled_share).to(pairs.device)
        mixtures = self.others.batch(step, count).sum(1, keepdim=True)
        hidden = hidden[:, None, None]
        return torch.cat([torch.where(hidden, 0.0, pairs), torch.where(hidden, mixtures, silent)], 1)

    def valid(self) -> list[Tensor]:
        return [torch.cat([batch, torch.zeros_like(batch[:, :1])], 1) for batch in super().valid()]

    def scores(self, estimates: Mapping[str, Tensor], references: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return super().scores(estimates, {name: references[name] for name in ("speech", "noise")})


@dataclass(frozen=True)
class MixturesOptions:
    """`single_share` of the examples are speech and noise apart, as if both were known: semi-supervised."""

    single_share: float = 0.0


class MixturesTask(SpeechTask):
    """Sums of two mixtures of speech and noise each, for `mixit`; the network's sources have any names.

    The warning of the authors holds: speech and noise that were recorded together cannot be learnt apart so; mixed at
    random as here they can. Valid examples are speech and noise apart, which are the two "mixtures" then.
    """

    sources = ("mixture_1", "mixture_2")
    free_sources = True
    Options = MixturesOptions

    def examples(self, step: int, count: int) -> Tensor:
        pairs = super().examples(step, 2 * count).unflatten(0, (count, 2))  # [count, 2, speech and noise, samples]
        rng = np.random.default_rng((self.recipe.training.seed, step, 4))
        single = torch.from_numpy(rng.random(count) < self.recipe.options.single_share).to(pairs.device)
        return torch.where(single[:, None, None], pairs[:, 0], pairs.sum(2))

    def scores(self, estimates: Mapping[str, Tensor], references: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`si_sdr` of the speech by those estimates whose sum fits it best, and `si_sdri`, its gain, dB."""
        speech, noise = references["mixture_1"], references["mixture_2"]
        sound = (speech.square().mean(-1) > 1e-7) & (noise.square().mean(-1) > 1e-7)
        made = torch.stack(list(estimates.values()))
        ways = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * len(made))[1:].to(made.device)
        after = torch.stack([si_sdr((way.view(-1, 1, 1) * made).sum(0), speech) for way in ways]).amax(0)
        gain = after - si_sdr(speech + noise, speech)
        return {"si_sdr": after[sound].mean(), "si_sdri": gain[sound].mean()}
