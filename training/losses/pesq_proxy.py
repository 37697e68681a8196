"""A differentiable measure after ITU-T P.862 (Rix et al., ICASSP 2001) with the wide-band map of P.862.2.

Written from the recommendation's formulas for batches on any device: whole signals are filtered, aligned in level and
brought to 16 kHz by one FFT, so that there is no recursion over samples. What the recommendation has and this has not:
estimates of delay (training pairs are aligned), the second look at frames that fit badly (disturbance above 30), the
lower weight of what lies longer than 16 s back. `benchmarks/pesq_proxy.py` measures how close it stays to `pesq`.

A network trained on such a measure alone learns to please it and wrecks the sound (de Oliveira et al. 2024, arXiv
2406.03460): use it late, with a small weight, beside a signal-level objective.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from training.losses.loss import Context, Loss, Setup, Sound, mono_only

RATE, FRAME, HOP = 16000, 512, 256  # P.862 frames: 32 ms, half overlapping
POWER = 1e7  # mean power of both signals between 350 and 3250 Hz after level alignment
FLOOR = 1e-9  # mean power of a signal in ±1 (−90 dB) below which it is no longer amplified to POWER
PADDING = 5120  # samples of silence that the recommendation appends; they count in every mean
SPECTRAL_SCALE, LOUDNESS_SCALE = 6.910853e-6, 1.866055e-1  # Sp and Sl of the recommendation at 16 kHz
SYLLABLE = 20  # frames; every 10 frames begins another

# The 49 bands of P.862 at 16 kHz: bins of 31.25 Hz in each, its local Hz per Bark, and its hearing threshold in dB.
BINS = [1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2]
BINS += [3, 3, 3, 3, 4, 3, 4, 5, 4, 5, 6, 6, 7, 8, 9, 9, 12, 12, 15, 16, 18, 21, 25, 20]
HERTZ_PER_BARK = [100.0] * 14 + [106.1, 110.0, 118.0, 130.0, 137.5, 140.0, 142.9, 150.0, 153.7, 161.9, 177.3, 191.6]
HERTZ_PER_BARK += [204.5, 217.6, 226.8, 233.5, 242.9, 256.5, 271.9, 295.3, 322.2, 355.1, 393.1, 429.8, 465.2, 513.0]
HERTZ_PER_BARK += [577.1, 651.7, 733.4, 826.2, 909.6, 1001.3, 1115.9, 1374.6, 1590.9]
THRESHOLD = [77.1, 63.9, 48.5, 36.9, 30.7, 25.9, 20.2, 16.6, 12.5, 9.9, 6.9, 4.9, 2.8, 1.0, -0.1, -1.4, -2.5, -3.4]
THRESHOLD += [-4.1, -4.8, -5.3, -5.7, -5.9, -6.0, -6.0, -6.0, -6.0, -5.8, -5.4, -5.1, -4.7, -4.3, -4.0, -3.6, -3.3]
THRESHOLD += [-3.1, -3.0, -3.0, -2.9, -2.8, -2.8, -2.8, -2.9, -3.2, -3.7, -4.3, -4.4, -3.8, -2.7]


def bark_edges() -> Tensor:
    """Edges of the bands in Bark, float32 `[50]`: a closed form that meets the recommendation's table to 2e-4."""
    index = torch.arange(50, dtype=torch.float64)
    edges = 42.2991 * torch.expm1(0.01018763 * (index - 0.5)) - 0.1174118 * index + 0.0589041
    edges[0] = 0.0
    return edges.float()


def mos(raw: Tensor) -> Tensor:
    """P.862.2: the raw score (4.5 at best) on the scale of listeners, 1.0 to 4.64."""
    return 0.999 + 4 / (1 + torch.exp(-1.3669 * raw + 3.8224))


