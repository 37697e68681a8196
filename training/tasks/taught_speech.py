"""Speech in noise, learnt from a teacher too: what a better model says may be easier to learn than the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from training.data.manifest import Row
from training.tasks.speech import SpeechTask
from training.teachers import TEACHERS

if TYPE_CHECKING:
    from training.recipe import Recipe


@dataclass(frozen=True)
class TaughtSpeechOptions:
    """`teacher` is a name of `training.teachers.TEACHERS`; `taught_share` is its share in the target, the rest is the
    clean speech. It is asked up to an SNR of `taught_below` dB, for teachers harm what is nearly clean and take time,
    and heard where it leaves less of the noise, and of errors of its own, by `taught_gain` dB."""

    teacher: str = "deepfilternet3"
    taught_share: float = 0.5
    taught_gain: float = 3.0
    taught_below: float = 12.0

    def __post_init__(self) -> None:
        if self.teacher not in TEACHERS:
            raise ValueError(f"data.teacher is one of {', '.join(TEACHERS)}, not {self.teacher!r}.")
        if not 0 < self.taught_share <= 1:
            raise ValueError(f"data.taught_share is above 0 and at most 1, not {self.taught_share!r}.")


class TaughtSpeechTask(SpeechTask):
    """As speech, but targets of training are part teacher (Hinton et al. 2015, arXiv 1503.02531); valid ones are clean.

    Part of what a network is corrected by is error that none can avoid, for the mixture does not tell; the teacher's
    answer has none of it. Where it is hardly nearer to the clean speech than the mixture is, as in little noise or with
    speech that it does not know, and where nothing is mixed, it is not asked.
    """

    Options = TaughtSpeechOptions

    def __init__(self, recipe: Recipe, rows: list[Row], cache: Path | None, device: torch.device):
        self.teacher = TEACHERS[recipe.options.teacher]()
        if self.teacher.sample_rate != recipe.network.sample_rate:
            raise ValueError(f"data.teacher {recipe.options.teacher} is for {self.teacher.sample_rate} Hz.")
        super().__init__(recipe, rows, cache, device)

    @classmethod
    def trained_on(cls, rows: list[Row], options: TaughtSpeechOptions) -> str:
        licence = TEACHERS[options.teacher].licence
        return super().trained_on(rows, options) + f"\nteacher: {options.teacher}, targets, {licence}"

    def examples(self, step: int, count: int) -> Tensor:
        pairs = super().examples(step, count)
        waves = pairs.cpu().numpy()
        made = np.stack([self._taught(speech, noise) for speech, noise in waves])
        return torch.from_numpy(made).to(pairs.device)

    def _taught(self, speech: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """`[2, samples]`: the same mixture, parted otherwise."""
        options, power = self.recipe.options, np.square(noise).sum()
        if 0 < np.square(speech).sum() < power * 10 ** (options.taught_below / 10):
            answer = self.teacher(speech + noise)
            if np.square(answer - speech).sum() * 10 ** (options.taught_gain / 10) < power:
                change = options.taught_share * (answer - speech)
                speech, noise = speech + change, noise - change
        return np.stack([speech, noise])
