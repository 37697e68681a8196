"""Speech in noise, one channel: what cleans speech."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from training.data.clip_store import Bank, build_banks
from training.data.manifest import Row
from training.data.rooms import simulate_rooms
from training.data.speech_mixer import Mixer, MixSpec
from training.losses.si_sdr import si_sdr
from training.tasks.task import MUSIC, VALID_SEED, Task, require_rows

if TYPE_CHECKING:
    from training.recipe import Recipe

VALID_BATCHES, VALID_SIZE = 4, 16


class SpeechTask(Task):
    """Speech and noise, mixed anew in every step (see `MixSpec`); scored by the SI-SDR of the speech and its gain."""

    sources: ClassVar[tuple[str, ...]] = ("speech", "noise")
    audio_channels = (1,)
    rows = ("speech", "noise", *MUSIC)
    unfit = frozenset({"vocal_interference"})
    mix = MixSpec
    data_keys = ("rooms", "speech_corpora")

    @classmethod
    def check_rows(cls, rows: list[Row]) -> None:
        require_rows(rows, ("speech", "noise"), "give two files of speech and of noise at least.")

    @classmethod
    def build_mixer(
        cls, recipe: Recipe, rows: list[Row], split: str, cache: Path | None, seed: int, device: torch.device
    ) -> Mixer:
        rate = recipe.network.sample_rate
        chosen = [row for row in rows if row.split == split]

        def banks(kinds: tuple[str, ...], weights: dict[str, float], power: float) -> dict[int, Bank]:
            found = build_banks([row for row in chosen if row.kind in kinds], weights, power, cache)
            return {rate: bank.to(device) for rate, bank in found.items()}

        speech, noise = banks(("speech",), recipe.speech_corpora, 1.0), banks(("noise",), {}, 0.5)
        for name, found in (("speech", speech), ("noise", noise)):
            if not found:
                raise ValueError(f"No {name} of the {split} split is half a second long: give longer recordings.")
        rooms = simulate_rooms(recipe.rooms, rate, 16384, seed, cache) if recipe.rooms else None
        assert isinstance(recipe.mix, MixSpec)
        return Mixer(speech, noise, banks(MUSIC, {}, 1.0), recipe.mix, rate, seed, rooms, recipe.network.hop)

    def valid(self) -> list[Tensor]:
        """Mixtures of valid speech and noise, seeded apart from training."""
        mixer = self.build_mixer(self.recipe, self._rows, "valid", self._cache, VALID_SEED, self._device)
        return [mixer.batch(index, VALID_SIZE) for index in range(VALID_BATCHES)]

    def scores(self, estimates: Mapping[str, Tensor], references: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`si_sdr` of the speech and `si_sdri`, its gain over the mixture, dB, where speech and noise both are."""
        waves = torch.stack(list(references.values()))
        present = waves.square().mean(-1).amin(0) > 1e-7
        after = si_sdr(estimates["speech"], references["speech"])[present]
        before = si_sdr(waves.sum(0), references["speech"])[present]
        return {"si_sdr": after.mean(), "si_sdri": (after - before).mean()}
