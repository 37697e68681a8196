"""SpectralSpec: the description of a separator of songs in files, an ONNX graph between an STFT and its inverse.

Form ``spectral``. The host cuts a song into overlapping segments, and the graph sees the spectra of a whole segment at
once, past and future, so it is none for sound that is still being made. Metadata, every key ``rtsep.*``:

- ``format``, ``name``, ``version``, ``licence``, ``trained_on``, ``weights_sha256``: as in every model.
- ``form``: ``spectral``.
- ``sample_rate``, ``channels``: of what goes in; songs at other rates are converted, one channel is doubled.
- ``sources``, ``target``: the graph gives every source but the target, in this order; the target is what is left.
- ``window``, ``hop``: of the STFT in samples; periodic Hann, frames centred on multiples of the hop, zeros around.
- ``bins``: how many, from 0 Hz on, go in and come out. ``frames``: in a segment.
- ``overlap``: frames that a segment shares with the next one.
- ``input``: ``magnitudes`` [channels, frames, bins], or ``spectra`` [channels, 2, frames, bins], real and imaginary.
- ``output``: the same for each source but the target, [sources - 1, ...]: ``masks``, or ``separated`` spectra.
- ``above``: where what lies above the bins goes. ``follow``: a source's share is as in the octave below; ``target``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rtsep.errors import InputError
from rtsep.model_spec import FORMAT, MAX_RATE, MIN_RATE, Metadata, Shapes, compare_shapes

FORM = "spectral"
_INTEGERS = {
    "sample_rate": (MIN_RATE, MAX_RATE),
    "channels": (1, 2),
    "window": (16, 1 << 16),
    "hop": (1, 1 << 15),
    "bins": (2, (1 << 15) + 1),
    "frames": (8, 1 << 16),
    "overlap": (4, 1 << 15),
}
_TEXTS = ("name", "version", "target", "licence", "trained_on", "input", "output", "above")
_CHOICES = {"input": ("magnitudes", "spectra"), "output": ("masks", "separated"), "above": ("follow", "target")}


@dataclass(frozen=True)
class SpectralSpec:
    """What one separator of songs is: parsed from its metadata, checked against its graph. See the module."""

    name: str
    version: str
    target: str
    licence: str
    trained_on: str
    sample_rate: int
    channels: int
    sources: tuple[str, ...]
    window: int
    hop: int
    bins: int
    frames: int
    overlap: int
    input: str
    output: str
    above: str
    weights_sha256: str

    form = FORM
    lookahead = 0  # no stream waits for it
    condition = 0  # it is told nothing
    classes: ClassVar[tuple[str, ...]] = ()

    @property
    def estimated(self) -> tuple[str, ...]:
        """The sources that the graph gives: all but the target."""
        return tuple(source for source in self.sources if source != self.target)

    @property
    def segment(self) -> int:
        """Samples of a segment at the model's rate."""
        return (self.frames - 1) * self.hop

    @property
    def algorithmic_latency(self) -> int:
        """What must be there before the first sample can be given: a segment, in samples at the model's rate."""
        return self.segment

    @property
    def ceiling_hz(self) -> float:
        """Up to where the graph sees, Hz."""
        return self.bins * self.sample_rate / self.window

    def inputs(self) -> Shapes:
        """Name and shape of the graph's input (float32)."""
        parts = (2,) if self.input == "spectra" else ()
        return {self.input: (self.channels, *parts, self.frames, self.bins)}

    def outputs(self) -> Shapes:
        """Name and shape of the graph's output (float32)."""
        parts = (2,) if self.output == "separated" else ()
        return {self.output: (len(self.estimated), self.channels, *parts, self.frames, self.bins)}

    @classmethod
    def parse(
        cls, metadata: Mapping[str, str], inputs: Iterable[Any], outputs: Iterable[Any], where: str = "the model"
    ) -> SpectralSpec:
        """See ModelSpec.parse."""
        read = Metadata(metadata, where)
        if read.text("format") != FORMAT:
            raise read.wrong("format", f"must be {FORMAT}; update rtsep or add the model again")
        values: dict[str, Any] = {key: read.integer(key, low, high) for key, (low, high) in _INTEGERS.items()}
        values |= {key: read.text(key) for key in _TEXTS}
        sources = read.strings("sources")
        if values["target"] not in sources or len(sources) < 2:
            raise read.wrong("target", f"must be one of two or more sources, which are {', '.join(sources)}")
        for key, choices in _CHOICES.items():
            if values[key] not in choices:
                raise read.wrong(key, f"must be {' or '.join(choices)}")
        if values["window"] % 2 or values["bins"] > values["window"] // 2 + 1:
            raise read.wrong("window", f"must be even and have at least the {values['bins']} bins of rtsep.bins")
        if 4 * values["hop"] > values["window"]:
            raise read.wrong("hop", "must be at most a quarter of rtsep.window")
        if 2 * values["overlap"] >= values["frames"]:
            raise read.wrong("overlap", "must be less than half of rtsep.frames")
        digest = read.text("weights_sha256")
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise read.wrong("weights_sha256", "is not a sha256 in hexadecimal")
        spec = cls(sources=sources, weights_sha256=digest, **values)
        compare_shapes(spec.inputs(), list(inputs), "input", where)
        compare_shapes(spec.outputs(), list(outputs), "output", where)
        return spec


def check_channels(channels: int, spec: SpectralSpec) -> int:
    """``channels``, or InputError when songs of so many are not separated."""
    if channels not in (1, spec.channels):
        raise InputError(f"{spec.name} takes songs of 1 or {spec.channels} channels, not {channels}.")
    return channels
