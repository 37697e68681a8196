"""The network: a causal short-window Conv-TasNet with joint masks, in the sequence form that trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network import multiframe, stereo
from training.network.filterbank import FILTERBANKS, Features, fold, unfold
from training.network.norm import NORMS
from training.network.separator import Separator
from training.network.slow_fast import SlowFast

# Mask logits [..., sources, 1, pairs] to gains.
MASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "free": torch.sigmoid,
    "sum_to_one": lambda logits: torch.softmax(logits, -3),
}

SEPARATORS = ("tcn", "slow_fast")

OPEN = 3.0  # logit of activity that a gate begins with: all but open, so that masks learn first


@dataclass(frozen=True)
class NetworkSpec:
    """Shape of the network. Windows and hop in samples at `sample_rate` (Hz), `dilations` in hops.

    `features` long pairs from 40 Hz to `features_top` Hz inform the masks of the short and the folded filterbank.

    `sources` of length 1 is one mask for the speech. Of two and more masks, `free` ones know nothing of each other and
    those that `sum_to_one` share every pair out. With `consistency` the estimates sum to the mixture exactly: what is
    missing is added in equal parts (Wisdom et al. 2019, arXiv 1811.08521). `norm` is over the channels of each `frame`,
    or over the `batch` while training and folded away at export. The lowest `filter_bins` bins get complex filters over
    the newest `filter_frames` frames beside their masks (see `multiframe`). `activity` adds a head that tells, hop by
    hop, how likely each source is active. With `audio_channels` 2 one trunk hears middle and side, and masks (and
    filters) each of the two (see `stereo`). With `rest` the last source is what the others leave of the mixture: joint
    masks that sum to one, for the price of one. `gated` multiplies it, hop by hop, by how likely it is
    active, and the first source gets back what that takes: where nobody sings, masks alone always take a little.

    Blocks with a dilation of at most `ahead` hops read one tap of the future, of the `kernel` that they have: for sound
    that is known beforehand, as a song in a file is. The algorithmic latency grows by `lookahead`.

    The `separator` is a `tcn`, or `slow_fast`: a TCN of which `film_blocks` (every second one, from the first on, unless
    a recipe lists them) take gains and offsets from `slow_layers` of `slow_channels` gated recurrent units, which run
    every `slow_rate`-th hop.
    """

    sample_rate: int = 48000
    hop: int = 128
    analysis_window: int = 1024
    synthesis_window: int = 256
    filterbank: str = "dual"
    features: int = 96
    features_top: float = 21120.0
    sources: list[str] = field(default_factory=lambda: ["speech", "noise"])
    channels: int = 80
    hidden: int = 160
    kernel: int = 3
    dilations: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 16, 32, 64] * 2)
    masks: str = "free"
    consistency: bool = False
    norm: str = "frame"
    filter_bins: int = 0
    filter_frames: int = 5
    activity: bool = False
    audio_channels: int = 1
    rest: bool = False
    gated: bool = False
    ahead: int = 0
    separator: str = "tcn"
    slow_rate: int = 4
    slow_channels: int = 192
    slow_layers: int = 2
    film_blocks: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.synthesis_window != 2 * self.hop:
            raise ValueError("synthesis_window must be two hops: the sine windows overlap-add to one only then.")
        if self.analysis_window < self.synthesis_window or self.analysis_window % self.hop:
            raise ValueError("analysis_window must be a whole number of hops and at least synthesis_window.")
        if self.filterbank not in FILTERBANKS:
            raise ValueError(f"filterbank must be one of {sorted(FILTERBANKS)}, not {self.filterbank!r}.")
        if self.masks not in MASKS:
            raise ValueError(f"masks must be one of {sorted(MASKS)}, not {self.masks!r}.")
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {sorted(NORMS)}, not {self.norm!r}.")
        if self.filterbank == "dual" and (self.features, self.features_top) != (96, 21120.0):
            raise ValueError("features and features_top belong to the short and the folded filterbank.")
        if self.features < 1 or not 40.0 < self.features_top <= self.sample_rate / 2:
            raise ValueError("There must be a feature at least, and features_top between 40 Hz and half the rate.")
        if self.filter_bins and (self.filterbank == "dual" or self.filter_bins > self.synthesis_window // 2):
            raise ValueError("filter_bins counts bins of the short filterbank, below half a synthesis window.")
        if self.filter_bins and not 2 <= self.filter_frames <= (self.analysis_window - self.hop) // self.hop:
            raise ValueError("filter_frames must be at least 2 and fit into the analysis window.")
        if len(self.sources) < 2 and (self.masks != "free" or self.consistency):
            raise ValueError("A single source has one free mask: nothing to share with, no consistency to keep.")
        if self.audio_channels not in (1, 2):
            raise ValueError(f"audio_channels must be 1 or 2, not {self.audio_channels}.")
        if self.rest and (len(self.sources) < 2 or self.masks != "free" or self.consistency):
            raise ValueError("rest needs two sources at least, free masks, and has no consistency to keep.")
        if self.gated and not (self.rest and self.activity and len(self.sources) == 2):
            raise ValueError("gated needs two sources, of which the second is the rest, and activity to gate it by.")
        if self.ahead < 0 or (self.ahead and self.kernel < 2):
            raise ValueError(f"ahead must be a number of hops from 0 up, not {self.ahead}, and needs a kernel of two.")

        if self.separator not in SEPARATORS:
            raise ValueError(f"separator must be one of {sorted(SEPARATORS)}, not {self.separator!r}.")
        slow = {"slow_rate": 4, "slow_channels": 192, "slow_layers": 2, "film_blocks": []}
        if self.separator == "tcn" and (ignored := [key for key, usual in slow.items() if getattr(self, key) != usual]):
            raise ValueError(f"{ignored[0]} belongs to the separator slow_fast, and this one is a tcn.")
        if self.slow_rate < 2 or self.slow_channels < 1 or self.slow_layers < 1:
            raise ValueError("slow_rate is at least 2, slow_channels and slow_layers are at least 1.")
        if not all(block in range(len(self.dilations)) for block in self.film_blocks):
            raise ValueError(f"film_blocks are numbers of blocks, from 0 to {len(self.dilations) - 1}.")

    @property
    def modulated(self) -> list[int]:
        """Numbers of the blocks that a slow trunk modulates."""
        return self.film_blocks or list(range(0, len(self.dilations), 2))

    @property
    def lookahead(self) -> int:
        """Samples of the future that an estimate depends on, beyond its synthesis window."""
        return self.hop * sum(dilation for dilation in self.dilations if dilation <= self.ahead)

    def to_dict(self) -> dict:
        return asdict(self)


class Network(nn.Module):
    """Waveform in, one waveform a source out, sample-aligned with the input.

    `forward`: `[batch, samples]` float32 → `[batch, sources, samples]`, in stereo `[batch, 2, samples]` →
    `[batch, sources, 2, samples]`; `samples` is a multiple of the hop. The
    estimate of sample n depends on input samples up to n + synthesis_window + lookahead − 1 and no later one.
    Encoder, decoder and masks carry no bias on the signal path: silence gives exact zero.
    """

    fade: Tensor
    mixed: bool = False  # train the separator in bfloat16; the way of the sound itself stays in float32

    def __init__(self, spec: NetworkSpec):
        super().__init__()
        self.spec = spec
        bank = FILTERBANKS[spec.filterbank](
            spec.sample_rate, spec.analysis_window, spec.synthesis_window, Features(spec.features, spec.features_top)
        )
        self.folded = bank.folded
        self.long = nn.Parameter(torch.from_numpy(bank.long).flatten(0, 1))  # [2L, A]
        self.short = nn.Parameter(torch.from_numpy(bank.short).flatten(0, 1))  # [2M, S], or [2M, S / 2] folded
        # Pairs that the decoder does not use are features only and get no mask.
        masked = torch.from_numpy(bank.decoder).abs().amax(dim=(0, 2)) > 0
        self.first_masked = int((~masked).sum())
        assert bool(masked[self.first_masked :].all()), "feature-only pairs come first"
        self.decoder = nn.Parameter(torch.from_numpy(bank.decoder)[:, self.first_masked :].flatten(0, 1).contiguous())
        self.pairs = len(masked)
        self.masked_pairs = self.pairs - self.first_masked
        time = (torch.arange(spec.synthesis_window) + 0.5) / spec.synthesis_window
        self.register_buffer("fade", torch.sin(torch.pi * time) ** 2, persistent=False)  # overlap-adds to one
        self.made = sources = len(spec.sources) - spec.rest  # sources with masks of their own
        self.places = (2,) if spec.audio_channels == 2 else ()  # an axis for middle and side, in stereo only
        channels, bins, frames = spec.audio_channels, spec.filter_bins, spec.filter_frames
        self.levels = channels * self.pairs  # features that are log powers; they come first
        features = self.levels + (2 * self.pairs if self.places else 0) + channels * 2 * (frames - 1) * bins
        masks, filters = sources * channels * self.masked_pairs, sources * channels * 2 * channels * frames * bins
        # What the head puts out, in this order: mask logits, filters, activity logits.
        self.outputs = [masks, filters, len(spec.sources) if spec.activity else 0]
        shape = (features, sum(self.outputs), spec.channels, spec.hidden, spec.kernel, spec.dilations)
        self.separator: Separator = (
            Separator(*shape, spec.norm, spec.ahead)
            if spec.separator == "tcn"
            else SlowFast(
                *(*shape, spec.norm, spec.ahead),
                levels=self.levels,
                rate=spec.slow_rate,
                width=spec.slow_channels,
                layers=spec.slow_layers,
                film_blocks=spec.modulated,
            )
        )
        with torch.no_grad():  # begin by letting the target through, without filters
            head = self.separator.head
            head.weight[masks:] = 0
            head.bias[masks:] = 0
            if spec.gated:
                head.bias[masks + filters :] = OPEN
            bias = head.bias[:masks].view(sources, -1)
            bias.fill_(-1.0)
            bias[0] = 1.5

    def encode(self, window: Tensor) -> Tensor:
        """`[..., analysis_window]` → pairs `[..., 2, pairs]` (real, imaginary)."""
        long = F.linear(window, self.long).unflatten(-1, (2, -1))
        return torch.cat([long, self.analyse(window[..., -self.spec.synthesis_window :])], -1)

    def analyse(self, frame: Tensor, bins: int | None = None) -> Tensor:
        """The short pairs, or the lowest `bins` of them, `[..., synthesis_window]` → `[..., 2, pairs]`."""
        pairs = self.short.shape[0] // 2
        real, imaginary = self.short[:pairs][:bins], self.short[pairs:][:bins]  # slices are folded away at export
        if not self.folded:
            return F.linear(frame, torch.cat([real, imaginary])).unflatten(-1, (2, -1))
        symmetric, antisymmetric = fold(frame)
        return torch.stack([F.linear(symmetric, real), F.linear(antisymmetric, imaginary)], -2)

    def masked(self, window: Tensor) -> Tensor:
        """The pairs of a window that get masks, `[..., analysis_window]` → `[..., 2, masked_pairs]`."""
        if self.first_masked == self.long.shape[0] // 2:
            return self.analyse(window[..., -self.spec.synthesis_window :])
        return self.encode(window)[..., self.first_masked :]

    def synthesise(self, pairs: Tensor) -> Tensor:
        """Masked pairs `[..., 2, pairs]` → frames `[..., synthesis_window]`."""
        if not self.folded:
            return F.linear(pairs.flatten(-2), self.decoder.t())
        real, imaginary = self.decoder[: self.masked_pairs], self.decoder[self.masked_pairs :]
        return unfold(F.linear(pairs[..., 0, :], real.t()), F.linear(pairs[..., 1, :], imaginary.t()))

    def features(self, pairs: Tensor) -> Tensor:
        """Log power of each pair, about in ±3: `[..., 2, pairs]` → `[..., pairs]`. Levels stay: they tell over time.

        In stereo `[..., 2, 2, pairs]` → `[..., 4 × pairs]`: of middle and side, then what lies between the two.
        """
        levels = torch.log10(pairs.square().sum(-2) + 1e-7) * 0.7 + 1.5
        return torch.cat([levels.flatten(-2), stereo.between(pairs)], -1) if self.places else levels

    def decode(self, pairs: Tensor, outputs: Tensor, window: Tensor, recent: Tensor | None) -> Tensor:
        """The head's `outputs` `[..., sum(self.outputs)]` → frames `[..., sources, synthesis_window]`.

        `window` `[..., analysis_window]` is what `pairs` were encoded from (those that get no mask may be missing),
        `recent` `[..., frames, 2, bins]` the
        lowest pairs of the newest frames, where there are filters. In stereo there is an axis of middle and side before
        the last of window, the last two of pairs and the last three of recent, and frames
        `[..., sources, 2, synthesis_window]` of left and right.
        """
        sources, places = self.made, self.places
        axis = -2 - len(places)  # of the sources in frames
        masks, filters, activity = outputs.split(self.outputs, -1)
        gains = MASKS[self.spec.masks](masks.unflatten(-1, (sources, 1, -1)))
        if places:
            gains = gains.unflatten(-1, (2, -1)).transpose(-3, -2)
        kept = pairs[..., -self.masked_pairs :].unsqueeze(axis - 1) * gains
        if recent is not None:
            bins = self.spec.filter_bins
            if places:  # filters of either channel read both
                recent = recent.flatten(-4, -3)
            count = sources * self.spec.audio_channels
            filtered = multiframe.filtered(recent, filters.unflatten(-1, (count, *recent.shape[-3:])))
            if places:
                filtered = filtered.unflatten(-3, (sources, 2))
            kept = torch.cat([kept[..., :bins] + filtered, kept[..., bins:]], -1)
        frames = self.synthesise(kept)
        if self.spec.consistency or self.spec.rest:
            missing = (window[..., -self.spec.synthesis_window :] * self.fade - frames.sum(axis)).unsqueeze(axis)
            if self.spec.gated:
                kept_back = missing * torch.sigmoid(-activity[..., -1:]).unflatten(-1, (1,) * -axis)
                frames, missing = frames + kept_back, missing - kept_back
            frames = torch.cat([frames, missing], axis) if self.spec.rest else frames + missing / sources
        return stereo.turned(frames) if places else frames

    def forward(self, wave: Tensor) -> Tensor:
        return self.estimate(wave)[0]

    def estimate(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """The waveforms, and activity logits `[batch, hops, sources]` (of no source if there is no such head)."""
        spec = self.spec
        hop, length = spec.hop, wave.shape[-1]
        if length % hop:
            raise ValueError(f"The number of samples must be a multiple of {hop}, not {length}.")
        # One frame more than there are hops: the last hop is complete only when the next one has been added.
        count, late = length // hop + 1, spec.lookahead // hop
        around = (spec.analysis_window - hop, hop + spec.lookahead)
        padded = F.pad(stereo.turned(wave) / 2 if self.places else wave, around)
        windows = padded.unfold(-1, spec.analysis_window, hop)
        if self.places:
            windows = windows.transpose(1, 2).contiguous()  # else the products are of one window each
        pairs = self.encode(windows)
        features, recent = self.features(pairs), None
        if spec.filter_bins:
            lowest = pairs[..., self.first_masked : self.first_masked + spec.filter_bins]
            if self.places:
                recent = multiframe.recent(lowest.flatten(-3, -2), spec.filter_frames)
                recent = recent.unflatten(-2, (2, 2)).transpose(-4, -3)
                features = torch.cat([features, multiframe.features(recent).flatten(-2)], -1)
            else:
                recent = multiframe.recent(lowest, spec.filter_frames)
                features = torch.cat([features, multiframe.features(recent)], -1)
        with torch.autocast(wave.device.type, torch.bfloat16, enabled=self.mixed):
            outputs = self.separator(features)[:, late:].float()
        recent = None if recent is None else recent[:, :count]
        frames = self.decode(pairs[:, :count], outputs, windows[:, :count], recent)  # [batch, T + 1, sources, (2,) S]
        hops = frames[:, 1:, ..., :hop] + frames[:, :-1, ..., hop:]
        return hops.movedim(1, -2).flatten(-2), outputs[:, :-1, sum(self.outputs[:2]) :]
