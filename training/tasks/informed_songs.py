"""Songs, and something that is known about their vocals, on a clock of its own (Schulze-Forster et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from training.losses.activity import active_hops
from training.losses.spectrum import spectrum
from training.tasks.songs import SongOptions, SongTask

SIDES = ("activity", "magnitude", "constant")


@dataclass(frozen=True)
class InformedOptions(SongOptions):
    """`side`: whether the vocals sound, or their magnitude in bands, a side frame at a time; or ones, which tell
    nothing: what the attention alone is worth."""

    side: str = "activity"

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ValueError(f"data.side is one of {', '.join(SIDES)}, not {self.side!r}.")


class InformedSongsTask(SongTask):
    """Songs with a side sequence of the vocals, `network.side_frames` over the piece, aligned by nobody.

    `activity` needs a `side_width` of 2 (active, not active). Of `magnitude` the first number of a frame says that
    there is one, the others are log magnitudes in bands of equal width up to 8 kHz; `constant` has any width (BL2). The
    network may also have no condition: then it is the same songs without (BL1).
    """

    Options = InformedOptions
    conditioned = ("attention", "")

    def conditions(self, step: int, count: int) -> Tensor | None:
        return self.side(self.examples(step, count))

    def valid_conditions(self) -> list[Tensor | None]:
        return [self.side(batch) for batch in self.fixed]

    def side(self, examples: Tensor) -> Tensor | None:
        """Of examples `[count, 2, (2,) samples]` → `[count, side_frames × side_width]`; None without a condition."""
        spec = self.recipe.network
        if not spec.condition:
            return None
        if self.recipe.options.side == "constant":
            return examples.new_ones(len(examples), spec.condition_size)
        vocals = examples[:, 1].mean(1) if examples.ndim == 4 else examples[:, 1]
        level = examples.sum(1).square().flatten(1).mean(1).sqrt() + 1e-6
        vocals = vocals / level[:, None]
        if self.recipe.options.side == "activity":
            return activity_sequence(vocals, spec.side_frames, spec.side_width)
        return magnitude_sequence(vocals, spec.side_frames, spec.side_width, spec.sample_rate)


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
