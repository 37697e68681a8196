"""A file to one file a source, in one pass and constant memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtsep.audio_io.files import FileReport
from rtsep.audio_io.sink import OUTPUTS, Sink
from rtsep.audio_io.source import DamagedError, Source
from rtsep.errors import InputError

if TYPE_CHECKING:
    from rtsep.model import Model

Floats = NDArray[np.float32]


class SourcesProcessor(Protocol):
    """A whole signal in pieces, [samples, channels], to all sources of what is ready, [sources, samples, channels]."""

    def process_sources(self, block: Floats) -> Floats: ...

    def flush_sources(self) -> Floats: ...


class _TargetAndRest:
    """The two sources of a model that streams: its target, and what is left of the signal; so they add up to it."""

    def __init__(self, model: Model, sample_rate: int, channels: int) -> None:
        from rtsep.engine.enhance import Enhancer

        self._enhancer = Enhancer(model, sample_rate, channels)
        self._dry = np.zeros((0, channels), np.float32)
        self._first = model.spec.target_index == 0

    def process_sources(self, block: Floats) -> Floats:
        self._dry = np.concatenate([self._dry, block])
        return self._split(self._enhancer.process(block))

    def flush_sources(self) -> Floats:
        return self._split(self._enhancer.flush())

    def _split(self, wet: Floats) -> Floats:
        dry, self._dry = self._dry[: len(wet)], self._dry[len(wet) :]
        return np.stack([wet, dry - wet] if self._first else [dry - wet, wet])


class _EachByItself:
    """The sources of a model that streams, with an enhancer for each; they may not add up to all of the signal."""

    def __init__(self, model: Model, sample_rate: int, channels: int) -> None:
        from rtsep.engine.enhance import Enhancer

        self._enhancers = [Enhancer(model, sample_rate, channels, source=source) for source in model.spec.sources]

    def process_sources(self, block: Floats) -> Floats:
        return np.stack([enhancer.process(block) for enhancer in self._enhancers])

    def flush_sources(self) -> Floats:
        return np.stack([enhancer.flush() for enhancer in self._enhancers])


def sources_processor(model: Model, sample_rate: int, channels: int) -> SourcesProcessor:
    """What gives all sources of a signal; raises InputError for a rate or channels that ``model`` does not take."""
    from rtsep.model import SpectralModel

    if isinstance(model, SpectralModel):
        from rtsep.engine.song_enhancer import SongEnhancer

        return SongEnhancer(model, sample_rate, channels)
    kind = _TargetAndRest if len(model.spec.sources) == 2 else _EachByItself
    return kind(model, sample_rate, channels)


def stem_targets(source: Path, folder: Path, model: Model) -> dict[str, Path]:
    """FOLDER/NAME.SOURCE.EXT for every source of ``model``; MP3 and what cannot be written gives FLAC."""
    suffix = source.suffix if source.suffix.lower() in OUTPUTS else ".flac"
    return {name: folder / f"{source.stem}.{name}{suffix}" for name in model.spec.sources}


def separate_file(
    source: Path,
    targets: Mapping[str, Path],
    model: Model,
    overwrite: bool = False,
    progress: Callable[[int, int], Any] | None = None,
) -> FileReport:
    """Write the sources of ``source`` to ``targets`` (by name), with its rate, channels, length and alignment.

    progress: called with (samples done, samples in all) after every block. A file that ends before its sound does is
    separated as far as it goes, and the report says so. Raises InputError or RtsepError; then no target is there that
    was not there before.
    """
    with contextlib.ExitStack() as stack:
        sound = stack.enter_context(Source(source))
        try:
            processor = sources_processor(model, sound.sample_rate, sound.channels)
        except InputError as error:
            raise InputError(f"{source}: {error}") from None
        sinks = [
            (stack.enter_context(Sink(target, sound, overwrite)), model.spec.sources.index(name))
            for name, target in targets.items()
        ]

        def write(sources: Floats) -> None:
            for sink, row in sinks:
                sink.write(sources[row])

        done, damage = 0, None
        try:
            for block in sound.blocks():
                write(processor.process_sources(block))
                done += len(block)
                if progress is not None:
                    progress(done, sound.samples)
        except DamagedError as error:
            damage = str(error)
        try:
            write(processor.flush_sources())
        except InputError as error:
            raise InputError(f"{source}: {error}") from None
        new = [sink.target for sink, _ in sinks if sink.target is not None and not sink.target.exists()]
        try:
            for sink, _ in sinks:
                sink.commit()
        except BaseException:
            for target in new:
                target.unlink(missing_ok=True)
            raise
        return FileReport(sound.sample_rate, sound.channels, done, damage, sound.scale)
