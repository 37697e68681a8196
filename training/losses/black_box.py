"""Measures that have no gradient, such as PESQ itself: their slope is measured by small changes of the estimate.

Zhang, Zhang & Gao 2018, "Training supervised speech separation system to improve STOI and PESQ directly", ICASSP; with
random directions as by Spall 1992 (simultaneous perturbation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.losses.loss import Context, Loss, Setup, Sound, mono_only

Measure = Callable[[np.ndarray, np.ndarray], float]  # reference, estimate → higher is better, NaN where undefined
WINDOW, HOP, COARSE = 1024, 256, 16  # bins and frames that share a gain


class _Slope(torch.autograd.Function):
    """Value of a measure with a gradient that was measured beside it."""

    @staticmethod
    def forward(ctx: Any, estimate: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (slope,) = ctx.saved_tensors
        return gradient[:, None] * slope, None, None


def slope_along(measure: Callable[[Tensor], float], wave: Tensor, direction: Tensor) -> Tensor:
    """The part along `direction` of the gradient of `measure` at `wave`, `[samples]` each, by central differences."""
    power = float(direction.square().sum())
    difference = (measure(wave + direction) - measure(wave - direction)) / 2
    if power == 0 or not np.isfinite(difference):
        return torch.zeros_like(wave)
    return direction * (difference / power)


def random_gains(wave: Tensor, depth: float, draw: torch.Generator) -> Tensor:
    """What random gains of ±`depth`, one a patch of 16 × 16 bins of an STFT, would change of `wave` `[samples]`."""
    window = torch.hann_window(WINDOW, device=wave.device)
    spectrum = torch.stft(wave, WINDOW, HOP, window=window, return_complex=True)
    rows, columns = (-(-size // COARSE) for size in spectrum.shape)
    signs = torch.randint(0, 2, (rows, columns), generator=draw).float().mul(2).sub(1)
    gains = signs.repeat_interleave(COARSE, 0).repeat_interleave(COARSE, 1)[: spectrum.shape[0], : spectrum.shape[1]]
    return torch.istft(spectrum * (depth * gains).to(wave.device), WINDOW, HOP, window=window, length=len(wave))


class BlackBox(Loss):
    """1 − `measure` (`pesq` or `stoi`, brought to 0 to 1) of one source where it sounds, `[batch]`.

    Its gradient is measured along `directions` random changes of the gains of patches, of `depth`, twice the measure's
    time each: let it count only every so many steps.
    """

    present_above = 1e-4
    alone = True

    def __init__(self, setup: Setup, measure: str = "pesq", directions: int = 1, depth: float = 0.1):
        super().__init__(setup)
        mono_only(setup, "black_box")
        if measure not in ("pesq", "stoi") or directions < 1 or not 0 < depth < 1:
            raise ValueError("measure is pesq or stoi, directions are 1 or more, depth is between 0 and 1.")
        self.measure = _measure(measure, setup.sample_rate)
        self.directions, self.depth, self.calls = directions, depth, 0

    @torch.compiler.disable
    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        waves = estimate.waves[:, 0]
        values, slopes = [], []
        with torch.no_grad():
            draw = torch.Generator().manual_seed(self.calls)
            for wave, clean, counts in zip(waves, reference.waves[:, 0], self._due(reference), strict=True):
                found = self._measured(wave, clean, draw) if counts else (0.0, torch.zeros_like(wave))
                values.append(found[0])
                slopes.append(found[1])
        self.calls += 1
        return _Slope.apply(waves, waves.new_tensor(values), torch.stack(slopes))

    def _due(self, reference: Sound) -> list[bool]:
        return (reference.power > (self.present_above or 0)).tolist()

    def _measured(self, wave: Tensor, clean: Tensor, draw: torch.Generator) -> tuple[float, Tensor]:
        true = clean.double().cpu().numpy()

        def cost(heard: Tensor) -> float:
            return 1 - self.measure(true, heard.double().cpu().numpy())

        value = cost(wave)
        if not np.isfinite(value):
            return 0.0, torch.zeros_like(wave)
        ways = [random_gains(wave, self.depth, draw) for _ in range(self.directions)]
        return value, torch.stack([slope_along(cost, wave, way) for way in ways]).mean(0)


def _measure(name: str, rate: int) -> Measure:
    from training.evaluation import speech_metrics  # the packages are needed by this loss only

    if name == "stoi":
        return lambda reference, estimate: speech_metrics.stoi(reference, estimate, rate)
    return lambda reference, estimate: (speech_metrics.pesq_wb(reference, estimate, rate) - 1.0) / 3.64
