"""A sound file to a file for every source, in constant memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtsep.audio_io.sink import OUTPUTS, Sink
from rtsep.audio_io.source import DamagedError, Source
from rtsep.audio_io.temporary_folder import temporary_folder
from rtsep.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rtsep.engine.separate import Separation
    from rtsep.engine.song_enhancer import SongEnhancer
    from rtsep.model import Model

Progress = Callable[[int, int], Any]


@dataclass(frozen=True)
class Separated:
    """What became of one file: the path of every source by its name, and the sentence about a damaged one."""

    outputs: dict[str, Path]
    damage: str | None = None


def separate_file(
    source: Path,
    folder: Path | None,
    model: Model,
    condition: NDArray[Any] | str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Separated:
    """Writes NAME.SOURCE.EXT for every source of ``source`` into ``folder``; None: beside the input.

    Rate, channels, length and tags are the input's. A model of one source and the rest goes on with the rest, and
    writes as many files as it found (see rtsep.engine.separate). Raises InputError or RtsepError; of the files that
    were not complete none then exists.
    """
    from rtsep.engine.separate import MOST, ONE_AND_REST, Separation, something_left

    place = source.parent if folder is None else folder
    if not place.is_dir():
        raise InputError(f"{place} is no folder; make it first, or name another with -o.")
    ending = source.suffix if source.suffix.lower() in OUTPUTS else ".flac"

    def target(name: str) -> Path:
        return place / f"{source.stem}.{name}{ending}"

    if model.spec.sources != ONE_AND_REST:
        names = {name: target(name) for name in model.spec.sources}
        with Source(source) as sound, _Sinks(sound, list(names.values()), overwrite) as sinks:
            damage, _ = _run(sound, sound, model, condition, sinks.write, progress)
            sinks.commit()
        return Separated(names, damage)

    made: dict[str, Path] = {}
    damage = None
    with contextlib.ExitStack() as files:
        sound = files.enter_context(Source(source))
        spool = files.enter_context(temporary_folder())
        ready: list[_Sinks] = []
        left: Any = sound
        whole: float | None = None
        for number in range(1, MOST + 1):
            made[f"source-{number}"] = target(f"source-{number}")
            sinks = files.enter_context(_Sinks(sound, [made[f"source-{number}"]], overwrite))
            with _Spool(spool / f"{number}.wav", sound) as rest:

                def write(pieces: np.ndarray, sinks: _Sinks = sinks, rest: _Spool = rest) -> None:
                    sinks.write(pieces[:1])
                    rest.write(pieces[1])

                hurt, run = _run(left, sound, model, condition, write, progress)
            damage = damage or hurt
            ready.append(sinks)
            assert isinstance(run, Separation)  # of a model that streams
            whole = run.heard if whole is None else whole
            if not something_left(run, whole):
                break
            left = rest
        for sinks in ready:
            sinks.commit()
    return Separated(made, damage)


def _run(
    sound: Any,
    about: Source,
    model: Model,
    condition: NDArray[Any] | str | None,
    write: Callable[[np.ndarray], None],
    progress: Progress | None,
) -> tuple[str | None, Separation | SongEnhancer]:
    """All blocks of ``sound`` through the model; what is wrong with the file, and what was done."""
    from rtsep.engine.separate import Separation
    from rtsep.engine.song_enhancer import SongEnhancer
    from rtsep.model import SpectralModel

    run: Separation | SongEnhancer
    try:
        if isinstance(model, SpectralModel):
            if condition is not None:
                raise InputError(f"{model.spec.name} takes no condition.")
            run = SongEnhancer(model, about.sample_rate, about.channels)
        else:
            run = Separation(model, about.sample_rate, about.channels, condition)
    except InputError as error:
        raise InputError(f"{about.path}: {error}") from None
    process = run.process if isinstance(run, Separation) else run.process_sources
    done, damage = 0, None
    try:
        for block in sound.blocks():
            write(process(block))
            done += len(block)
            if progress is not None:
                progress(done, about.samples)
    except DamagedError as error:
        damage = str(error)
    write(run.flush() if isinstance(run, Separation) else run.flush_sources())
    return damage, run


class _Sinks:
    """A file for each row of what is written; all of them are there after ``commit``, none without it."""

    def __init__(self, sound: Source, targets: list[Path], overwrite: bool) -> None:
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as opening:
            self._sinks = [opening.enter_context(Sink(target, sound, overwrite)) for target in targets]
            self._stack = opening.pop_all()

    def __enter__(self) -> _Sinks:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, pieces: np.ndarray) -> None:
        for sink, piece in zip(self._sinks, pieces, strict=True):
            sink.write(piece)

    def commit(self) -> None:
        for sink in self._sinks:
            sink.commit()


class _Spool:
    """What is left of a sound for the next pass, in a file of float samples."""

    def __init__(self, path: Path, sound: Source) -> None:
        import soundfile

        self.path = path
        self._file = soundfile.SoundFile(path, "w", sound.sample_rate, sound.channels, "FLOAT", format="RF64")

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, piece: np.ndarray) -> None:
        self._file.write(piece)

    def blocks(self) -> Iterator[np.ndarray]:
        """All of it, float32 [n, channels]."""
        import soundfile

        with soundfile.SoundFile(self.path) as file:
            yield from file.blocks(1 << 16, dtype="float32", always_2d=True)
