"""Songs, and something that is known about their vocals, on a clock of its own (Schulze-Forster et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.losses.activity import active_hops
from training.losses.spectrum import spectrum
from training.tasks.songs import SongOptions, SongTask
from training.tasks.task import VALID_SEED

SIDES = ("activity", "magnitude", "constant")


@dataclass(frozen=True)
class InformedOptions(SongOptions):
    """`side`: whether the vocals sound, or their magnitude in bands, a side frame at a time; or ones, which tell
    nothing: what the attention alone is worth. Up to `side_room` of the side frames, a share, are empty before and
    behind what is told, so that its length and its place say nothing of the clock."""

    side: str = "activity"
    side_room: float = 0.0

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ValueError(f"data.side is one of {', '.join(SIDES)}, not {self.side!r}.")
        if not 0 <= self.side_room <= 0.9:
            raise ValueError(f"data.side_room is a share of the side frames, 0 to 0.9, not {self.side_room:g}.")


class InformedSongsTask(SongTask):
    """Songs with a side sequence of the vocals, `network.side_frames` over the piece, aligned by nobody.

    `activity` needs a `side_width` of 2 (active, not active). Of `magnitude` the first number of a frame says that
    there is one, the others are log magnitudes in bands of equal width up to 8 kHz; `constant` has any width (BL2). The
    network may also have no condition: then it is the same songs without (BL1).
    """

    Options = InformedOptions
    conditioned = ("attention", "")

    def conditions(self, step: int, count: int) -> Tensor | None:
        return self.side(self.examples(step, count), np.random.default_rng((self.recipe.training.seed, step, 5)))

    def valid_conditions(self) -> list[Tensor | None]:
        rng = np.random.default_rng(VALID_SEED)
        return [self.side(batch, rng) for batch in self.fixed]

    def side(self, examples: Tensor, rng: np.random.Generator) -> Tensor | None:
        """Of examples `[count, 2, (2,) samples]` → `[count, side_frames × side_width]`; None without a condition."""
        spec, room = self.recipe.network, self.recipe.options.side_room
        if not spec.condition:
            return None
        vocals = examples[:, 1].mean(1) if examples.ndim == 4 else examples[:, 1]
        level = examples.sum(1).square().flatten(1).mean(1).sqrt() + 1e-6
        vocals = vocals / level[:, None]
        if not room:
            return self.sequence(vocals, spec.side_frames)
        made = vocals.new_zeros(len(vocals), spec.side_frames, spec.side_width)
        for place, wave in zip(made, vocals, strict=True):
            length = spec.side_frames - int(rng.integers(int(room * spec.side_frames) + 1))
            begin = int(rng.integers(spec.side_frames - length + 1))
            place[begin : begin + length] = self.sequence(wave[None], length).view(length, spec.side_width)
        return made.flatten(1)

    def sequence(self, vocals: Tensor, frames: int) -> Tensor:
        """What is told of `vocals` `[count, samples]` in so many frames, `[count, frames × side_width]`."""
        spec, side = self.recipe.network, self.recipe.options.side
        if side == "constant":
            return vocals.new_ones(len(vocals), frames * spec.side_width)
        if side == "activity":
            return activity_sequence(vocals, frames, spec.side_width)
        return magnitude_sequence(vocals, frames, spec.side_width, spec.sample_rate)


def activity_sequence(vocals: Tensor, frames: int, width: int) -> Tensor:
    """`[count, samples]` → `[count, frames × 2]`: active, not active. Raises ValueError for another width."""
    if width != 2:
        raise ValueError("A side sequence of activity has a side_width of 2: active, not active.")
    whole = vocals[:, : vocals.shape[1] // frames * frames]
    active = active_hops(whole.unsqueeze(1), frames)
    return torch.cat([active, 1 - active], -1).flatten(1)


def magnitude_sequence(vocals: Tensor, frames: int, width: int, rate: int) -> Tensor:
    """`[count, samples]` → `[count, frames × width]`: one, and log(1 + magnitude) of width − 1 bands below 8 kHz."""
    pairs = spectrum(vocals, 1024, 512)
    magnitude = pairs.square().sum(1).sqrt()[..., : 8000 * 1024 // rate].log1p()  # [count, frames, bins]
    pooled = F.adaptive_avg_pool2d(magnitude.unsqueeze(1), (frames, width - 1)).squeeze(1)
    return torch.cat([torch.ones_like(pooled[..., :1]), pooled], -1).flatten(1)
