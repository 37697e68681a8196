"""Instruments: stems of songs, one for each group of instruments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.data.manifest import INSTRUMENT_STEM, Row
from training.data.stem_mixer import StemMixer, StemMixSpec, open_stems
from training.tasks.task import VALID_SEED, Task, require_rows

if TYPE_CHECKING:
    from training.recipe import Recipe

PASSAGES = 48  # of the valid songs
SOUNDS = 1e-3  # power beside the mixture's of an instrument that sounds: of an end of reverberation no SDR is of use
SILENT = 1e-10  # mean square of one that does not


class InstrumentsTask(Task):
    """Songs as they are, and instruments of different songs mixed (see `StemMixSpec`); stems are read where they lie.

    Scored by the gain in SDR where an instrument sounds, and by what is put out where it does not.
    """

    sources = ("drums", "bass", "guitar", "keys", "strings", "winds")
    audio_channels = (1, 2)
    rows = (INSTRUMENT_STEM,)
    unfit = frozenset(
        {"vocal_interference", "one_minus_estoi", "pesq_proxy", "metricgan", "quality_net", "opinion", "black_box"}
    )
    mix = StemMixSpec
    data_keys = ()

    @classmethod
    def check_rows(cls, rows: list[Row]) -> None:
        advice = "give --dataset manifest=OUT/manifest.csv, with OUT made by python -m training.data.made_stems OUT."
        require_rows(rows, cls.rows, advice)

    @classmethod
    def build_mixer(
        cls, recipe: Recipe, rows: list[Row], split: str, cache: Path | None, seed: int, device: torch.device
    ) -> StemMixer:
        spec, network = recipe.mix, recipe.network
        assert isinstance(spec, StemMixSpec)
        songs = open_stems([row for row in rows if row.split == split], cls.sources, network.sample_rate)
        try:
            return StemMixer(songs, cls.sources, spec, network.sample_rate, seed, network.hop, device)
        except ValueError as error:
            raise ValueError(f"{error} in the {split} split, or all are under {spec.seconds / 2:.1f} s.") from None

    def examples(self, step: int, count: int) -> Tensor:
        found = super().examples(step, count)
        return found.mean(2) if self.recipe.network.audio_channels == 1 else found

    def valid(self) -> list[Tensor]:
        """Passages of the valid songs as they are."""
        mixer = self.build_mixer(self.recipe, self._rows, "valid", self._cache, VALID_SEED, self._device)
        return list(mixer.passages(PASSAGES, mono=self.recipe.network.audio_channels == 1).split(8))

    @torch.no_grad()
    def scores(self, estimates: Mapping[str, Tensor], references: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Means, dB: `sdri`, the gain in SDR over the mixture, of instruments that sound beside others; `silent_level`,
        the energy of an estimate beside the mixture's, of those that do not sound at all."""
        true = torch.stack([references[name] for name in estimates], 1).flatten(2)
        made = torch.stack(list(estimates.values()), 1).flatten(2)
        mixture = torch.stack(list(references.values()), 1).flatten(2).sum(1, keepdim=True)
        power, whole = (each.square().mean(-1) for each in (true, mixture))
        error, rest = ((each - true).square().mean(-1) for each in (made, mixture))
        found: dict[str, Tensor] = {}
        least = (SOUNDS * whole).clamp(min=SILENT)
        sounds = (power > least) & (rest > least)
        if sounds.any():
            found["sdri"] = 10 * (rest[sounds] / error[sounds].clamp(min=1e-12)).log10().mean()
        silent = (power < SILENT) & (whole > 1e-7)
        if silent.any():
            level = made.square().mean(-1).clamp(min=1e-12) / whole
            found["silent_level"] = 10 * level[silent].log10().mean()
        return found
