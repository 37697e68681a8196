"""Songs made of notes, one stem for each group of instruments.

    python -m training.data.made_stems OUT [--repos DIR] [--minutes M] [--valid MINUTES] [--seed N]

FluidSynth plays MIDI files (those of `made_songs.yaml`, fetched or taken from DIR) from a sound font, each group of
General MIDI programs by itself; key, tempo and instruments change from song to song. Voices, pads and effects belong to
no group and are left out, so that the stems sum to the mixture. Written are OUT/NAME-drums.ogg, OUT/NAME-bass.ogg, …
(48 kHz, stereo) and OUT/manifest.csv, for `--dataset manifest=OUT/manifest.csv`. Tunes of valid songs are in no others.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train", "sung")

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from training.data.manifest import INSTRUMENT_STEM, new_folder
from training.data.midi_library import OTHER_INSTRUMENT, RATE, TEMPO, MidiLibrary, midi_library, played
from training.data.public_sources import SourceUnavailable
from training.data.sound_files import write_sound
from training.data.tunes import Tune, arranged, by_instrument, read_tune

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float64]

# General MIDI programs, from 0. Drums have a channel instead.
GROUPS: dict[str, tuple[int, ...]] = {
    "drums": (),
    "bass": tuple(range(32, 40)),
    "guitar": tuple(range(24, 32)),
    "keys": tuple(range(24)),  # pianos, chromatic percussion, organs
    "strings": (*range(40, 52), 55),  # without choirs and voices
    "winds": (*range(56, 85), 86, 87),  # brass, reeds, pipes and synthesizer leads, without the lead voice
}
LEAST = 3  # groups that sound in a song
SONG_S = 60.0  # at most
KEY = 3  # semitones, either way
PEAK = 0.9  # of the sum of a song's stems, or of a stem, if it is louder
SOUNDS = 1e-6  # power beside the mixture's: a softer stem is none
PLACES = 6  # of a long tune, of which the one is taken where most groups play


def made_stems(tune: Tune, font: Path, rng: np.random.Generator) -> tuple[dict[str, Samples], str]:
    """A part of a tune as stems, `[samples, 2]` each, by group; and how it is played.

    Raises ValueError with one sentence if fewer than three groups sound.
    """
    key, tempo = int(rng.integers(-KEY, KEY + 1)), float(rng.uniform(*TEMPO))
    length = min(SONG_S * tempo, tune.seconds + 1)
    parts: dict[str, bytes] = {}
    for begin in rng.uniform(0, max(tune.seconds - length, 0), PLACES):
        midi = arranged(tune, (begin, begin + length), None, key, tempo, OTHER_INSTRUMENT, rng)
        parts = max(parts, by_instrument(read_tune(midi, tune.name), GROUPS), key=len)
    count = round(length / tempo * RATE)
    stems = {name: _cut(played(midi, font), count) for name, midi in parts.items()}
    mixture = sum(stems.values(), np.zeros((count, 2)))
    least = SOUNDS * np.square(mixture).mean()
    stems = {name: stem for name, stem in stems.items() if np.square(stem).mean() > least}
    if len(stems) < LEAST:
        raise ValueError(f"{tune.name} has no passage in which {LEAST} groups of instruments sound.")
    mixture = np.sum(list(stems.values()), axis=0)
    factor = PEAK / max(float(np.abs(each).max()) for each in (mixture, *stems.values()))
    about = f"{tune.name}, {key:+} semitones, {tempo:.2f} as fast"
    return {name: stem * factor for name, stem in stems.items()}, about


def _cut(sound: Samples, count: int) -> Samples:
    return np.pad(sound[:count], ((0, max(count - len(sound), 0)), (0, 0)))


def write_stems(
    library: MidiLibrary, folder: Path, add: Callable[[list[Any]], object], minutes: float, valid: float, seed: int
) -> Iterator[str]:
    """Writes songs to train on and, `valid` minutes of them, to validate on, a row a stem by `add`; yields their names.

    All tunes of a split are played before one is played again. Raises ValueError with one sentence if no song can be
    made.
    """
    for split, wanted in (("train", minutes), ("valid", valid)):
        tunes = library.tunes_of(split == "valid")
        if wanted and not (tunes and library.fonts):
            raise ValueError(f"There is no tune or no sound font for {split} songs.")
        order = np.random.default_rng((seed, split == "valid")).permutation(len(tunes))
        done, number = 0.0, 0
        while done < wanted:
            rng = np.random.default_rng((seed, split == "valid", number))
            tune = tunes[order[number % len(tunes)]]
            font, of_font = library.fonts[rng.integers(len(library.fonts))]
            number += 1
            try:
                stems, about = made_stems(tune.read(), font, rng)
            except ValueError as reason:
                if number >= len(tunes) and not done:
                    raise ValueError(f"No song was made: {reason}") from None
                continue
            name, seconds = f"made-{split}-{seed}-{number:04}", 0.0
            for instrument, stem in stems.items():
                file, seconds = f"{name}-{instrument}.ogg", len(stem) / RATE
                write_sound(folder / file, stem, RATE)
                licence = f"tune: {tune.licence}; sound font: {of_font}"
                facts = (f"{seconds:.2f}", RATE, 2, "", licence, tune.origin, about)
                add([file, INSTRUMENT_STEM, split, "", "made stems", *facts])
            done += seconds / 60
            yield f"{name}: {about}: {', '.join(stems)}"


def main(
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    repos: Annotated[Path | None, typer.Option(help="A folder that has the packages already.")] = None,
    minutes: Annotated[float, typer.Option(min=0, help="Of songs to train on, at least.")] = 60.0,
    valid: Annotated[float, typer.Option(min=0, help="Of songs to validate on, at least.")] = 12.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same songs.")] = 1,
) -> None:
    """Make stems of MIDI files, one for each group of instruments."""
    try:
        with new_folder(out) as (folder, add), midi_library(repos) as library:
            for line in write_stems(library, folder, add, minutes, valid, seed):
                typer.echo(line)
    except (OSError, ValueError, SourceUnavailable) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
