"""Speech that is only had with noise: what a network can learn from when nobody recorded clean speech."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

import rtsep
from training.data.manifest import Row
from training.tasks.speech import SpeechTask

if TYPE_CHECKING:
    from training.recipe import Recipe

TARGETS = ("clean", "noisy", "noise2noise", "bootstrap")


@dataclass(frozen=True)
class NoisyTargetOptions:
    """What training is given as the speech s, which was recorded with a noise n:

    - `noisy`: s + n, with another noise added to what is heard (Fujimura et al. 2021, arXiv 2101.08625);
    - `noise2noise`: s + n', where s + n is heard (Lehtinen et al. 2018, arXiv 1803.04189; Kashyap et al. 2021);
    - `bootstrap`: what the model `teacher` makes of s + n, and for the noise what it leaves of another example
      (Tzinis et al. 2022, RemixIT, arXiv 2202.08862);
    - `clean`: s, to compare with.
    """

    targets: str = "noisy"
    teacher: str = ""

    def __post_init__(self) -> None:
        if self.targets not in TARGETS:
            raise ValueError(f"data.targets is one of {', '.join(TARGETS)}, not {self.targets!r}.")
        if (self.targets == "bootstrap") != bool(self.teacher):
            raise ValueError(
                "data.teacher names the model that bootstrapped targets come from, and goes with no other."
            )


class NoisyTargetsTask(SpeechTask):
    """Speech and noise whose references are noisy, made so of clean ones; valid examples are clean, to see what it is
    worth."""

    Options = NoisyTargetOptions

    def __init__(self, recipe: Recipe, rows: list[Row], cache: Path | None, device: torch.device):
        options = recipe.options
        self.teacher = rtsep.load(options.teacher) if options.teacher else None
        super().__init__(recipe, rows, cache, device)

    def examples(self, step: int, count: int) -> Tensor:
        targets = self.recipe.options.targets
        if targets == "clean":
            return super().examples(step, count)
        if targets == "bootstrap":
            return self._taught(super().examples(step, count))
        speech, noise = super().examples(step, 2 * count).unflatten(0, (count, 2)).unbind(2)
        clean, first, second = speech[:, 0], noise[:, 0], noise[:, 1]
        if targets == "noisy":
            return torch.stack([clean + first, second], 1)
        # Heard is the sum: s + n. The second noise is independent of it, and so leads nowhere in the mean.
        return torch.stack([clean + second, first - second], 1)

    def _taught(self, pairs: Tensor) -> Tensor:
        assert self.teacher is not None
        mixture = pairs.sum(1)
        rate = self.recipe.network.sample_rate
        made = np.stack([rtsep.enhance(wave, rate, self.teacher) for wave in mixture.cpu().numpy()])
        speech = torch.from_numpy(made).to(mixture.device)
        return torch.stack([speech, (mixture - speech).roll(1, 0)], 1)
