"""NetworkSpec: the network section of a recipe, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from training.network.conditions import CONDITIONS
from training.network.filterbank import FILTERBANKS
from training.network.head import MASKS
from training.network.norm import NORMS
from training.network.separators import SEPARATORS

# What keys were called in the first version: hashes of committed results go by these names.
FIRST_NAMES = {"residual_source": "rest", "gate_residual": "gated", "max_lookahead_dilation": "ahead"}
MAX_LOOKAHEAD_HOPS = 1024
ADDED = {"separator": "tcn"}  # keys that came later, with the value that all networks had before


@dataclass(frozen=True)
class NetworkSpec:
    """Shape of the network. Windows and hop in samples at `sample_rate` (Hz), `dilations` in hops.

    `features` long pairs from 40 Hz to `features_top` Hz inform the masks of the short and the folded filterbank.

    `sources` of length 1 is one mask for the speech. Of two and more masks, `free` ones know nothing of each other and
    those that `sum_to_one` share every pair out; `complex` ones are free, and turn phases. An `output_scaler` learns a
    gain for every logit of a mask. With `consistency` the estimates sum to the mixture exactly: what is
    missing is added in equal parts (Wisdom et al. 2019, arXiv 1811.08521). `norm` is over the channels of each `frame`,
    or over the `batch` while training and folded away at export. The lowest `filter_bins` bins get complex filters over
    the newest `filter_frames` frames beside their masks (see `multiframe`). With `pitch_frames` the newest frame is
    joined by those one, two, … pitch periods earlier, with gains of their own (see `pitch`). `activity` adds a head
    that tells, hop by hop, how likely each source is active. With `offset_hops` the mean over about so many hops of the
    past is taken away before all else (see `offset`). With `audio_channels` 2 one trunk hears middle and side,
    and masks (and filters) each of the two (see `stereo`). With `residual_source` the last source is what the others
    leave of the mixture: joint masks that sum to one, for the price of one. `gate_residual` multiplies it, hop by hop,
    by how likely it is active, and the first source gets back what that takes: where nobody sings, masks alone always
    take a little.

    With `lookahead_hops` masks and filters are of a frame so many hops ago: what begins is heard before it is judged.
    Blocks with a dilation of at most `max_lookahead_dilation` hops read one tap of the future, of the `kernel` that
    they have: for sound that is known beforehand, as a song in a file is. The algorithmic latency grows by `lookahead`,
    which is the sum of both.

    A `condition` is side information (see `conditions`): `film` for a vector with a place for each of `classes`,
    `attention` for a sequence of up to `side_frames` of `side_width` numbers. With an `activity_median` of so many
    hops, masks are multiplied, where the network runs, by the median of their source's activity over the newest ones.

    `separator` is a name of `separators`; `options` are what is its own, which stands in a recipe among the rest.
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
    pitch_frames: int = 0
    offset_hops: int = 0
    activity: bool = False
    audio_channels: int = 1
    residual_source: bool = False
    gate_residual: bool = False
    max_lookahead_dilation: int = 0
    lookahead_hops: int = 0
    output_scaler: bool = False
    activity_median: int = 0
    condition: str = ""
    classes: list[str] = field(default_factory=list)
    side_frames: int = 0
    side_width: int = 0
    separator: str = "tcn"
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_section(cls, section: Mapping[str, Any]) -> Self:
        """From a recipe's network section; raises ValueError with one sentence if it cannot be."""
        own = cls.own_keys(section)
        return cls(**own, options={key: value for key, value in section.items() if key not in own})

    @classmethod
    def own_keys(cls, section: Mapping[str, Any]) -> dict[str, Any]:
        """What every network has of a recipe's network section; the rest are options of its separator."""
        known = {each.name for each in fields(cls)} - {"options"}
        return {key: value for key, value in section.items() if key in known}

    def __post_init__(self) -> None:
        self._check_sound()
        self._check_outputs()
        self._check_condition()
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(sorted(NORMS))}, not {self.norm!r}.")
        if self.max_lookahead_dilation < 0 or (self.max_lookahead_dilation and self.kernel < 2):
            raise ValueError(
                f"max_lookahead_dilation must be a number of hops from 0 up, not {self.max_lookahead_dilation}, "
                "and needs a kernel of two."
            )
        if not 0 <= self.lookahead_hops <= MAX_LOOKAHEAD_HOPS:
            raise ValueError(f"lookahead_hops must be from 0 to {MAX_LOOKAHEAD_HOPS}, not {self.lookahead_hops}.")
        if self.separator not in SEPARATORS:
            raise ValueError(f"separator must be one of {', '.join(sorted(SEPARATORS))}, not {self.separator!r}.")
        known = {each.name: each for each in fields(SEPARATORS[self.separator].Options)}
        for key, value in self.options.items():
            if key not in known:
                raise ValueError(f"network.{key} is no key of a network with the separator {self.separator}.")
            if isinstance(known[key].default, int) and (isinstance(value, bool) or not isinstance(value, int)):
                raise ValueError(f"network.{key} is a whole number, not {value!r}.")
        _ = self.separator_options

    def _check_sound(self) -> None:
        """Windows, filterbank and filters."""
        if self.synthesis_window != 2 * self.hop:
            raise ValueError("synthesis_window must be two hops: the sine windows overlap-add to one only then.")
        if self.analysis_window < self.synthesis_window or self.analysis_window % self.hop:
            raise ValueError("analysis_window must be a whole number of hops and at least synthesis_window.")
        if self.filterbank not in FILTERBANKS:
            raise ValueError(f"filterbank must be one of {', '.join(sorted(FILTERBANKS))}, not {self.filterbank!r}.")
        if self.filterbank == "dual" and (self.features, self.features_top) != (96, 21120.0):
            raise ValueError("features and features_top belong to all filterbanks but the dual one.")
        if self.features < 1 or not 40.0 < self.features_top <= self.sample_rate / 2:
            raise ValueError("There must be a feature at least, and features_top between 40 Hz and half the rate.")
        if self.filter_bins and (self.filterbank == "dual" or self.filter_bins > self.synthesis_window // 2):
            raise ValueError("filter_bins counts bins of the short filterbank, below half a synthesis window.")
        reach = self.synthesis_window + (self.filter_frames - 1) * self.hop
        if self.filter_bins and not (self.filter_frames >= 2 and reach <= self.analysis_window):
            raise ValueError(
                f"filter_frames must be at least 2 and fit into the analysis window: {self.filter_frames} frames "
                f"reach over {reach} samples, and the window has {self.analysis_window}."
            )

        if self.pitch_frames < 0:
            raise ValueError(f"pitch_frames is a number from 0 up, not {self.pitch_frames}.")
        if self.pitch_frames and self.filterbank in ("dual", "free"):
            raise ValueError("pitch_frames needs a filterbank whose short pairs are bands: not the dual, not the free.")
        if self.offset_hops and self.offset_hops < 8:
            raise ValueError(f"offset_hops is 0 or a number of hops from 8 up, not {self.offset_hops}.")
        if self.offset_hops and (self.consistency or self.gate_residual):  # these give sources back what is missing
            raise ValueError(
                "offset_hops goes with neither consistency nor gate_residual: they bring the constant back."
            )

    def _check_outputs(self) -> None:
        """Sources and what is made of them."""
        if self.masks not in MASKS:
            raise ValueError(f"masks must be one of {', '.join(sorted(MASKS))}, not {self.masks!r}.")
        if len(self.sources) < 2 and (self.masks == "sum_to_one" or self.consistency):
            raise ValueError("A single source has one free mask: nothing to share with, no consistency to keep.")
        if self.audio_channels not in (1, 2):
            raise ValueError(f"audio_channels must be 1 or 2, not {self.audio_channels}.")
        if self.residual_source and (len(self.sources) < 2 or self.masks == "sum_to_one" or self.consistency):
            raise ValueError("residual_source needs two sources at least, free masks, and has no consistency to keep.")
        if self.gate_residual and not (self.residual_source and self.activity and len(self.sources) == 2):
            raise ValueError(
                "gate_residual needs two sources, of which the second is the residual, and activity to gate it by."
            )

    def _check_condition(self) -> None:
        """Side information, and whether what it needs is there and nothing else."""
        if self.condition and self.condition not in CONDITIONS:
            raise ValueError(f"condition must be one of {sorted(CONDITIONS)}, not {self.condition!r}.")
        if (self.condition == "film") != bool(self.classes) or len(set(self.classes)) < len(self.classes):
            raise ValueError("classes are the names, each once, that a condition by film has a place for.")
        if (self.condition == "attention") != (self.side_frames > 0 and self.side_width > 0):
            raise ValueError("side_frames and side_width are the size of the sequence of a condition by attention.")
        if self.activity_median and self.pitch_frames:
            raise ValueError("activity_median weighs masks alone, not the gains of pitch_frames: one of the two.")
        if self.activity_median and (self.activity_median < 3 or self.activity_median % 2 == 0 or not self.activity):
            raise ValueError("activity_median is an odd number of hops from 3 up, and needs activity.")

    @property
    def condition_size(self) -> int:
        """Numbers in a condition; 0 without one."""
        return len(self.classes) + self.side_frames * self.side_width

    @property
    def lookahead(self) -> int:
        """Samples of the future that an estimate depends on, beyond its synthesis window."""
        waits = sum(dilation for dilation in self.dilations if dilation <= self.max_lookahead_dilation)
        return self.hop * (self.lookahead_hops + waits)

    @property
    def masked_sources(self) -> int:
        """Sources with masks of their own: all, but for a residual."""
        return len(self.sources) - self.residual_source

    @property
    def separator_options(self) -> Any:
        """The `Options` of the separator."""
        return SEPARATORS[self.separator].Options(**self.options)

    def to_dict(self) -> dict[str, Any]:
        """As a recipe's network section."""
        section = asdict(self)
        return section | section.pop("options")

    def canonical(self) -> dict[str, Any]:
        """What tells two shapes apart, the same whatever keys are called or added later: for hashes that last.

        Keys have the names of the first version. What is off is left out, and so is what came later where it says what
        was so before.
        """
        said = {key: value for key, value in self.to_dict().items() if value and ADDED.get(key) != value}
        return {FIRST_NAMES.get(key, key): value for key, value in said.items()}
