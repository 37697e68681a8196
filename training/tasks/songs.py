"""Songs, accompaniment and vocals, mono or stereo: what takes the voice out of music."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.data.clip_store import Bank, build_banks
from training.data.manifest import Row
from training.data.rooms import simulate_rooms
from training.data.song_clips import load_clips, open_clips, pair_songs
from training.data.song_mixer import RemixSpec, SongMixer
from training.losses.vocal_interference import voice_left
from training.tasks.task import MUSIC, VALID_SEED, Task, require_rows

if TYPE_CHECKING:
    from training.recipe import Recipe

PASSAGES = 48  # of the valid songs


@dataclass(frozen=True)
class SongOptions:
    """`on_demand`: songs are read from their files piece by piece, not decoded ahead, which many hours would fill a
    disk with; there are no copies then."""

    on_demand: bool = False


class SongTask(Task):
    """Songs as they are and mixed anew (see `RemixSpec`); scored by SDR, suppression, and what is changed for nothing.

    `copies` of every song with a voice are made ahead of time.
    """

    Options = SongOptions

    sources = ("accompaniment", "vocals")
    audio_channels = (1, 2)
    rows = ("vocals", "speech", *MUSIC)
    unfit = frozenset({"one_minus_estoi", "pesq_proxy", "metricgan"})  # measures of speech
    mix = RemixSpec
    data_keys = ("rooms", "speech_corpora", "copies")

    @classmethod
    def check_rows(cls, rows: list[Row]) -> None:
        advice = "give two songs at least, as --data MANIFEST.csv, --dataset musdb18=PATH or --dataset stems=PATH."
        require_rows(rows, ("vocals", "accompaniment"), advice)

    @classmethod
    def build_mixer(
        cls, recipe: Recipe, rows: list[Row], split: str, cache: Path | None, seed: int, device: torch.device
    ) -> SongMixer:
        """Copies, rooms and speech are for training only."""
        spec, rate = recipe.mix, recipe.network.sample_rate
        assert isinstance(spec, RemixSpec)
        chosen, train = [row for row in rows if row.split == split], split == "train"
        if recipe.options.on_demand:
            if recipe.copies:
                raise ValueError(
                    "data.copies are made ahead of time, and data.on_demand makes nothing ahead: one of the two."
                )
            clips = open_clips(pair_songs(chosen), rate, cache)
        else:
            clips = load_clips(pair_songs(chosen), rate, recipe.copies if train else (), cache)
        speech: dict[int, Bank] = {}
        rooms = None
        if train and spec.kinds.get("speech"):
            speech = build_banks([row for row in chosen if row.kind == "speech"], recipe.speech_corpora, 1.0, cache)
        if train and recipe.rooms:
            rooms = simulate_rooms(recipe.rooms, rate, 16384, seed, cache)
        try:
            return SongMixer(clips, speech, spec, rate, seed, rooms, recipe.network.hop, device)
        except ValueError as error:
            reason = str(error).rstrip(".")
            raise ValueError(f"{reason} in the {split} split, or shorter than {spec.seconds / 2:.1f} s.") from None

    def examples(self, step: int, count: int) -> Tensor:
        found = super().examples(step, count)
        return found.mean(2) if self.recipe.network.audio_channels == 1 else found

    def valid(self) -> list[Tensor]:
        """Passages of the valid songs as they are, and some of them without their vocals."""
        mixer = self.build_mixer(self.recipe, self._rows, "valid", self._cache, VALID_SEED, self._device)
        passages = mixer.passages(PASSAGES)
        if self.recipe.network.audio_channels == 1:
            passages = passages.mean(2)
        free = passages[::6] * torch.tensor([1.0, 0.0], device=self._device).view(2, *[1] * (passages.ndim - 2))
        return [*passages.split(8), free]

    def scores(self, estimates: Mapping[str, Tensor], references: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return song_scores(estimates["accompaniment"], torch.stack([references[name] for name in self.sources], 1))


@torch.no_grad()
def song_scores(accompaniment: Tensor, sources: Tensor) -> dict[str, Tensor]:
    """Means over pieces, dB, of an estimated accompaniment `[batch, (2,) samples]`.

    `sources` `[batch, 2, (2,) samples]` are accompaniment and vocals. Where both are: `sdr` of the accompaniment, its
    gain `sdri` over the mixture as it is, `suppression` of the vocals. Where nobody sings: `change`, the energy of what
    was changed beside the mixture; 25 dB below it is the aim.
    """
    if sources.ndim == 3:
        accompaniment, sources = accompaniment.unsqueeze(1), sources.unsqueeze(2)
    power = sources.square().mean((2, 3))
    whole = sources.sum(1)
    error = (accompaniment - sources[:, 0]).square().mean((1, 2))
    both = (power > 1e-7).all(1)
    found: dict[str, Tensor] = {}
    if both.any():
        sdr = 10 * (power[both, 0] / error[both].clamp(min=1e-12)).log10()
        found["sdr"] = sdr.mean()
        found["sdri"] = (sdr - 10 * (power[both, 0] / power[both, 1]).log10()).mean()
        found["suppression"] = -voice_left(accompaniment[both], sources[both]).mean()
    free = (power[:, 1] < 1e-10) & (power[:, 0] > 1e-7)
    if free.any():
        changed = (accompaniment[free] - whole[free]).square().mean((1, 2))
        found["change"] = (10 * (changed.clamp(min=1e-12) / power[free, 0]).log10()).mean()
    return found
