"""Sound events, one of which is asked for by its class, or each of which is taken out by its class.

Rows are those of noise whose note names an event, as ESC-10 has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from training.data.clip_store import Bank, build_banks
from training.data.manifest import Row
from training.data.speech_mixer import BaseMixer, MixSpec
from training.losses.event_classifier import EventClassifier, read_classifier
from training.losses.si_sdr import si_sdr
from training.tasks.task import VALID_SEED, Task

if TYPE_CHECKING:
    from training.recipe import Recipe

ESC10 = (
    *("baby_cry", "chainsaw", "clock_tick", "dog_bark", "fire_crackling"),
    *("helicopter", "person_sneeze", "rain", "rooster", "sea_waves"),
)
RATE, VALID_BATCHES, VALID_SIZE, CUTS = 48000, 4, 16, 4


class EventMixer(BaseMixer):
    """Pairs of events of different classes at random levels, `[count, 2, samples]`; `drawn` tells their classes.

    With a `classifier` a piece is an anchor: of some places in the recording the one where its class is heard best.
    """

    def __init__(
        self, bank: Bank, size: int, snr: tuple[float, float], seed: int, classifier: EventClassifier | None = None
    ):
        self.bank, self.size, self.snr, self.seed, self.classifier = bank, size, snr, seed, classifier
        self.event = np.array([row.event for row in bank.rows])

    def drawn(self, step: int, count: int) -> tuple[np.random.Generator, np.ndarray]:
        """The clips of a step, `[count, 2]`, and what goes on drawing."""
        rng = np.random.default_rng((self.seed, step))
        first = self.bank.pick(rng, count)
        second = [rng.choice(np.flatnonzero(self.event != self.event[clip])) for clip in first]
        return rng, np.stack([first, np.array(second)], 1)

    def batch(self, step: int, count: int) -> Tensor:
        rng, clips = self.drawn(step, count)
        waves = torch.stack([self._pieces(clips[:, place], rng) for place in (0, 1)], 1)
        waves = waves / (waves.square().mean(-1, keepdim=True).sqrt() + 1e-4)
        snr = torch.from_numpy(rng.uniform(*self.snr, count).astype(np.float32))
        waves[:, 1] *= 10 ** (-snr / 20)[:, None]
        level = torch.from_numpy(10 ** (rng.uniform(-35, -15, count) / 20).astype(np.float32))
        waves = waves * level[:, None, None]
        peak = waves.sum(1).abs().amax(-1)
        return waves * (0.99 / peak.clamp(min=0.99))[:, None, None]

    def _pieces(self, clips: np.ndarray, rng: np.random.Generator) -> Tensor:
        if self.classifier is None:
            return self.bank.cut(clips, self.size, rng, wrap=True)
        pieces = torch.stack([self.bank.cut(clips, self.size, rng, wrap=True) for _ in range(CUTS)], 1)
        with torch.no_grad():
            heard = self.classifier.clip(pieces.flatten(0, 1)).view(len(clips), CUTS, -1)
        wanted = torch.tensor([self.classifier.classes.index(event) for event in self.event[clips]])
        best = heard[torch.arange(len(clips)), :, wanted].argmax(1)
        return pieces[torch.arange(len(clips)), best]


@dataclass(frozen=True)
class EventOptions:
    """`classifier` is a file of `training.data.tools.event_classifier`: pieces are anchors, and the condition is what
    it hears in the event that is asked for; without one the condition is the event's label."""

    classifier: str = ""