class PesqProxy(torch.nn.Module):
    """How disturbed `estimate` sounds beside `reference`, both `[batch, samples]` in ±1 at `rate` Hz → `[batch]`.

    `forward` gives the disturbance 0.1·D + 0.0309·DA in points of the raw score: 0 is perfect, lower is better, and it
    stays steep where the listeners' scale is flat. `score` gives MOS-LQO, to compare with `pesq(…, "wb")`. Gradients
    reach the estimate; they are finite for silence, clipping and any length from one frame (32 ms) on.
    Raises ValueError for a rate that is neither 16 nor 48 kHz.
    """

    window: Tensor
    bands: Tensor
    width: Tensor
    threshold: Tensor
    exponent: Tensor

    def __init__(self, rate: int):
        super().__init__()
        if rate not in (RATE, 3 * RATE):
            raise ValueError(f"The PESQ proxy works at 16000 or 48000 Hz, not {rate}.")
        self.rate = rate
        edges = bark_edges()
        centre = (edges[1:] + edges[:-1]) / 2
        bins = torch.tensor(BINS)
        of_bin = torch.repeat_interleave(torch.arange(len(BINS)), bins)  # the band of each of the 256 bins
        bands = F.one_hot(of_bin).float() * (SPECTRAL_SCALE * torch.tensor(HERTZ_PER_BARK) / bins)
        bands[0] = 0  # no constant part
        exponent = 0.23 * (6 / (centre + 2)).clamp(1, 2) ** 0.15  # Zwicker's, raised below 4 Bark
        constants = {
            "window": torch.hann_window(FRAME),
            "bands": bands,
            "width": edges.diff()[1:],
            "threshold": 10 ** (torch.tensor(THRESHOLD) / 10),
            "exponent": exponent,
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def score(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """MOS-LQO `[batch]`, 1.0 to 4.64; arguments as `forward`."""
        return mos(4.5 - self(estimate, reference))

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        with torch.autocast(estimate.device.type, enabled=False):
            both = torch.stack([estimate.float(), reference.float()])
            aligned = self._aligned(both)
            frames = aligned.unfold(-1, FRAME, HOP) * self.window
            power = torch.view_as_real(torch.fft.rfft(frames)[..., : FRAME // 2]).square().sum(-1)
            degraded, clean = (power @ self.bands).unbind(0)  # [batch, frames, bands]
            clean = self._equalised(clean, degraded, aligned.shape[-1])
            heard = self._audible(clean, 1.0)
            degraded = degraded * self._gain(heard, self._audible(degraded, 1.0)).unsqueeze(-1)
            symmetric, asymmetric = self._disturbances(degraded, clean)
            weight = ((heard + 1e5) / 1e7) ** 0.04  # what happens in loud frames counts less
            begin, end = self._spoken(aligned[1])
            symmetric, asymmetric = (
                over_time((part / weight).clamp(max=45), begin, end) for part in (symmetric, asymmetric)
            )
            return 0.1 * symmetric + 0.0309 * asymmetric

    def _aligned(self, waves: Tensor) -> Tensor:
        """Signals `[…, samples]` at 16 kHz, level-aligned and high-passed, followed by at least two frames of rest."""
        factor = self.rate // RATE
        length = -(-waves.shape[-1] // factor)
        padded = -(-(length + 2 * FRAME) // 1024) * 1024
        fade = (torch.arange(waves.shape[-1], device=waves.device) / (16 * factor)).clamp(max=1)
        spectrum = torch.fft.rfft(waves * (fade * fade.flip(-1)), padded * factor)[..., : padded // 2 + 1]
        hertz = torch.arange(padded // 2 + 1, device=waves.device) * (RATE / padded)
        telephone = 10 ** (-(350 - hertz).clamp(0, 30) - 0.2 * (hertz - 3250).clamp(0, 150))
        energy = torch.view_as_real(spectrum).square().sum(-1) @ telephone * (2 / padded / factor**2)
        gain = (POWER / (energy / (length + PADDING) + FLOOR)).sqrt()
        response = high_pass(hertz) / factor
        if factor > 1:  # what a resampler to 16 kHz leaves below half of it
            response = response * (0.5 + 0.5 * torch.cos(math.pi * ((hertz - 7400) / 600).clamp(0, 1)))
        return torch.fft.irfft(spectrum * response, padded)[..., : length + FRAME] * gain.unsqueeze(-1)

    def _audible(self, power: Tensor, factor: float) -> Tensor:
        """Power of a frame in the bands above `factor` × threshold, the lowest left out: `[…, bands]` → `[…]`."""
        return (power * (power > factor * self.threshold))[..., 1:].sum(-1)

    def _equalised(self, clean: Tensor, degraded: Tensor, samples: int) -> Tensor:
        """The reference with the estimate's long-term spectrum: colouring that is constant is hardly heard."""
        spoken = (self._audible(clean, 100.0) >= 1e7).unsqueeze(-1)
        total = (samples - FRAME + PADDING) // HOP - 1
        mean = [(part * (spoken & (part > 100 * self.threshold))).sum(-2) / total for part in (degraded, clean)]
        return clean * ((mean[0] + 1000) / (mean[1] + 1000)).clamp(0.01, 100).unsqueeze(-2)

    @staticmethod
    def _gain(clean: Tensor, degraded: Tensor) -> Tensor:
        """Gain of each frame `[batch, frames]` that follows the reference's level, smoothed over time by a recursion of
        coefficient 0.2, here its first eight terms (the ninth is below 1e-5)."""
        ratio = (clean + 5e3) / (degraded + 5e3)
        terms = 0.8 * 0.2 ** torch.arange(8, device=ratio.device).float()
        terms[-1] /= 0.8  # the rest of the sum
        smooth = F.conv1d(F.pad(ratio.unsqueeze(1), (7, 0), mode="replicate"), terms.flip(0).view(1, 1, -1))
        return smooth.squeeze(1).clamp(3e-4, 5)

    def _loudness(self, power: Tensor) -> Tensor:
        """Zwicker's loudness, sone per Bark."""
        grown = (0.5 + 0.5 * power / self.threshold) ** self.exponent - 1
        return LOUDNESS_SCALE * (2 * self.threshold) ** self.exponent * grown.clamp(min=0)

    def _disturbances(self, degraded: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Symmetric and asymmetric disturbance of each frame, `[batch, frames]`."""
        loud, loud_true = self._loudness(degraded), self._loudness(clean)
        # Small differences are masked; what is added is heard as a sound of its own, what is missing only as a lack.
        audible = ((loud - loud_true).abs() - 0.25 * torch.minimum(loud, loud_true)).clamp(min=0)[..., 1:]
        symmetric = norm(audible * self.width, 2)
        ratio = ((degraded + 50) / (clean + 50))[..., 1:].clamp(max=8) ** 1.2  # 8 ** 1.2 = 12.1
        asymmetry = torch.where(ratio < 3, 0.0, ratio.clamp(max=12))
        asymmetric = (audible * asymmetry * self.width).sum(-1)
        return symmetric * self.width.sum().sqrt(), asymmetric

    @staticmethod
    def _spoken(clean: Tensor) -> tuple[Tensor, Tensor]:
        """First and last frame `[batch]` that count: the reference's silence at both ends does not."""
        loud = F.avg_pool1d(clean.detach().abs().unsqueeze(1), 5, 1).squeeze(1) >= 100
        # Not by argmax, whose compiled form was once seen to give an index outside. Without a loud sample the
        # remainders make 0 and count − 1: every frame counts.
        count = loud.shape[-1]
        place = torch.arange(count, device=loud.device)
        first = torch.where(loud, place, count).amin(-1) % count
        last = torch.where(loud, place, -1).amax(-1) % count
        begin = first // HOP
        return begin, torch.maximum((last + 5) // HOP - 1, begin).clamp(max=(clean.shape[-1] - FRAME) // HOP)


def high_pass(hertz: Tensor) -> Tensor:
    """The input filter of P.862.2 at 16 kHz as a complex response `[bins]`: flat above some 100 Hz."""
    delay = torch.polar(torch.ones_like(hertz), -2 * math.pi / RATE * hertz)
    over = 2.740826 - 5.4816519 * delay + 2.740826 * delay**2
    return over / (1 - 1.9444777 * delay + 0.94597794 * delay**2)


def norm(values: Tensor, power: int) -> Tensor:
    """(Σ|x|^p)^(1/p) over the last axis; safe in float32 for any size, zero gradient where all is zero."""
    peak = values.detach().amax(-1, keepdim=True).clamp(min=1e-3)
    return peak.squeeze(-1) * ((values / peak) ** power).sum(-1).add(1e-12) ** (1 / power)


def over_time(frames: Tensor, begin: Tensor, end: Tensor) -> Tensor:
    """Disturbances `[batch, frames]` from frame `begin` to `end` (both counted) → `[batch]`.

    L6 over each syllable of 20 frames, so that its worst moment decides, then L2 over the syllables.
    """
    count = frames.shape[-1]
    start = begin.unsqueeze(-1) + torch.arange(0, count, SYLLABLE // 2, device=frames.device)  # [batch, syllables]
    index = start.unsqueeze(-1) + torch.arange(SYLLABLE, device=frames.device)
    inside = index <= end[:, None, None]
    parts = frames.gather(-1, index.clamp(max=count - 1).flatten(1)).unflatten(-1, index.shape[1:]) * inside
    syllables = norm(parts, 6) * SYLLABLE ** (-1 / 6)
    used = start <= end.unsqueeze(-1)
    return norm(syllables * used, 2) / used.sum(-1).sqrt()


class PesqProxyLoss(Loss):
    """`PesqProxy` of one source, in points of the raw score; only where it sounds: silence has no quality to lose."""

    present_above = 1e-4

    def __init__(self, setup: Setup):
        super().__init__(setup)
        mono_only(setup, "pesq_proxy")
        self.measure = PesqProxy(setup.sample_rate)

    def forward(self, estimate: Sound, reference: Sound, context: Context) -> Tensor:
        return self.measure(estimate.waves[:, 0], reference.waves[:, 0])
