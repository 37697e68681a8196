"""What a recipe minimises: a weighted sum of parts over speech and noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.objectives.intelligibility import Intelligibility
from training.objectives.snr import thresholded_snr
from training.objectives.spectral import compressed_error, spectrum


@dataclass(frozen=True)
class ObjectiveSpec:
    """Weights of the parts; `noise` is λ of the joint masks (0: the noise mask is free)."""

    snr: float = 0.1  # per dB
    noise: float = 0.3
    spectral: float = 1.0
    complex_share: float = 0.3
    intelligibility: float = 0.5


class Objective(torch.nn.Module):
    """Loss of estimates `[batch, 2, samples]` against speech and noise `[batch, 2, samples]`.

    Returns the scalar loss and a dict of its parts (floats detached). Everything is brought to the mixture's RMS first,
    so that a quiet example weighs as much as a loud one.
    """

    def __init__(self, spec: ObjectiveSpec, rate: int):
        super().__init__()
        self.spec = spec
        self.intelligibility = Intelligibility(rate)

    def forward(self, estimate: Tensor, sources: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        spec = self.spec
        mixture = sources.sum(1)
        gain = 1 / (mixture.square().mean(-1).sqrt() + 1e-6)
        estimate, sources = estimate.float() * gain[:, None, None], sources * gain[:, None, None]
        mixture = mixture * gain[:, None]
        speech = thresholded_snr(estimate[:, 0], sources[:, 0], mixture)
        noise = thresholded_snr(estimate[:, 1], sources[:, 1], mixture)
        parts = {"snr": speech.mean(), "noise": noise.mean()}
        loss = spec.snr * (parts["snr"] + spec.noise * parts["noise"])
        if spec.spectral or spec.intelligibility:
            pairs, pairs_true = spectrum(estimate[:, 0]), spectrum(sources[:, 0])
            parts["spectral"] = compressed_error(pairs, pairs_true, spec.complex_share).mean()
            loss = loss + spec.spectral * parts["spectral"]
        if spec.intelligibility:
            # Only where there is speech: an absent voice has no intelligibility to lose.
            spoken = (sources[:, 0].square().mean(-1) > 1e-4).float()
            lost = self.intelligibility(pairs, pairs_true)
            parts["lost"] = (lost * spoken).sum() / spoken.sum().clamp(min=1)
            loss = loss + spec.intelligibility * parts["lost"]
        return loss, {name: value.detach() for name, value in parts.items()}
