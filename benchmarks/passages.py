"""The test set of karaoke: twelve passages of people who really sing, over music that no training takes.

    python -m benchmarks.passages OUT [--repos FOLDER] [--seed N]

fetches what `benchmarks/passages.yaml` names and writes SINGER-NN-vocals.flac, SINGER-NN-accompaniment.flac (48 kHz,
stereo) and OUT/manifest.csv, for `python -m benchmarks.karaoke --songs OUT/manifest.csv`. A passage is 40 s: four of
music alone, 32 of one singer in the middle with some room around, and music again. While somebody sings the voice lies
0 to 8 dB under the music, evenly spread. The same seed and recipe make the same passages.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from training.data.manifest import new_folder
from training.data.public_sources import Part, Source, SourceUnavailable, matches, opened, read_catalogue
from training.data.recording_checks import decode

RECIPE = Path(__file__).with_name("passages.yaml")
RATE = 48000  # Hz
PASSAGES = 12
PASSAGE_S, BEFORE_S, SUNG_S = 40.0, 4.0, 32.0
BELOW_DB = (0.0, 8.0)  # the voice's level under the music's, both while somebody sings
PAUSE_S = (0.2, 1.2)  # between recordings of a singer
ROOM_S, ROOM_DB = 1.4, -16.0  # time in which the room falls by 60 dB, and its level under the voice
PEAK = 0.7  # full scale 1, of the loudest of a passage's parts and their sum


@dataclass(frozen=True)
class Recording:
    """A file as it lies in its source."""

    data: bytes
    source: Source
    part: Part
    path: str

    def sound(self) -> np.ndarray:
        """Float32 at 48 kHz: `[samples]` of a voice, `[samples, 2]` of music; ValueError when it cannot be read."""
        import soxr

        try:
            sound, rate = decode(self.data, Path(self.path).suffix)
        except ValueError as error:
            raise ValueError(f"{self.source.name}: {self.path} cannot be read ({str(error).rstrip('.')}).") from None
        sound = soxr.resample(sound, rate, RATE)
        return sound.mean(1) if self.part.kind == "vocals" else np.stack([sound[:, 0], sound[:, -1]], 1)


def recordings(kind: str, repos: Path | None) -> dict[str, list[Recording]]:
    """What the recipe names of a kind, by speaker (of music: by source), each in order of the paths.

    Raises SourceUnavailable or ValueError with one sentence when something cannot be had.
    """
    found: dict[str, list[Recording]] = {}
    for source in read_catalogue(RECIPE).sources:
        parts = [part for part in source.parts if part.kind == kind]
        if not parts:
            continue
        with opened(source, repos) as (paths, read):
            for part in parts:
                chosen = [path for path in paths if matches(path, part)]
                made = [Recording(data, source, part, path) for path, data in zip(chosen, read(chosen), strict=True)]
                if not made:
                    raise ValueError(f"{source.name} has no {', '.join(part.files)}.")
                found.setdefault(part.speaker or source.name, []).extend(made)
    return found


def sung(voices: list[Recording], first: int, rng: np.random.Generator) -> np.ndarray:
    """32 s of one singer from recording `first` on, in order, with pauses between them; `[samples]`."""
    pieces, length = [np.zeros(0)], 0
    for number in range(len(voices)):
        sound = voices[(first + number) % len(voices)].sound()
        pause = np.zeros(round(rng.uniform(*PAUSE_S) * RATE))
        pieces += [sound / max(level(sound), 1e-9), pause]
        length += len(sound) + len(pause)
        if length >= SUNG_S * RATE:
            break
    whole = np.concatenate(pieces)[: round(SUNG_S * RATE)]
    fade = min(len(whole), RATE // 10)
    whole[-fade:] *= np.linspace(1, 0, fade)
    return whole


def level(sound: np.ndarray) -> float:
    """RMS of the frames of 0.1 s that are at most 30 dB under the loudest one."""
    size = min(len(sound), RATE // 10)
    power = np.square(sound[: len(sound) // size * size].reshape(-1, size)).mean(1)
    return float(np.sqrt(power[power >= power.max() / 1000].mean()))


def in_a_room(voice: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`[samples]` to `[samples, 2]`: in the middle, and decaying noise of its own on each side (Moorer 1979)."""
    from scipy.signal import fftconvolve

    time = np.arange(round(ROOM_S * RATE)) / RATE
    tail = rng.standard_normal((len(time), 2)) * (10 ** (-3 * time / ROOM_S) * (time > 0.015))[:, None]
    wet = fftconvolve(voice[:, None], tail, axes=0)[: len(voice)]
    wet *= np.sqrt(np.square(voice).sum() / max(np.square(wet).mean(1).sum(), 1e-12)) * 10 ** (ROOM_DB / 20)
    return voice[:, None] + wet


