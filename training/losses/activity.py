"""Voice activity: when is a source there? Labels from the clean sources, and the loss of a head that tells it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from training.losses.loss import Context, Loss, Setup

BELOW = 30.0  # dB under the loudest hop: softer is the end of a room's tail, not speech
FLOOR = 1e-5  # mean square of a source that is there, with the mixture brought to RMS 1
HANGOVER = 3  # hops before and after: a glottal period or the closure of a plosive is no pause


class Activity(Loss):
    """`activity_error` of the network's activity head, nats a hop, mean over its sources.

    The trunk learns from it too. `floor`, dB under the mixture: a softer source counts as not there.
    """

    per_source = False

    def __init__(self, setup: Setup, floor: float = 50.0):
        super().__init__(setup)
        if not setup.activity:
            raise ValueError("activity needs a network that has an activity head (network.activity: true).")
        self.floor = 10 ** (-floor / 10)

    def forward(self, context: Context) -> Tensor:
        assert context.activity is not None
        waves = torch.stack([context.references[name].waves for name in self.setup.sources], 1)
        waves = waves.square().mean(2).sqrt() if waves.shape[2] > 1 else waves[:, :, 0]
        return activity_error(context.activity, waves, self.floor)


def active_hops(sources: Tensor, hops: int, floor: float = FLOOR) -> Tensor:
    """Sources `[batch, sources, samples]` at the mixture's RMS of one → 1.0 or 0.0 `[batch, hops, sources]`.

    What is softer than `floor` (mean square) is not there.
    """
    power = sources.unflatten(-1, (hops, -1)).square().mean(-1)
    around = F.max_pool1d(power, 2 * HANGOVER + 1, stride=1, padding=HANGOVER)
    threshold = (power.amax(-1, keepdim=True) * 10 ** (-BELOW / 10)).clamp(min=floor)
    return (around > threshold).to(sources.dtype).transpose(1, 2)


def activity_error(logits: Tensor, sources: Tensor, floor: float = FLOOR) -> Tensor:
    """Binary cross-entropy, nats a hop, `[batch]`, of `logits` `[batch, hops, sources]` against `active_hops`."""
    labels = active_hops(sources, logits.shape[1], floor)
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean((1, 2))
