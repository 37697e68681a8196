"""Songs that are in no training: speakers made to sing over music, in the middle and as a choir around it.

    python -m benchmarks.singers OUT --data MANIFEST.csv [--split S] [--deb FILE]

writes the songs SPEAKER-middle and SPEAKER-wide (48 kHz, stereo) and OUT/manifest.csv, for
`python -m benchmarks.karaoke --songs OUT/manifest.csv --split S`. The free songs with true stems are of one band, whose
singers are few and in part known to the models; these are the songs of strangers. Speakers are of the manifest's split,
which training does not open, and sing by WORLD (`training.data.tools.speech_to_singing`). The music is that of the game
Wesnoth (Debian's wesnoth-1.16-music, GPL-2+ and CC-BY-SA-4.0), which is not among the packages that training takes: one
half of its pieces for the test split, the other for valid. Choose by `--split valid`, report `test`. (`karaoke` 5 was
chosen with the help of earlier songs of three of the test speakers.)
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train", "sung")

import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import soxr
import torch
import typer

from training.data.augment.double_tracking import doubled, take
from training.data.manifest import Row, new_folder, read_manifest
from training.data.tools.debian import download, found, piece, unpacked
from training.data.tools.speech_to_singing import WIDE, sung

PACKAGE = "wesnoth-1.16-music"
LICENCE = "GPL-2+ / CC-BY-SA-4.0 (Debian copyright file)"
RATE = 48000  # Hz
SPEAKERS = 8
SPOKEN_S = 12.0  # of each speaker
BEFORE_S = 5.0  # of music before anybody sings: what is changed there
SONG_S = 18.0
BELOW_DB = 3.0  # the vocals' RMS under the accompaniment's, while they sing


def speakers(rows: Sequence[Row], split: str, count: int) -> list[list[Row]]:
    """Recordings of `count` speakers of a split, a list each: those with the most treble first, of the rest every so
    manyth.

    Raises ValueError with one sentence if there are fewer who speak for `SPOKEN_S`.
    """
    by_speaker: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.kind == "speech" and row.split == split and row.speaker:
            by_speaker.setdefault((row.corpus, row.speaker), []).append(row)
    long = [each for _, each in sorted(by_speaker.items()) if sum(row.seconds for row in each) >= SPOKEN_S]
    if len(long) < count:
        raise ValueError(f"{len(long)} speakers of the split {split} speak for {SPOKEN_S:g} s: that takes {count}.")
    wide = [each for each in long if _band(each) >= WIDE][:count]
    rest = [each for each in long if each not in wide]
    spread = np.linspace(0, len(rest) - 1, count - len(wide)).round().astype(int)
    return wide + [rest[index] for index in spread]


def _band(rows: Sequence[Row]) -> int:
    """Up to which frequency, in Hz, all of the recordings go."""
    return min(row.bandwidth for row in rows)


def voice(rows: Sequence[Row], rng: np.random.Generator) -> np.ndarray:
    """What one speaker sings, float64 `[samples]`.

    Raises ValueError with one sentence if a recording cannot be read or hardly any of it is voiced.
    """
    parts: list[np.ndarray] = []
    for row in rows:
        if sum(map(len, parts)) >= SPOKEN_S * RATE:
            break
        try:
            speech, rate = soundfile.read(row.path, always_2d=True)
        except soundfile.LibsndfileError:
            raise ValueError(f"{row.path} is missing or damaged.") from None
        parts.append(soxr.resample(speech.mean(1), rate, RATE))
    song = sung(np.concatenate(parts)[: round(SPOKEN_S * RATE)], RATE, rng, _band(rows))
    if song is None:
        raise ValueError(f"Hardly anything of {rows[0].path.name} is voiced: there is nothing to sing.")
    return song


def places(sound: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """A voice `[samples]` in the middle and as takes around it, `[samples, 2]`."""
    yield "middle", np.repeat(sound[:, None], 2, 1)
    lead = torch.from_numpy(sound.astype(np.float32))
    takes = [take(lead, RATE, rng) for _ in range(3)]
    yield "wide", doubled(lead, takes, rng).T.numpy().astype(np.float64)


def write_songs(
    chosen: Sequence[Sequence[Row]], music: Sequence[Path], folder: Path, add: Callable[[list], object], seed: int
) -> Iterator[str]:
    """Writes two songs a speaker into `folder`, a row a stem by `add`; yields their names as they are done.

    Raises ValueError with one sentence where music is too short or silent, or something cannot be read.
    """
    count, before = round(SONG_S * RATE), round(BEFORE_S * RATE)
    for number, (rows, file) in enumerate(zip(chosen, music, strict=True)):
        rng = np.random.default_rng((seed, number))
        accompaniment = piece(file, SONG_S).astype(np.float64) / 32767
        if len(accompaniment) < count:
            raise ValueError(f"{file.name} is shorter than {SONG_S:g} s.")
        for where, sound in places(voice(rows, rng)[: count - before], rng):
            vocals = np.zeros((count, 2))
            vocals[before : before + len(sound)] = sound
            during = np.square(accompaniment[before : before + len(sound)]).mean()
            if not during:
                raise ValueError(f"{file.name} is silent.")
            vocals *= np.sqrt(during / np.square(sound).mean()) * 10 ** (-BELOW_DB / 20)
            stems = {
                "vocals": (vocals, rows[0].licence, rows[0].path.name, "sung by WORLD"),
                "accompaniment": (accompaniment, LICENCE, f"debian:{PACKAGE}", file.name),
            }
            loud = 0.5 / max(float(np.abs(x).max()) for x in (vocals, accompaniment, vocals + accompaniment))
            for kind, (wave, licence, source, note) in stems.items():
                target = f"{rows[0].speaker}-{where}-{kind}.flac"
                soundfile.write(folder / target, wave * loud, RATE)
                facts = (f"{SONG_S:.2f}", RATE, 2, "", licence, source, note)
                add([target, kind, rows[0].split, rows[0].speaker, "singers", *facts])
            yield f"{rows[0].speaker}-{where}"


def main(
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    data: Annotated[Path, typer.Option(help="A manifest.csv with speakers.")],
    split: Annotated[str, typer.Option(help="Whose speakers sing: valid or test.")] = "test",
    deb: Annotated[Path | None, typer.Option(help=f"The package {PACKAGE}, if it is here already.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same songs.")] = 1,
) -> None:
    """Make songs of speakers and music that no model was trained on."""
    try:
        if split not in ("valid", "test"):
            raise ValueError(f"Speakers that training does not hear are those of valid and test, not of {split}.")
        chosen = speakers(read_manifest(data), split, SPEAKERS)
        with new_folder(out) as (folder, add), tempfile.TemporaryDirectory() as place:
            if deb is None:
                download([PACKAGE], Path(place))
            package = deb or found([PACKAGE], Path(place))[PACKAGE]
            pieces = unpacked(package, Path(place, "music"))
            if len(pieces) < 2 * len(chosen):
                raise ValueError(f"{package.name} has {len(pieces)} pieces of music, and {2 * len(chosen)} are needed.")
            pieces = pieces[split == "test" :: 2]
            spread = np.linspace(0, len(pieces) - 1, len(chosen)).round().astype(int)
            for name in write_songs(chosen, [pieces[index] for index in spread], folder, add, seed):
                typer.echo(name)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
