"""What a recipe for songs minimises: accompaniment and vocals in stereo. Nothing in it is about speech."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.losses.activity import activity_error
from training.losses.snr import thresholded_snr
from training.losses.spectral import compressed_error, spectrum
from training.losses.vocal_interference import voice_left
from training.network.stereo import turned

FAINT = 10**-3.0  # of the mixture's power


@dataclass(frozen=True)
class SongObjectiveSpec:
    """Weights of the parts; `vocals` is the weight of the vocals beside the accompaniment, whose weight is 1.

    An error is an error to the SNR, be it voice that is left or music that is lost; for whoever sings over it the voice
    that is left is the worse one. `left` weighs it by itself (see `voice_left`), down to 30 dB under
    the mixture.
    `ceiling` in dB: errors that far below the mixture count as none. A passage without vocals must be changed by less
    than −25 dB, so it lies above that. Pieces that nobody sings in count from the share `free_from` of the schedule on:
    while nothing is separated yet, leaving all as it is would be their whole lesson, and the masks would not come back
    from where they end then (training/LOG.md). `windows` of the compressed spectra, in samples; they are of middle and
    side, where an error of the side, small beside the middle and easily heard as a change of place, has a plane of its
    own. With `stretch` the SNR is that of so many seconds each (BSSEval scores seconds), so that what is done to a
    passage of little voice counts as much as what is done to the loud one beside it; 0 is a whole piece. A voice more
    than 30 dB under the mixture counts as not active.
    """

    snr: float = 0.1  # per dB
    vocals: float = 0.5
    left: float = 0.0  # per dB
    ceiling: float = 30.0
    stretch: float = 0.0  # s
    free_from: float = 0.0
    spectral: float = 10.0
    complex_share: float = 0.3
    windows: tuple[int, ...] = (2048, 512)
    activity: float = 0.0  # per nat

    def __post_init__(self) -> None:
        if not self.windows or any(window < 32 or window % 2 for window in self.windows):
            raise ValueError("windows of the spectra are even numbers of samples, 32 at least.")
        if not 0 <= self.stretch < float("inf"):
            raise ValueError(f"stretch is a number of seconds, or 0, not {self.stretch}.")


class SongObjective(torch.nn.Module):
    """Loss of estimates `[batch, 2, 2, samples]` against accompaniment and vocals `[batch, 2, 2, samples]`.

    Axes: source, channel. Mono songs lack the channel axis. Returns the scalar loss and a dict of its parts (detached).
    The SNR is over both channels together, so that the louder one counts for more and an empty one does no harm.
    Everything is brought to the mixture's RMS first.
    """

    def __init__(self, spec: SongObjectiveSpec, rate: int):
        super().__init__()
        self.spec = spec
        self.stretch = round(spec.stretch * rate)  # samples

    def late_at(self, progress: float) -> bool:
        """Whether pieces without vocals count at `progress`, the share of the schedule that is over (0 to 1)."""
        return progress >= self.spec.free_from

    def teach(self, estimate: Tensor, sources: Tensor, step: int, progress: float) -> None:
        """Nothing to teach."""

    def forward(
        self, estimate: Tensor, sources: Tensor, late: bool = True, activity: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        spec = self.spec
        if sources.ndim == 3:
            estimate, sources = estimate.unsqueeze(2), sources.unsqueeze(2)
        mixture = sources.sum(1)
        gain = 1 / (mixture.square().mean((1, 2)).sqrt() + 1e-6)
        estimate, sources = estimate.float() * gain[:, None, None, None], sources * gain[:, None, None, None]
        whole = mixture * gain[:, None, None]
        counted = torch.ones_like(gain)
        if not late:
            counted = (sources[:, 1].square().mean((1, 2)) > 1e-7).to(gain.dtype)
        counted = counted / counted.sum().clamp(min=1)
        parts, weights = {}, {"accompaniment": 1.0, "vocals": spec.vocals}
        loss = estimate.new_zeros(())
        for index, (name, weight) in enumerate(weights.items()):
            parts[name] = (self.snr(estimate[:, index], sources[:, index], whole) * counted).sum()
            loss = loss + spec.snr * weight * parts[name]
        if spec.spectral:
            for window in spec.windows:
                found = self.spectral(estimate, sources, counted, window, list(weights.values()))
                parts[f"spectral {window}"] = found
                loss = loss + spec.spectral / len(spec.windows) * found
        if spec.left:
            sung = (sources[:, 1].square().mean((1, 2)) > 1e-7).to(gain.dtype)
            left = voice_left(estimate[:, 0], sources, FAINT)
            parts["left"] = (left * sung).sum() / sung.sum().clamp(min=1)
            loss = loss + spec.left * parts["left"]
        if activity is not None and activity.shape[-1]:
            parts["activity"] = activity_error(activity, sources.square().mean(2).sqrt(), FAINT).mean()
            loss = loss + spec.activity * parts["activity"]
        return loss, {name: value.detach() for name, value in parts.items()}

    def snr(self, estimate: Tensor, source: Tensor, mixture: Tensor) -> Tensor:
        """Thresholded SNR of `[batch, channels, samples]` each, dB `[batch]`: mean over whole stretches."""
        length = min(self.stretch or mixture.shape[-1], mixture.shape[-1])

        def stretches(x: Tensor) -> Tensor:
            whole = x[..., : x.shape[-1] // length * length].unflatten(-1, (-1, length))
            return whole.transpose(1, 2).flatten(2).flatten(0, 1)

        errors = thresholded_snr(stretches(estimate), stretches(source), stretches(mixture), self.spec.ceiling)
        return errors.view(len(mixture), -1).mean(1)

    def spectral(self, estimate: Tensor, sources: Tensor, counted: Tensor, window: int, weights: list[float]) -> Tensor:
        """Compressed-spectrum error over middle and side of both sources, weighted; a scalar."""
        both = [waves if waves.shape[2] == 1 else turned(waves) / 2 for waves in (estimate, sources)]
        # Frames side by side: where a piece is cut is drawn anew each time, and overlap would double the work.
        found, true = (spectrum(waves.flatten(0, 2), window, window) for waves in both)
        error = compressed_error(found, true, self.spec.complex_share).view(estimate.shape[:3]).mean(2)
        error = (error * counted[:, None]).sum(0)
        return (error * error.new_tensor(weights)).sum() / sum(weights)


@torch.no_grad()
def song_scores(estimate: Tensor, sources: Tensor) -> dict[str, Tensor]:
    """Means over pieces, dB. Arguments as SongObjective, shapes with channels.

    Where both sources are: `sdr` of the accompaniment, its gain `sdri` over the mixture as it is, `suppression` of the
    vocals. Where nobody sings: `change`, the energy of what was changed beside the mixture; 25 dB below it is the aim.
    """
    power = sources.square().mean((2, 3))
    whole = sources.sum(1)
    error = (estimate[:, 0] - sources[:, 0]).square().mean((1, 2))
    both = (power > 1e-7).all(1)
    found: dict[str, Tensor] = {}
    if both.any():
        sdr = 10 * (power[both, 0] / error[both].clamp(min=1e-12)).log10()
        found["sdr"] = sdr.mean()
        found["sdri"] = (sdr - 10 * (power[both, 0] / power[both, 1]).log10()).mean()
        found["suppression"] = -voice_left(estimate[both, 0], sources[both]).mean()
    free = (power[:, 1] < 1e-10) & (power[:, 0] > 1e-7)
    if free.any():
        changed = (estimate[free, 0] - whole[free]).square().mean((1, 2))
        found["change"] = (10 * (changed.clamp(min=1e-12) / power[free, 0]).log10()).mean()
    return found
