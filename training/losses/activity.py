"""Voice activity: when is a source there? Labels from the clean sources, and the loss of a head that tells it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

BELOW = 30.0  # dB under the loudest hop: softer is the end of a room's tail, not speech
FLOOR = 1e-5  # mean square of a source that is there, with the mixture brought to RMS 1
BRIDGE = 3  # hops before and after: a glottal period or the closure of a plosive is no pause


def active_hops(sources: Tensor, hops: int, floor: float = FLOOR) -> Tensor:
    """Sources `[batch, sources, samples]` at the mixture's RMS of one → 1.0 or 0.0 `[batch, hops, sources]`.

    What is softer than `floor` (mean square) is not there.
    """
    power = sources.unflatten(-1, (hops, -1)).square().mean(-1)
    around = F.max_pool1d(power, 2 * BRIDGE + 1, stride=1, padding=BRIDGE)
    threshold = (power.amax(-1, keepdim=True) * 10 ** (-BELOW / 10)).clamp(min=floor)
    return (around > threshold).to(sources.dtype).transpose(1, 2)


def activity_error(logits: Tensor, sources: Tensor, floor: float = FLOOR) -> Tensor:
    """Binary cross-entropy, nats a hop, `[batch]`, of `logits` `[batch, hops, sources]` against `active_hops`."""
    labels = active_hops(sources, logits.shape[1], floor)
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean((1, 2))
