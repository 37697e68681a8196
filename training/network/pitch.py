"""The sound one pitch period earlier, and two: what is periodic is the same there, and noise is not.

A voiced sound repeats itself; a mean over periods keeps it and averages noise away, in all bins alike, with nothing to
be learnt but how much of each to take. RNNoise (Valin 2018, arXiv 1709.08243) and PercepNet (Valin et al. 2020, arXiv
2008.04259) filter along the pitch in this way, and hear how coherent each band is with its past.

The period is the lag of the highest autocorrelation. Where two are almost equal, rounding would decide, and a step
graph would choose another than the sequence form; so what is correlated is rounded to 8 bits first: sums are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from training.network.spec import NetworkSpec

RATE = 6000  # Hz, about: of what is correlated
CORRELATED_S = 128 / 6000  # seconds
HIGHEST_HZ, LOWEST_HZ = 500.0, 62.5
TOP_HZ = 8000.0  # bins above get nothing of earlier periods
BANDS = 24  # of coherence, up to TOP_HZ
LOUDNESS, LOUDEST = 24.0, 127.0  # what is correlated: its root mean square, and its limit
PENALTY = 0.02  # an octave of the lag: of two periods and one, the one
RUMBLE_S = 32 / 6000  # seconds; slower than this is taken away first, or hum and rumble would be the period
# Features: three times the correlation, and the octaves of the lag above or below 5.3 ms, twofold.
CORRELATION_SCALE, LAG_SCALE, MIDDLE_S = 3.0, 2.0, 256 / 48000


class Pitch(nn.Module):
    """Finds the period of the newest sound and reads the short window so many periods earlier.

    All that it computes is fixed; nothing is learnt here. `past` is how many of the newest samples it needs. In stereo
    the period is that of the middle, where a lead voice lies, and both middle and side are read.

    With a look-ahead it is read twice: before the newest sound, which the features tell of, and before the frame that
    is masked, `lookahead` samples ago, by the period that is known since.
    """

    bands: Tensor
    penalty: Tensor
    ones: Tensor

    def __init__(self, spec: NetworkSpec):
        super().__init__()
        rate, self.size, self.frames = spec.sample_rate, spec.synthesis_window, spec.pitch_frames
        self.hop, self.channels, self.lookahead = spec.hop, spec.audio_channels, spec.lookahead
        self.fold = next(n for n in range(max(1, round(rate / RATE)), 0, -1) if self.hop % n == 0)
        slow = rate / self.fold
        self.correlated = round(CORRELATED_S * slow)
        self.doublings = max(1, round(math.log2(RUMBLE_S * slow)))
        self.middle = MIDDLE_S * rate
        self.shortest, self.longest = round(slow / HIGHEST_HZ), round(slow / LOWEST_HZ)
        reach = self.frames * self.fold * (self.longest + 1) + self.size + self.lookahead
        samples = max(self.fold * (self.correlated + self.longest + 1), reach)
        self.past = -(-samples // self.hop) * self.hop
        lags = torch.arange(self.longest + 1, self.shortest - 2, -1, dtype=torch.float32)  # in the order of a `Conv`
        self.register_buffer("penalty", PENALTY * lags.log2(), persistent=False)
        self.register_buffer("ones", torch.ones(1, 1, self.correlated), persistent=False)
        self.bins = min(self.size // 2 + 1, round(TOP_HZ * self.size / rate))
        self.register_buffer("bands", _bands(self.bins, rate / self.size), persistent=False)

    @property
    def features(self) -> int:
        """Numbers that it gives to the separator: coherence by band of each frame, the correlation, the lag."""
        return self.channels * self.frames * BANDS + 2

    @property
    def products(self) -> int:
        """Multiply-adds of a hop: two correlations, and the bands of coherence."""
        lags = self.longest - self.shortest + 3
        return 2 * lags * self.correlated + self.channels * (1 + 2 * self.frames) * self.bands.numel()

    @torch.compiler.disable  # nothing of it learns
    @torch.no_grad()
    def forward(self, wave: Tensor, count: int, offset: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Of `wave` `[batch, (2,) samples]`, for `count` frames of which the first ends with the first hop.

        Of each frame's past its own `offset` `[batch, count, (2)]` is taken away.

        Gives the short windows so many periods earlier, float32 `[batch, count, (2,) frames, size]`, the features of
        correlation and lag, `[batch, count, 2]`, and with a look-ahead the windows before the frames that are masked,
        which are so many fewer; else None.
        """
        stereo = self.channels == 2
        padded = F.pad(wave.float(), (self.past - self.hop, self.hop))
        middle = padded[:, 0] if stereo else padded
        slow = middle.unflatten(-1, (-1, self.fold)).sum(-1).unfold(-1, self.past // self.fold, self.hop // self.fold)
        slow = slow[:, :count]
        if offset is not None:
            slow = slow - self.fold * (offset[..., 0] if stereo else offset).unsqueeze(-1)
        found = self._correlated(self._rounded(slow))
        lag, known = self._chosen(*found, lambda values, at: values.gather(-1, at))
        begins = torch.arange(count, device=wave.device) * self.hop + self.past - self.size
        first = begins.unsqueeze(-1) - self._multiples(lag)
        windows = self._read(padded, first, offset)
        if not self.lookahead:
            return windows, known, None
        late = self.lookahead // self.hop
        return windows, known, self._read(padded, first - self.lookahead, offset)[:, late:]

    def _read(self, sound: Tensor, first: Tensor, offset: Tensor | None) -> Tensor:
        """Windows of `sound` `[batch, (2,) samples]` from `first` `[batch, count, frames]` on, less the offset."""
        index = first.long().unsqueeze(-1) + torch.arange(self.size, device=sound.device)
        index = index.clamp(0, sound.shape[-1] - 1)  # of NaN, anything
        channels = sound.unbind(1) if self.channels == 2 else (sound,)
        read = [channel.gather(1, index.flatten(1)).view(index.shape) for channel in channels]
        windows = torch.stack(read, 2) if self.channels == 2 else read[0]
        return windows if offset is None else windows - offset[..., None, None]

    def step(self, past: Tensor, offset: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """The same of the newest samples `[1, (2,) past]` and an `offset` `[(2)]` or `[1]`.

        Gives `[1, (2,) frames, size]`, `[1, 2]`, and `[1, (2,) frames, size]` or None.
        """
        stereo = self.channels == 2
        slow = (past[:, 0] if stereo else past).unflatten(-1, (-1, self.fold)).sum(-1)
        if offset is not None:
            slow = slow - self.fold * (offset[:1] if stereo else offset)
        sound = self._rounded(slow)
        newest = sound[:, -self.correlated :]
        reached = sound[:, -self.correlated - self.longest - 1 : sound.shape[1] - self.shortest + 1].unsqueeze(1)
        products = F.conv1d(reached, newest.unsqueeze(1)).squeeze(1)
        energies = F.conv1d(reached.square(), self.ones).squeeze(1)
        found = products, energies, newest.square().sum(-1, keepdim=True)
        lag, known = self._chosen(*found, lambda values, at: values[0][at])
        now = past.shape[-1] - self.size
        first = now - self._multiples(lag)
        windows = self._read_newest(past, first, now, offset)
        if not self.lookahead:
            return windows, known, None
        return windows, known, self._read_newest(past, first - self.lookahead, now, offset)

    def _read_newest(self, past: Tensor, first: Tensor, now: int, offset: Tensor | None) -> Tensor:
        """The same as `_read` in a step, `first` `[1, frames]`; no window begins behind `now`."""
        begins = first.long().clamp(0, now)  # of NaN, anything
        index = begins.unsqueeze(-1) + torch.arange(self.size, device=past.device)
        stereo = self.channels == 2
        windows = torch.stack([past[0, 0][index], past[0, 1][index]], 1) if stereo else past[0][index]
        return windows if offset is None else windows - (offset[:, None, None] if stereo else offset)

    def _correlated(self, sounds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of whole numbers `[..., samples]`: products with their past and its energies, of each lag, and their own.

        Sums are exact, as in a step, so both ways give the same.
        """
        way = self._by_loop if sounds.device.type == "cpu" else self._by_spectra
        return *way(sounds), sounds[..., -self.correlated :].square().sum(-1, keepdim=True)

    def _by_loop(self, sounds: Tensor) -> tuple[Tensor, Tensor]:
        from training.network.lag_products import lag_products  # compiled here, for who needs it

        flat = sounds.contiguous().flatten(0, -2)
        products, energies = (flat.new_empty(len(flat), self.longest - self.shortest + 3) for _ in range(2))
        lag_products(flat.numpy(), self.correlated, self.longest + 1, products.numpy(), energies.numpy())
        return products.unflatten(0, sounds.shape[:-1]), energies.unflatten(0, sounds.shape[:-1])

    def _by_spectra(self, sounds: Tensor) -> tuple[Tensor, Tensor]:
        """In float64. A circular correlation of this length will do: the newest values move back by a lag at most, and
        at least as many lie before them."""
        doubled, size = sounds.double(), sounds.shape[-1]
        newest = F.pad(doubled[..., -self.correlated :], (size - self.correlated, 0))
        products = torch.fft.irfft(torch.fft.rfft(newest) * torch.fft.rfft(doubled).conj(), size).round()
        squares = F.pad(doubled.square().cumsum(-1), (1, 0))
        lags = torch.arange(self.longest + 1, self.shortest - 2, -1, device=sounds.device)
        ends = size - lags
        return products[..., lags].float(), (squares[..., ends] - squares[..., ends - self.correlated]).float()

    def coherence(self, newest: Tensor, earlier: Tensor) -> Tensor:
        """Of pairs `[..., 2, bins]` and `[..., frames, 2, bins]`, −1 to 1: `[..., frames × BANDS]`, of each channel."""
        cross = F.linear((newest.unsqueeze(-3) * earlier).sum(-2), self.bands)
        own, other = (F.linear(pairs.square().sum(-2), self.bands) for pairs in (newest.unsqueeze(-3), earlier))
        return (cross / (own * other + 1e-12).sqrt()).flatten(-2)

    def _rounded(self, slow: Tensor) -> Tensor:
        """Whole numbers of 8 bits, with a root mean square of LOUDNESS, without what is slower than RUMBLE_S."""
        length = 2**self.doublings
        mean = torch.cat(
            [torch.zeros_like(slow[..., : length // 2]), slow, torch.zeros_like(slow[..., 1 : length // 2])], -1
        )
        for doubling in range(self.doublings):  # sums of 2, 4, 8, … in an order that all forms share
            mean = mean[..., : -(2**doubling)] + mean[..., 2**doubling :]
        slow = slow - mean / length
        level = (slow.square().sum(-1, keepdim=True) / slow.shape[-1] + 1e-12).sqrt()
        return (slow * (LOUDNESS / level)).clamp(-LOUDEST, LOUDEST).round()

    def _chosen(
        self, products: Tensor, energies: Tensor, own: Tensor, take: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The best lag in samples, `[..., 1]`, between those that were correlated, and the features, `[..., 2]`.

        `take` picks values of the last axis by indices, in the way that the form can.
        """
        correlation = products / (energies * own + 1.0).sqrt()
        inner = (correlation - self.penalty)[..., 1:-1]
        best = inner.argmax(-1, keepdim=True) + 1
        before, here, after = (take(correlation, best + step) for step in (-1, 0, 1))
        curve = (before + after - 2 * here).clamp(max=-1e-6)
        moved = (0.5 * (before - after) / curve).clamp(-0.5, 0.5)  # the top of a parabola through the three
        lag = self.fold * (self.longest + 1 - best - moved)
        octaves = (lag / self.middle).log() / math.log(2)
        return lag, torch.cat([CORRELATION_SCALE * here, LAG_SCALE * octaves], -1)

    def _multiples(self, lag: Tensor) -> Tensor:
        """One, two, … lags in whole samples, `[..., frames]`."""
        return (lag * torch.arange(1, self.frames + 1, device=lag.device, dtype=lag.dtype)).round()


def _bands(bins: int, width: float) -> Tensor:
    """Triangles on the ERB scale, `[BANDS, bins]` of bins `width` Hz wide; narrow ones hold the nearest bin alone."""
    erb = 21.4 * torch.log10(1 + 0.00437 * width * torch.arange(bins))
    centres = torch.linspace(2.0, float(erb[-1]), BANDS)
    found = (1 - (erb - centres[:, None]).abs() / (centres[1] - centres[0])).clamp(min=0)
    for band, centre in zip(found, centres, strict=True):
        if band.sum() < 0.3:
            band[(erb - centre).abs().argmin()] = 1.0
    return found
