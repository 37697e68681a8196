"""What a recipe minimises: a weighted sum of parts over speech and noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.losses.activity import activity_error
from training.losses.metricgan import LearnedProxy
from training.losses.one_minus_estoi import Intelligibility
from training.losses.pesq_proxy import PesqProxy
from training.losses.snr import thresholded_snr
from training.losses.spectral import compressed_error, spectrum

PROXIES: dict[str, type[PesqProxy] | type[LearnedProxy]] = {"pesq": PesqProxy, "metricgan": LearnedProxy}
LEAD = 0.1  # share of the schedule that a learned proxy learns before it teaches
LESSON = 4  # steps from one of its lessons to the next


@dataclass(frozen=True)
class ObjectiveSpec:
    """Weights of the parts; `noise` is λ of the joint masks (0: the noise mask is free).

    `consistency` punishes estimates that do not sum to the mixture. `activity` is for networks with such a head, which
    also learns from it through the trunk. `perceptual` weighs the `proxy` for PESQ,
    from the share `perceptual_from` of the schedule on: early or alone it wrecks the sound.
    """

    snr: float = 0.1  # per dB
    noise: float = 0.3
    spectral: float = 1.0
    complex_share: float = 0.3
    intelligibility: float = 0.5
    consistency: float = 0.0  # per dB
    activity: float = 0.0  # per nat
    perceptual: float = 0.0
    perceptual_from: float = 0.7
    proxy: str = "pesq"  # the measure of P.862, or a critic that learns from it: "metricgan"

    def __post_init__(self) -> None:
        if not 0 <= self.perceptual_from <= 1:
            raise ValueError(f"perceptual_from is a share of the schedule, 0 to 1, not {self.perceptual_from}.")
        if self.proxy not in PROXIES:
            raise ValueError(f"proxy must be one of {sorted(PROXIES)}, not {self.proxy!r}.")


class Objective(torch.nn.Module):
    """Loss of estimates `[batch, 2, samples]` against speech and noise `[batch, 2, samples]`.

    Estimates of speech alone, `[batch, 1, samples]` (K = 1), have no noise and no consistency part. Returns the scalar
    loss and a dict of its parts (floats detached). Everything is brought to the mixture's RMS first, so that a quiet
    example weighs as much as a loud one. `activity` are the logits `[batch, hops, sources]` of a network that has the
    head. `late` says that the schedule has come to the perceptual part: see `late_at`.
    """

    def __init__(self, spec: ObjectiveSpec, rate: int):
        super().__init__()
        self.spec = spec
        self.intelligibility = Intelligibility(rate)
        self.perceptual = PROXIES[spec.proxy](rate) if spec.perceptual else None

    def late_at(self, progress: float) -> bool:
        """Whether the perceptual part counts at `progress`, the share of the schedule that is over (0 to 1)."""
        return self.perceptual is not None and progress >= self.spec.perceptual_from

    def teach(self, estimate: Tensor, sources: Tensor, step: int, progress: float) -> None:
        """Lets a learned proxy learn from the network's own output, every few steps and some time ahead of its part."""
        due = step % LESSON == 0 and progress >= self.spec.perceptual_from - LEAD
        if due and isinstance(self.perceptual, LearnedProxy):
            self.perceptual.teach(estimate[:, 0].detach(), sources[:, 0], sources.sum(1))

    def forward(
        self, estimate: Tensor, sources: Tensor, late: bool = False, activity: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        spec = self.spec
        mixture = sources.sum(1)
        gain = 1 / (mixture.square().mean(-1).sqrt() + 1e-6)
        estimate, sources = estimate.float() * gain[:, None, None], sources * gain[:, None, None]
        mixture = mixture * gain[:, None]
        speech = thresholded_snr(estimate[:, 0], sources[:, 0], mixture)
        parts = {"snr": speech.mean()}
        if joint := estimate.shape[1] > 1:
            parts["noise"] = thresholded_snr(estimate[:, 1], sources[:, 1], mixture).mean()
            loss = spec.snr * (parts["snr"] + spec.noise * parts["noise"])
        else:
            loss = spec.snr * parts["snr"]
        if joint and spec.consistency:
            parts["consistency"] = thresholded_snr(estimate.sum(1), mixture, mixture).mean()
            loss = loss + spec.consistency * parts["consistency"]
        if spec.spectral or spec.intelligibility:
            pairs, pairs_true = spectrum(estimate[:, 0]), spectrum(sources[:, 0])
            parts["spectral"] = compressed_error(pairs, pairs_true, spec.complex_share).mean()
            loss = loss + spec.spectral * parts["spectral"]
        # Only where there is speech: an absent voice has no intelligibility to lose, and no quality.
        spoken = (sources[:, 0].square().mean(-1) > 1e-4).float()
        if spec.intelligibility:
            lost = self.intelligibility(pairs, pairs_true)
            parts["lost"] = (lost * spoken).sum() / spoken.sum().clamp(min=1)
            loss = loss + spec.intelligibility * parts["lost"]
        if self.perceptual is not None and late:
            disturbed = self.perceptual(estimate[:, 0], sources[:, 0])
            parts["perceptual"] = (disturbed * spoken).sum() / spoken.sum().clamp(min=1)
            loss = loss + spec.perceptual * parts["perceptual"]
        if activity is not None and activity.shape[-1]:
            parts["activity"] = activity_error(activity, sources[:, : activity.shape[-1]]).mean()
            loss = loss + spec.activity * parts["activity"]
        return loss, {name: value.detach() for name, value in parts.items()}
