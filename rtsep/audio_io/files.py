"""Sound files in and out, in constant memory: WAV, FLAC, Ogg and MP3 by libsndfile, the rest through ffmpeg.

A file is written beside its final place under a temporary name and renamed when all of it is there, so that an error,
a full disk or Ctrl-C leaves nothing half-written. Inputs are only ever read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rtsep.audio_io.sink import Sink
from rtsep.audio_io.source import DamagedError, Source, look_at
from rtsep.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from rtsep.model import Model

__all__ = ["DamagedError", "FileReport", "MakeProcessor", "Processor", "Sink", "Source", "enhance_file", "look_at"]


@dataclass(frozen=True)
class FileReport:
    """What became of one file: lengths in samples at ``sample_rate`` (Hz), ``seconds`` of sound.

    damage: the sentence about a file that ended before its sound did, None for a whole one.
    scale: what the samples were multiplied by before they were processed, see Source.
    """

    sample_rate: int
    channels: int
    samples: int
    damage: str | None = None
    scale: float = 1.0

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate


class Processor(Protocol):
    """A whole signal in pieces, as Enhancer takes and gives it."""

    def process(self, block: np.ndarray) -> np.ndarray: ...

    def flush(self) -> np.ndarray: ...


# (model, rate in Hz, channels) to what processes one file
MakeProcessor = Callable[["Model", int, int], Processor]


def make_processor(
    model: Model, sample_rate: int, channels: int, strength: float | None, make: MakeProcessor | None, name: str
) -> Processor:
    """What processes a sound: ``make``'s, or an Enhancer with this strength; raises InputError about ``name``."""
    from rtsep.engine.enhance import new_enhancer

    try:
        if make is not None:
            return make(model, sample_rate, channels)
        return new_enhancer(model, sample_rate, channels, strength)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def enhance_file(
    source: Path,
    target: Path | None,
    model: Model,
    strength: float | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], Any] | None = None,
    make: MakeProcessor | None = None,
) -> FileReport:
    """Write ``source``, enhanced, to ``target`` (None: standard output), with its rate, channels, length and alignment.

    strength: most attenuation in dB, None no limit. make: something else than an Enhancer with this strength.
    progress: called with (samples done, samples in all) after every block; what it raises stops the work.

    A file that ends before its sound does is processed as far as it goes, and the report says so.
    Raises InputError or RtsepError; the target then does not exist (or is what it was).
    """

    def check() -> None:
        if progress is not None:
            progress(0, 0)

    with Source(source, check) as sound:
        processor = make_processor(model, sound.sample_rate, sound.channels, strength, make, str(source))
        with Sink(target, sound, overwrite) as sink:
            done, damage = 0, None
            try:
                for block in sound.blocks():
                    sink.write(processor.process(block))
                    done += len(block)
                    if progress is not None:
                        progress(done, sound.samples)
            except DamagedError as error:
                damage = str(error)
            try:
                sink.write(processor.flush())
            except InputError as error:
                raise InputError(f"{source}: {error}") from None
            sink.commit()
        return FileReport(sound.sample_rate, sound.channels, done, damage, sound.scale)
