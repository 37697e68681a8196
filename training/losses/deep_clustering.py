"""Deep clustering (Hershey et al. 2016, arXiv 1508.04306): bins that one source is loudest in lie close together.

Used as Chimera networks use it (Luo et al. 2017, arXiv 1611.06265): masks separate, and the trunk that they are made of
learns from embeddings of the bins as well. The head that makes the embeddings is the loss's own and never exported.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.losses.loss import Context, Loss, Setup, Sound


class DeepClustering(Loss):
    """`affinity_error` of embeddings of `size` numbers, one a bin of a spectrum whose window is two hops, `[batch]`.

    Bins more than `floor` dB under the loudest one of the mixture do not count.
    """

    per_source = False

    def __init__(self, setup: Setup, size: int = 20, floor: float = 40.0):
        super().__init__(setup)
        if size < 1 or len(setup.references) < 2:
            raise ValueError("it needs a size of one number at least, and mixtures of two sources at least.")
        self.size, self.floor = size, 10 ** (-floor / 10)
        with torch.random.fork_rng(devices=[]):  # the network's own start must not depend on the head's
            torch.manual_seed(0)
            self.head = nn.Linear(setup.channels, (setup.hop + 1) * size)

    def forward(self, context: Context) -> Tensor:
        assert context.trunk is not None
        embeddings = F.normalize(self.head(context.trunk).unflatten(-1, (-1, self.size)), dim=-1)
        powers = torch.stack([self.powers(sound) for sound in context.references.values()], -1)
        mixture = self.powers(context.mixture)
        counted = mixture > self.floor * mixture.amax((1, 2), keepdim=True)
        loudest = F.one_hot(powers.argmax(-1), powers.shape[-1]).to(embeddings.dtype)
        return affinity_error(embeddings.flatten(1, 2), loudest.flatten(1, 2), counted.flatten(1))

    def powers(self, sound: Sound) -> Tensor:
        """`[batch, hops + 1, bins]`, of stereo the sum of middle and side."""
        return sound.spectrum(2 * self.setup.hop, self.setup.hop).square().sum((1, 2))


def affinity_error(embeddings: Tensor, labels: Tensor, counted: Tensor) -> Tensor:
    """`|VVᵀ − YYᵀ|² / N²`, the mean squared error over all pairs of the N bins that are `counted`, `[batch]`.

    V: `embeddings` `[batch, bins, size]` of length one; Y: `labels` `[batch, bins, sources]`, one-hot; `counted` bool
    `[batch, bins]`. Computed as `|VᵀV|² − 2|VᵀY|² + |YᵀY|²`: no matrix is as large as the number of pairs. Zero is
    best, and what an example has in which nothing counts.
    """
    weight = counted.unsqueeze(-1) / counted.sum(1).clamp(min=1).sqrt()[:, None, None]
    v, y = embeddings * weight, labels * weight
    return sum_of_squares(v, v) - 2 * sum_of_squares(v, y) + sum_of_squares(y, y)


def sum_of_squares(one: Tensor, other: Tensor) -> Tensor:
    """`|AᵀB|²` of `[batch, bins, a]` and `[batch, bins, b]`, `[batch]`."""
    return (one.mT @ other).square().sum((1, 2))
