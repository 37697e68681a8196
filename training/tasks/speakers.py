"""Voices of one kind at once: two to be told apart, or an unknown number, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from training.data.speech_mixer import active_power
from training.losses.si_sdr import si_sdr
from training.tasks.speech import SpeechTask

RATIO = 5.0  # dB by which a further voice is louder or softer than the first, either way
SOUNDS = 1e-7  # mean square of a voice that is there


class SpeakersTask(SpeechTask):
    """Two voices of the train speech, drawn apart from each other; scored by SI-SDR in the better order.

    Use a loss in `pit`: neither voice is the first by nature.
    """

    sources: ClassVar[tuple[str, ...]] = ("first", "second")
    unfit = frozenset({"vocal_interference"})

    def examples(self, step: int, count: int) -> Tensor:
        voices = len(self.sources)
        speech = super().examples(step, voices * count)[:, 0].unflatten(0, (count, voices))
        return self.levelled(speech, np.random.default_rng((self.recipe.training.seed, step, 2)))

    def levelled(self, speech: Tensor, rng: np.random.Generator) -> Tensor:
        """Voices `[count, voices, samples]` within `RATIO` of the first; the mixture does not clip."""
        rate = self.recipe.network.sample_rate
        power = active_power(speech.flatten(0, 1), rate).view(speech.shape[:2]).clamp(min=1e-10)
        ratio = 10 ** (torch.from_numpy(rng.uniform(-RATIO, RATIO, speech.shape[:2])).float() / 20)
        ratio[:, 0] = 1
        gains = (power[:, :1] / power).sqrt() * ratio.to(speech.device)
        speech = speech * torch.where(power > 1e-9, gains, 1.0).unsqueeze(-1)
        peak = speech.sum(1).abs().amax(-1)
        return speech * (0.99 / peak.clamp(min=0.99))[:, None, None]

    def valid(self) -> list[Tensor]:
        found, rng = [], np.random.default_rng(0)
        for batch in super().valid():
            speech = batch[:, 0]
            voices = torch.stack([speech.roll(place, 0) for place in range(len(self.sources))], 1)
            found.append(self.levelled(voices, rng))
        return found

    def scores(self, estimates: Mapping[str, Tensor], references: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`si_sdr`, dB, of the better order where all sound, and `si_sdri`, its gain over the mixture."""
        true = torch.stack(list(references.values()), 1)
        made = torch.stack([estimates[name] for name in self.sources], 1)
        sound = (true.square().mean(-1) > SOUNDS).all(1)
        orders = [si_sdr(made[:, list(order)], true).mean(1) for order in permutations(range(true.shape[1]))]
        after = torch.stack(orders).amax(0)[sound]
        before = si_sdr(true.sum(1, keepdim=True).expand_as(true), true).mean(1)[sound]
        return {"si_sdr": after.mean(), "si_sdri": (after - before).mean()}


class UnknownSpeakersTask(SpeakersTask):
    """One to three voices; the network puts out `one` of them and the `rest` (use the loss `one_and_rest`).

    What is made of the rest is made of it by the same network, until nothing is left.
    """

    sources = ("first", "second", "third")
    free_sources = True
    outputs = ("one", "rest")

    def levelled(self, speech: Tensor, rng: np.random.Generator) -> Tensor:
        count = torch.from_numpy(rng.integers(1, len(self.sources) + 1, len(speech))).to(speech.device)
        there = torch.arange(len(self.sources), device=speech.device) < count[:, None]
        return super().levelled(speech, rng) * there.unsqueeze(-1)

    def scores(self, estimates: Mapping[str, Tensor], references: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`si_sdr`, dB, of the one beside the voice that it fits best, where two or more sound."""
        true = torch.stack(list(references.values()), 1)
        several = (true.square().mean(-1) > SOUNDS).sum(1) > 1
        one = estimates["one"].unsqueeze(1).expand_as(true)
        found = torch.where(true.square().mean(-1) > SOUNDS, si_sdr(one, true), -torch.inf).amax(1)[several]
        return {"si_sdr": found.mean()}
