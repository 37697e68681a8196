"""Songs mixed anew from their stems, as more songs to train on.

    python -m training.data.tools.stem_remix OUT --stems FOLDER [--leave SONG ...] [--versions N] [--seed N]
        [--licence L]

FOLDER holds a folder for each song, and in it a sound file for each stem, all of which begin together. Written are
OUT/SONG-N-accompaniment.flac, OUT/SONG-N-vocals.flac (48 kHz, stereo; they sum to the mix) and OUT/manifest.csv for
`--dataset manifest=OUT/manifest.csv`. Two stems of a song tell less of what is voice than thirty: in every version all
have other gains, some are missing, the drums may be those of another song, and other instruments of it may join them
(Uhlich et al. 2017, "Improving music source separation based on deep neural networks through data augmentation and
network blending", mix by stem as well). Then the whole is what one of `TREATMENTS` makes of it, so that a recipe
needs no copies of these songs: `--set 'data.copies=[]'`.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from training.data.augment.offline_augment import Copy, ffmpeg, varied
from training.data.manifest import AUDIO, STEMS, new_folder

RATE = 48000  # Hz, of what is written
VOCALS = r"vo(x|cal|ice)|sing|choir|acapp?ella"
DRUMS = r"drum|kick|snare|hat|\bhh\b|tom|clap|crash|cymbal|perc|beat|break|tops"
SPREAD = 4.0  # dB, standard deviation of a stem's gain
OTHER_DRUMS, GUESTS, GUEST = 0.5, 0.3, 0.4  # how often; GUEST is of each instrument where another song's are guests
MISSING = {"vocals": 0.35, "drums": 0.2, "others": 0.2}  # of each stem
TREATMENTS = (
    Copy(),
    Copy(semitones=-3),
    Copy(semitones=-2, tempo=0.94),
    Copy(semitones=-1, tempo=1.05),
    Copy(semitones=2, tempo=1.06),
    Copy(semitones=3),
    Copy(codec="mp3", kbps=128),
    Copy(codec="opus", kbps=96),
)


@dataclass(frozen=True)
class Stems:
    """Of one song: int16 `[2, samples]` each, of any length."""

    name: str
    vocals: list[np.ndarray]
    drums: list[np.ndarray]
    others: list[np.ndarray]

    @property
    def length(self) -> int:
        """Samples of the longest."""
        return max(stem.shape[1] for stem in (*self.vocals, *self.drums, *self.others))


def version(song: Stems, songs: Sequence[Stems], rng: np.random.Generator) -> np.ndarray:
    """Accompaniment and vocals of `song` mixed anew, float32 `[2, 2, samples]`; their sum does not clip.

    Of another one of `songs` come, at times, the drums and some instruments. At least one stem of vocals is there.
    """
    drums, others = song.drums, song.others
    if rng.random() < OTHER_DRUMS:
        drums = songs[int(rng.integers(len(songs)))].drums or drums
    if rng.random() < GUESTS:
        guests = songs[int(rng.integers(len(songs)))]
        others = others + [stem for stem in guests.others if guests is not song and rng.random() < GUEST]
    kept: dict[str, Sequence[np.ndarray]] = {"vocals": song.vocals, "drums": drums, "others": others}
    for name, stems in kept.items():
        here = [stem for stem in stems if rng.random() >= MISSING[name]]
        kept[name] = here or list(stems[:1])
    both = ([*kept["drums"], *kept["others"]], kept["vocals"])
    parts = np.stack([_sum(stems, song.length, rng) for stems in both])
    parts = varied(_within(parts), RATE, TREATMENTS[rng.integers(len(TREATMENTS))])
    return _within(parts)


def _sum(stems: Sequence[np.ndarray], length: int, rng: np.random.Generator) -> np.ndarray:
    total = np.zeros((2, length), np.float32)
    for stem in stems:
        gain = 10 ** (rng.normal(0, SPREAD) / 20) / 32767
        here = stem[:, :length]
        total[:, : here.shape[1]] += here * np.float32(gain)
    return total


def _within(parts: np.ndarray) -> np.ndarray:
    """Lowered together where the mix or a part would clip."""
    loudest = max(float(np.abs(parts).max()), float(np.abs(parts.sum(0)).max()))
    return parts * np.float32(0.98 / max(0.98, loudest))


def read_stems(folder: Path, vocals: str = VOCALS, drums: str = DRUMS, leave: Sequence[str] = ()) -> list[Stems]:
    """Every song below `folder` but those whose folder's name contains one of `leave`, whatever the case.

    A stem whose name matches `vocals`, else `drums` (regular expressions, whatever the case), is of that kind. Raises
    ValueError with one sentence where there is no song, or one has no vocals or nothing else.
    """
    songs = []
    for home in sorted(path for path in folder.iterdir() if path.is_dir()):
        if any(name.lower() in home.name.lower() for name in leave):
            continue
        stems = Stems(re.sub(r"[^a-z0-9]+", "-", home.name.lower()).strip("-"), [], [], [])
        for file in sorted(path for path in home.iterdir() if path.suffix.lower() in AUDIO | {".m4a", ".aif", ".aiff"}):
            kinds = ((vocals, stems.vocals), (drums, stems.drums), ("", stems.others))
            next(those for pattern, those in kinds if re.search(pattern, file.stem, re.IGNORECASE)).append(
                _decode(file)
            )
        if stems.vocals or stems.drums or stems.others:
            if not stems.vocals or not (stems.drums or stems.others):
                missing = "vocals" if not stems.vocals else "stem but vocals"
                raise ValueError(f"{home} has no {missing}, by the names of its files; see --vocals, or --leave it.")
            songs.append(stems)
    if not songs:
        raise ValueError(f"There is no folder with stems in {folder}.")
    return songs


def _decode(file: Path) -> np.ndarray:
    try:
        sound = ffmpeg(["-i", str(file), "-ar", str(RATE), "-ac", "2", "-f", "s16le", "-"])
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return np.frombuffer(sound, np.int16).reshape(-1, 2).T


def write_versions(
    songs: Sequence[Stems],
    folder: Path,
    add: Callable[[list], object],
    count: int,
    seed: int,
    corpus: str,
    licence: str,
) -> float:
    """Writes `count` versions of each song to `folder`, a row a part by `add` (`new_folder`); returns their minutes."""
    import soundfile

    rng = np.random.default_rng(seed)
    made = 0.0
    for number in range(count):
        for song in songs:
            parts = version(song, songs, rng)
            seconds = parts.shape[2] / RATE
            made += seconds / 60
            for kind, part in zip(STEMS, parts, strict=True):
                name = f"{song.name}-{number}-{kind}.flac"
                soundfile.write(folder / name, part.T, RATE)
                facts = (f"{seconds:.2f}", RATE, 2, "", licence, song.name, "mixed anew from stems")
                add([name, kind, "train", "", f"{corpus} (mixed anew)", *facts])
    return made


def main(
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    stems: Annotated[Path, typer.Option(help="A folder of songs, each a folder of stems.")],
    leave: Annotated[
        list[str], typer.Option(help="A song that is kept for validation or test; may be said again.")
    ] = [],  # noqa: B006
    versions: Annotated[int, typer.Option(min=1, help="Of each song.")] = 4,
    seed: Annotated[int, typer.Option(help="Same seed, same versions.")] = 1,
    vocals: Annotated[str, typer.Option(help="What the names of vocal stems match.")] = VOCALS,
    drums: Annotated[str, typer.Option(help="What the names of drum stems match.")] = DRUMS,
    corpus: Annotated[str, typer.Option(help="Name of the songs, for the model card.")] = "stems",
    licence: Annotated[str, typer.Option(help="Their licence, for the model card.")] = "?",
) -> None:
    """Mix songs anew from their stems."""
    try:
        if not stems.is_dir():
            raise ValueError(f"There is no folder {stems}.")
        with new_folder(out) as (folder, add):  # refuses before the stems are decoded
            songs = read_stems(stems, vocals, drums, leave)
            made = write_versions(songs, folder, add, versions, seed, corpus, licence)
        typer.echo(f"{made:.1f} minutes of {len(songs)} songs mixed anew, in {out}")
    except re.error as error:
        typer.echo(f"That is no regular expression: {error}.", err=True)
        raise typer.Exit(2) from None
    except (OSError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
