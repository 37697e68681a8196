"""What every loss is given and gives back: the contract of this folder.

A loss is one file with one class, derived from `Loss`, and one line in `training.losses.catalogue.LOSSES`. Its options
are the keyword arguments of `__init__` behind `setup`, with their defaults; what a recipe says is checked against them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from training.losses.spectrum import spectrum

PRESENT = 1e-7  # mean square of a source that sounds at all, with the mixture brought to RMS 1


class Sound:
    """One source of a batch, `waves` float32 `[batch, channels, samples]`, and its spectra, computed once for all."""

    def __init__(self, waves: Tensor):
        self.waves = waves
        self._spectra: dict[tuple[int, int], Tensor] = {}

    @property
    def power(self) -> Tensor:
        """Mean square over channels and samples, `[batch]`."""
        return self.waves.square().mean((1, 2))

    def spectrum(self, window: int = 1024, hop: int = 512) -> Tensor:
        """STFT as reals, `[batch, channels, 2, frames, window // 2 + 1]`; of stereo, of middle and side.

        There an error of the side, small beside the middle and easily heard as a change of place, has a plane of its
        own.
        """
        if (window, hop) not in self._spectra:
            waves = self.waves
            if waves.shape[1] == 2:
                left, right = waves.unbind(1)
                waves = torch.stack([left + right, left - right], 1) / 2
            self._spectra[window, hop] = spectrum(waves.flatten(0, 1), window, hop).unflatten(0, waves.shape[:2])
        return self._spectra[window, hop]


@dataclass(frozen=True)
class Setup:
    """What a loss is built for: the network's outputs, the task's sources, rate (Hz), hop (samples), piece (s)."""

    sources: tuple[str, ...]  # what the network puts out, in its order
    references: tuple[str, ...]  # what the task's mixtures are made of, in its order
    sample_rate: int = 48000
    hop: int = 128
    audio_channels: int = 1
    channels: int = 80  # width of the trunk
    seconds: float = 2.56  # of a piece that count
    activity: bool = False  # the network has an activity head
    exact_sum: bool = False  # the estimates sum to the mixture by construction


@dataclass
class Context:
    """One batch, every sound at the mixture's RMS of one.

    `activity`: logits `[batch, hops, sources]`, if there are. `trunk` `[batch, hops + 1, channels]`: what the separator
    makes of the mixture, and all masks are made of; its frames are those of `spectrum(2 * setup.hop, setup.hop)`.
    """

    mixture: Sound
    estimates: dict[str, Sound]
    references: dict[str, Sound]
    activity: Tensor | None = None
    trunk: Tensor | None = None


class Loss(torch.nn.Module):
    """`forward(estimate, reference, context)` → one value an example, `[batch]`; lower is better.

    `estimate` and `reference` are the `Sound` of one source that the recipe names with `of`; of several, each is
    compared and the values are summed. A loss of the whole (`per_source = False`) takes no `of` and is called as
    `forward(context)`; a `wrapper` as `forward(estimates, references, context)`, sequences of all that `of` names.
    `counted` says which examples have a value at all; the batch's is the mean over those.

    A loss may have weights. Those that ask for a gradient, such as a head of its own on `context.trunk`, learn with the
    network: they are in checkpoints, and never in an exported model. Those that must not are frozen
    (`requires_grad_(False)`); what learns otherwise, as a critic does, has an `update` and an optimiser of its own.
    """

    per_source: ClassVar[bool] = True
    wrapper: ClassVar[bool] = False  # its second argument, `around`, are the losses that it stands around
    present_above: ClassVar[float | None] = None  # a reference fainter than this (mean square) has no value
    alone: ClassVar[bool] = False  # it is of one source: several have an entry each
    reaches_all: ClassVar[bool] = False  # of a loss of the whole: every source that the network puts out learns by it
    update_every: ClassVar[int] = 0  # steps from one `update` to the next, of a loss that learns
    update_lead: ClassVar[float] = 0.0  # share of the schedule by which updates begin before the loss counts

    def __init__(self, setup: Setup):
        super().__init__()
        self.setup = setup

    def counted(self, reference: Sound, context: Context) -> Tensor | None:
        """Which examples count, bool `[batch]`; None: all."""
        return None if self.present_above is None else reference.power > self.present_above

    def update(self, estimate: Tensor, reference: Tensor, mixture: Tensor) -> object:
        """One step of a loss that learns, from signals `[batch, channels, samples]` as they are."""
        raise NotImplementedError


def mono_only(setup: Setup, name: str) -> None:
    """Raises ValueError with one sentence for a network of two channels."""
    if setup.audio_channels != 1:
        raise ValueError(f"{name} is a measure of one channel, and the network has {setup.audio_channels}.")


class WeightedSum(torch.nn.Module):
    """What a wrapper stands around: the weighted sum of losses of one estimate and one reference, `[batch]`.

    An example without a value (see `Loss.counted`) adds nothing.
    """

    def __init__(self, losses: Sequence[Loss], weights: Sequence[float]):
        super().__init__()
        self.losses, self.weights = torch.nn.ModuleList(losses), list(weights)

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        total = estimate.waves.new_zeros(len(estimate.waves))
        for loss, weight in zip(self.losses, self.weights, strict=True):
            assert isinstance(loss, Loss)
            counted = loss.counted(reference, context)
            value = loss(estimate, reference, context)
            total = total + weight * (value if counted is None else value * counted)
        return total
