"""Stems of songs that have none: a separator's, where they can be trusted.

    rtsep models add spleeter
    python -m training.data.pseudo_stems OUT SONG... --licence L [--corpus NAME] [--model spleeter]

separates each song and keeps passages. Where a voice sings over music both parts are kept; where nobody sings the
mixture itself is music without a voice, exactly. A song is refused when the separator is not sure of it: when much of
the mixture is in the vocals even where they are emptiest, or when vocals and accompaniment move together, as they do
where one voice lies in both. Written are OUT/SONG-NN-vocals.flac, OUT/SONG-NN-accompaniment.flac and, for music alone,
OUT/SONG-NN-music.flac (48 kHz, stereo), and OUT/manifest.csv with the licence of the songs and the name of the
separator. Above its ceiling (11 kHz of Spleeter's) each part has its share of the octave below it, as `rtsep separate`
gives it: the manifest's bandwidth says how far up its own work goes.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import rtsep
from rtsep.engine.song_enhancer import SongEnhancer
from rtsep.errors import RtsepError
from rtsep.model import SpectralModel
from training.data.augment.offline_augment import ffmpeg
from training.data.manifest import STEMS, new_folder
from training.data.sound_files import write_sound

RATE = 48000  # Hz
FRAME_S = 0.25
SILENT_DB = -60.0  # full scale 1: nothing sounds
SUNG_DB = -20.0  # frames that are less than so much under the loudest of the vocals are sung
FREE_DB = -35.0  # and those more than so much under it are not
EMPTIEST = 10  # percent of a song in which nobody sings, surely: there the vocals must be all but empty
LEFT_DB = -20.0  # of the mixture may be in them there, at most
TOGETHER = 0.6  # of the levels of vocals and accompaniment, frame by frame, where somebody sings: their correlation
SHORTEST_S, LONGEST_S = 6.0, 40.0  # of a passage
BRIDGED_S = 2.0  # a shorter pause of the voice belongs to the passage

Floats = np.ndarray


@dataclass(frozen=True)
class Checked:
    """How far a separation can be trusted. `left_db`: what the vocals hold of the mixture where they are emptiest;
    `together`: correlation of the levels of both parts where somebody sings."""

    left_db: float
    together: float
    sung_share: float

    @property
    def reason_against(self) -> str:
        """Why not to use it, a sentence; empty if there is none."""
        if self.left_db > LEFT_DB:
            return f"where nobody should sing {self.left_db:.0f} dB of the mixture are in the vocals"
        if self.together > TOGETHER:
            return f"vocals and accompaniment move together ({self.together:.2f}): a voice lies in both"
        return "" if self.sung_share > 0.05 else "hardly anybody sings"


def levels(sound: Floats) -> Floats:
    """dB of each frame of a quarter of a second of `[samples, channels]`."""
    size = round(FRAME_S * RATE)
    count = len(sound) // size
    power = np.square(sound[: count * size], dtype=np.float64).reshape(count, -1).mean(1)
    return 10 * np.log10(power + 1e-12)


def sung_and_free(vocals: Floats, mixture: Floats) -> tuple[Floats, Floats]:
    """For each frame, whether somebody surely sings, and whether surely nobody does while something sounds."""
    voice, sounds = levels(vocals), levels(mixture) > SILENT_DB
    return (voice > voice.max() + SUNG_DB) & sounds, (voice < voice.max() + FREE_DB) & sounds


def check(vocals: Floats, accompaniment: Floats, mixture: Floats) -> Checked:
    """All `[samples, 2]`."""
    sung, _ = sung_and_free(vocals, mixture)
    sounds = levels(mixture) > SILENT_DB
    left = (levels(vocals) - levels(mixture))[sounds]
    here = [levels(part)[sung] for part in (vocals, accompaniment)]
    moving = sung.sum() > 4 and min(float(each.std()) for each in here) > 1e-6
    together = float(np.corrcoef(*here)[0, 1]) if moving else 0.0
    return Checked(float(np.percentile(left, EMPTIEST)) if sounds.any() else 0.0, together, float(sung.mean()))


def stretches(flags: Floats, bridged_s: float) -> list[tuple[int, int]]:
    """First and last sample of the passages whose frames are all flagged, but for gaps of less than `bridged_s`."""
    size, found = round(FRAME_S * RATE), list[list[int]]()
    for index in np.flatnonzero(flags).tolist():
        if found and index - found[-1][1] <= bridged_s / FRAME_S:
            found[-1][1] = index + 1
        else:
            found.append([index, index + 1])
    cut = []
    for begin, end in found:
        for start in range(begin, end, round(LONGEST_S / FRAME_S)):
            stop = min(start + round(LONGEST_S / FRAME_S), end)
            if (stop - start) * FRAME_S >= SHORTEST_S:
                cut.append((start * size, stop * size))
    return cut


def read_song(file: Path) -> Floats:
    """float32 `[samples, 2]` at 48 kHz; raises ValueError with one sentence for what ffmpeg cannot read."""
    try:
        raw = ffmpeg(["-i", str(file), "-map", "0:a:0", "-ar", str(RATE), "-ac", "2", "-f", "f32le", "-"])
    except ValueError as error:
        raise ValueError(f"{file.name} cannot be read: {str(error).replace(f'{file}: ', '')}") from None
    return np.frombuffer(raw, "<f4").reshape(-1, 2)


def separated(model: SpectralModel, mixture: Floats) -> tuple[Floats, Floats]:
    """Vocals and accompaniment, which sum to the mixture, `[samples, 2]` each."""
    enhancer = SongEnhancer(model, RATE, 2)
    made = np.concatenate([enhancer.process_sources(mixture), enhancer.flush_sources()], axis=1)
    found = dict(zip(model.spec.sources, made, strict=True))
    return found["vocals"], mixture - found["vocals"]


def write_song(
    file: Path, model: SpectralModel, folder: Path, add: Callable[[list[Any]], object], corpus: str, licence: str
) -> str:
    """Writes the passages of one song, a row a file by `add`; says what was kept, or why nothing was."""
    mixture = read_song(file)
    vocals, accompaniment = separated(model, mixture)
    found = check(vocals, accompaniment, mixture)
    if found.reason_against:
        return f"{file.name} is left out: {found.reason_against}."
    sung, free = sung_and_free(vocals, mixture)
    name = re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")
    facts = f"vocals at their emptiest {found.left_db:.0f} dB, levels together {found.together:.2f}"
    note = f"separated by {model.spec.name} {model.spec.version}; {facts}"
    kept = {"sung": 0.0, "free": 0.0}

    def write(kind: str, target: str, part: Floats, bandwidth: int | str) -> None:
        write_sound(folder / target, part, RATE)
        facts = (f"{len(part) / RATE:.2f}", RATE, 2, bandwidth, licence, file.name, note)
        add([target, kind, "train", name, f"{corpus} (separated)", *facts])

    ceiling = round(model.spec.ceiling_hz)
    for number, (begin, end) in enumerate(stretches(sung, BRIDGED_S)):
        kept["sung"] += (end - begin) / RATE
        parts = np.stack([accompaniment[begin:end], vocals[begin:end]])
        parts = parts / max(1.0, float(np.abs(parts).max()))
        for kind, part in zip(STEMS, parts, strict=True):
            write(kind, f"{name}-{number:02}-{kind}.flac", part, ceiling)
    for number, (begin, end) in enumerate(stretches(free, 0.3)):
        kept["free"] += (end - begin) / RATE
        write("instrumental", f"{name}-{number:02}-music.flac", mixture[begin:end], "")
    return f"{file.name}: {kept['sung']:.0f} s with a voice, {kept['free']:.0f} s without"


def load_separator(name: str) -> SpectralModel:
    """A separator of whole songs into vocals and the rest; raises ValueError with one sentence for any other."""
    model = rtsep.load(name)
    if not isinstance(model, SpectralModel) or "vocals" not in model.spec.sources:
        raise ValueError(f"{name} is no separator of songs in files; rtsep models add spleeter makes one.")
    return model


def main(
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    songs: Annotated[list[Path], typer.Argument(help="Songs, whole, in any form that ffmpeg reads.")],
    licence: Annotated[str, typer.Option(help="Of the songs, for the model card.")],
    corpus: Annotated[str, typer.Option(help="Name of the songs, for the model card.")] = "songs",
    model: Annotated[str, typer.Option(help="The separator: a name or a path.")] = "spleeter",
) -> None:
    """Separate songs into stems to train on."""
    try:
        if missing := [str(song) for song in songs if not song.is_file()]:
            raise ValueError(f"There is no {missing[0]}.")
        separator = load_separator(model)
        with new_folder(out) as (folder, add):
            for song in songs:
                typer.echo(write_song(song, separator, folder, add, corpus, licence))
            if not any(folder.glob("*.flac")):
                raise ValueError("None of the songs can be used.")
    except (OSError, ValueError, RtsepError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