class EventsTask(Task):
    """The `event` that is asked for by its class, and the `rest`, another event (Kong et al. 2020, arXiv 2002.02065).

    Of `data.mix` only `seconds` and `snr` count. The condition has a place for each of `network.classes`.
    """

    sources: ClassVar[tuple[str, ...]] = ("event", "rest")
    audio_channels = (1,)
    rows = ("noise",)
    unfit = frozenset(
        {"vocal_interference", "one_minus_estoi", "pesq_proxy", "metricgan", "quality_net", "opinion", "black_box"}
    )
    mix = MixSpec
    data_keys = ()
    Options = EventOptions
    conditioned = ("film",)

    @classmethod
    def check_rows(cls, rows: list[Row]) -> None:
        for split in ("train", "valid"):
            if len({row.event for row in rows if row.split == split and row.event}) < 2:
                raise ValueError(
                    f"The {split} split has no two classes of events: give a manifest whose notes name them."
                )

    @classmethod
    def build_mixer(
        cls, recipe: Recipe, rows: list[Row], split: str, cache: Path | None, seed: int, device: torch.device
    ) -> EventMixer:
        spec = recipe.network
        known = spec.classes or ESC10
        chosen = [row for row in rows if row.split == split and row.event in known]
        bank = build_banks(chosen, {}, 0.0, cache).get(RATE)
        if bank is None or len({row.event for row in bank.rows}) < 2:
            raise ValueError(f"The {split} split has no two of the classes {', '.join(known)} at {RATE} Hz.")
        if spec.sample_rate != RATE:
            raise ValueError(f"Events are mixed at {RATE} Hz, and the network runs at {spec.sample_rate}.")
        assert isinstance(recipe.mix, MixSpec)
        size = round(recipe.mix.seconds * RATE / spec.hop) * spec.hop
        classifier = read_classifier(recipe.options.classifier) if recipe.options.classifier else None
        return EventMixer(bank, size, recipe.mix.snr, seed, classifier)

    def conditions(self, step: int, count: int) -> Tensor | None:
        assert isinstance(self.mixer, EventMixer)
        return self.told(self.mixer, step, self.examples(step, count))

    def told(self, mixer: EventMixer, step: int, examples: Tensor) -> Tensor | None:
        """`[count, classes]`: the label of the event, or how likely the classifier thinks each class."""
        classes = self.recipe.network.classes
        if not classes:
            return None
        if mixer.classifier is not None:
            with torch.no_grad():
                event = examples[:, 0] / (examples[:, 0].square().mean(-1, keepdim=True).sqrt() * 10 + 1e-6)
                heard = torch.sigmoid(mixer.classifier.clip(event))
            return heard[:, [mixer.classifier.classes.index(name) for name in classes]]
        asked = mixer.event[mixer.drawn(step, len(examples))[1][:, 0]]
        return torch.eye(len(classes))[[classes.index(name) for name in asked]]

    def _valid_mixer(self) -> EventMixer:
        return self.build_mixer(self.recipe, self._rows, "valid", self._cache, VALID_SEED, self._device)

    def valid(self) -> list[Tensor]:
        mixer = self._valid_mixer()
        return [mixer.batch(index, VALID_SIZE) for index in range(VALID_BATCHES)]

    def valid_conditions(self) -> list[Tensor | None]:
        mixer = self._valid_mixer()
        return [self.told(mixer, index, batch) for index, batch in enumerate(self.fixed)]

    def scores(self, estimates: Mapping[str, Tensor], references: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`si_sdr` of the event that was asked for, dB, and `si_sdri`, its gain over the mixture."""
        after = si_sdr(estimates["event"], references["event"])
        before = si_sdr(references["event"] + references["rest"], references["event"])
        return {"si_sdr": after.mean(), "si_sdri": (after - before).mean()}


class WeakEventsTask(EventsTask):
    """Two events, each in the place of its class among ESC-10's ten; the network puts out some of them.

    For losses that need to know only which classes are in a clip: `classifier`, beside `network.consistency`.
    """

    sources = ESC10
    free_sources = True
    conditioned = ("",)

    @classmethod
    def build_mixer(
        cls, recipe: Recipe, rows: list[Row], split: str, cache: Path | None, seed: int, device: torch.device
    ) -> EventMixer:
        wanted = [row for row in rows if row.event in recipe.network.sources]
        return super().build_mixer(recipe, wanted, split, cache, seed, device)

    def examples(self, step: int, count: int) -> Tensor:
        assert isinstance(self.mixer, EventMixer)
        return self._placed(self.mixer, step, count)

    @staticmethod
    def _placed(mixer: EventMixer, step: int, count: int) -> Tensor:
        pairs, clips = mixer.batch(step, count), mixer.drawn(step, count)[1]
        placed = torch.zeros(count, len(ESC10), pairs.shape[-1])
        for pair, (first, second), places in zip(pairs, mixer.event[clips], placed, strict=True):
            places[ESC10.index(first)], places[ESC10.index(second)] = pair
        return placed

    def valid(self) -> list[Tensor]:
        mixer = self._valid_mixer()
        return [self._placed(mixer, index, VALID_SIZE // 2) for index in range(VALID_BATCHES)]

    def scores(self, estimates: Mapping[str, Tensor], references: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`si_sdr` of the classes that sound, dB, and `si_sdri`, its gain over the mixture."""
        whole = torch.stack(list(references.values())).sum(0)
        after, gained = [], []
        for name, estimate in estimates.items():
            there = references[name].square().mean(-1) > 1e-9
            after.append(si_sdr(estimate, references[name])[there])
            gained.append(after[-1] - si_sdr(whole, references[name])[there])
        return {"si_sdr": torch.cat(after).mean(), "si_sdri": torch.cat(gained).mean()}