def passage(voice: np.ndarray, music: np.ndarray, below_db: float, rng: np.random.Generator) -> np.ndarray:
    """Vocals and accompaniment, `[2, samples, 2]`; voice: `[samples]`, music: `[samples, 2]`, 40 s of it."""
    before = round(BEFORE_S * RATE)
    vocals = np.zeros_like(music)
    vocals[before : before + len(voice)] = voice[: len(music) - before, None]
    vocals = in_a_room(vocals[:, 0], rng)
    during = music[before : before + len(voice)]
    vocals *= level(during.ravel()) / level(vocals.ravel()) * 10 ** (-below_db / 20)
    parts = np.stack([vocals, music])
    return parts * PEAK / max(np.abs(parts).max(), np.abs(parts.sum(0)).max())


def excerpts(music: list[Recording]) -> Iterator[tuple[Recording, np.ndarray]]:
    """40 s of each piece that is as long, from a fifth of it on; then the 40 s after those, as far as pieces go."""
    count, turn, some = round(PASSAGE_S * RATE), 0, True
    while some:
        some = False
        for piece in music:
            sound = piece.sound()
            begin = min(len(sound) // 5, max(0, len(sound) - count)) + turn * count
            if begin + count <= len(sound):
                some = True
                yield piece, sound[begin : begin + count].astype(np.float64)
        turn += 1


def write_passages(folder: Path, add: Callable[[list], object], repos: Path | None, seed: int) -> Iterator[str]:
    """Writes the passages into `folder`, a row a stem by `add`; yields their names as they are done."""
    voices, music = recordings("vocals", repos), recordings("instrumental", repos)
    behind = excerpts([piece for pieces in music.values() for piece in pieces])
    levels = np.random.default_rng(seed).permutation(np.linspace(*BELOW_DB, PASSAGES))
    singers, done = sorted(voices), dict.fromkeys(voices, 0)
    for number, below_db in enumerate(levels):
        rng, singer = np.random.default_rng((seed, number)), singers[number % len(singers)]
        turns = -(-PASSAGES // len(singers))
        first = done[singer] * len(voices[singer]) // turns
        try:
            piece, sound = next(behind)
        except StopIteration:
            raise ValueError(f"There is music for {number} passages of {PASSAGE_S:g} s, not for {PASSAGES}.") from None
        done[singer] += 1
        name, lead = f"{singer}-{done[singer]:02d}", voices[singer][first]
        made = passage(sung(voices[singer], first, rng), sound, float(below_db), rng)
        for kind, part, recording in zip(("vocals", "accompaniment"), made, (lead, piece), strict=True):
            soundfile.write(folder / f"{name}-{kind}.flac", part, RATE)
            source, note = recording.source, f"{recording.path} and on, {below_db:.1f} dB under the music"
            note = note if kind == "vocals" else recording.path
            facts = (f"{PASSAGE_S:.2f}", RATE, 2, "", recording.part.licence or source.licence, source.origin, note)
            add([f"{name}-{kind}.flac", kind, "test", singer, "passages", *facts])
        yield name


def main(
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    repos: Annotated[Path | None, typer.Option(help="A folder that has the repositories and packages already.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same passages.")] = 1,
) -> None:
    """Build the test set of karaoke."""
    try:
        with new_folder(out) as (folder, add):
            for name in write_passages(folder, add, repos, seed):
                typer.echo(name)
    except (OSError, ValueError, SourceUnavailable) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
