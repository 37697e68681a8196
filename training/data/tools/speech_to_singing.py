"""Singers made of speakers: recorded speech, sung to a melody made up on the spot.

    python -m training.data.tools.speech_to_singing OUT --data MANIFEST.csv [--kind KIND] [--corpus NAME ...]
        [--minutes M] [--seed N]

writes OUT/NAME-vocals.flac (48 kHz, mono) and OUT/manifest.csv, whose rows are vocals without an accompaniment, for
`--dataset manifest=OUT/manifest.csv`: more voices than the few albums with free stems have. WORLD (Morise, Yokomori,
Ozawa 2016, through the package pyworld) takes speech apart into pitch, envelope and aperiodicity. Voiced stretches
become notes, held as long as the beat asks, and the pitch that of a walk on a scale, with glides, vibrato and drift
(what tells singing from speech: Saitou, Goto, Unoki, Akagi 2007, "Speech-to-singing synthesis"). The envelope is warped
as well, so that one speaker lends several vocal tracts. `--kind vocals` has the singers of songs sing other
melodies with other formants.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train", "sung")

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from training.data.clip_store import bank_rate, decode
from training.data.manifest import Row, new_folder, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    Frames = NDArray[np.float64]

RATE = 48000  # Hz, of what is written
FRAME_MS = 5.0
SECOND = round(1000 / FRAME_MS)  # frames
PIECE_S = 20.0  # of speech that are sung at once, with one vocal tract in one key
SYLLABLE = SECOND // 4  # longest part of a voiced stretch that gets a note of its own, frames
SHORTEST = 8  # frames; a shorter voiced stretch is no note
SCALES = ((0, 2, 4, 7, 9), (0, 3, 5, 7, 10), (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))
BEATS = (0.25, 0.5, 0.5, 0.5, 1.0, 1.0, 2.0)
STEPS = (-3, -2, -1, -1, 0, 1, 1, 2, 3)  # of the scale, from note to note
WIDE = 12000  # Hz; recordings that end below get a treble
TREBLE = (6.0, 18.0)  # dB an octave that it falls by
A1 = 55.0  # Hz, where pitches in semitones are counted from
REACH = 8.0  # semitones around the singer's middle


@dataclass(frozen=True)
class Score:
    """What is sung, a value a frame: where in the speech (in its frames) and the pitch in semitones above A1.

    `voiced` frames have a pitch; what is between them is there too, so that the pitch has no jumps.
    """

    place: Frames
    pitch: Frames
    voiced: NDArray[np.bool_]


def sung(
    speech: NDArray[np.float64], rate: int, rng: np.random.Generator, band: float = np.inf
) -> NDArray[np.float64] | None:
    """`speech` `[samples]` at `rate` Hz as singing `[samples]`, peak 0.5, as many seconds as its notes take.

    Above `band` Hz, up to which the recording goes, there is breath that goes on from what is below: singers without
    treble would teach that treble is never a singer's. None where too little of it is voiced to be sung (a tenth of a
    second).
    """
    import pyworld

    speech = np.ascontiguousarray(speech, np.float64)
    rough, times = pyworld.dio(speech, rate, f0_floor=65.0, f0_ceil=500.0, frame_period=FRAME_MS)
    pitch = pyworld.stonemask(speech, rough, times, rate)
    if np.count_nonzero(pitch) < SECOND // 10:
        return None
    envelope = np.log(pyworld.cheaptrick(speech, pitch, times, rate) + 1e-16)
    noise = pyworld.d4c(speech, pitch, times, rate)
    if band < WIDE:
        _continue_treble(envelope, noise, band * 2 * (envelope.shape[1] - 1) / rate, rng)
    spoken = float(np.median(pitch[pitch > 0]))
    # Low voices rather get shorter vocal tracts and high ones longer: both sides of the range are rarer among speakers.
    warp = 2 ** (rng.uniform(-3, 2) / 12) if spoken > 160 else 2 ** (rng.uniform(-1, 3) / 12)
    middle = 12 * np.log2(spoken / A1) + 30 * np.log2(warp) + rng.uniform(0, 5)
    score = compose(pitch > 0, middle, rng)
    bins = np.clip(np.arange(envelope.shape[1]) / warp, 0, envelope.shape[1] - 1)
    envelope, noise = (_at(_at(x, score.place).T, bins).T for x in (envelope, noise))
    hertz = np.where(score.voiced, A1 * 2 ** (score.pitch / 12), 0.0)
    power, noise = (np.ascontiguousarray(x) for x in (np.exp(envelope), np.clip(noise, 0, 1)))
    sound = pyworld.synthesize(hertz, power, noise, rate, FRAME_MS)
    return sound * (0.5 / max(float(np.abs(sound).max()), 1e-9))


def _continue_treble(envelope: Frames, noise: Frames, band: float, rng: np.random.Generator) -> None:
    """In place, log power and aperiodicity `[frames, bins]` above bin `band`: falling, and all breath."""
    top = int(0.93 * band)  # recordings fade out before they end
    last = envelope[:, int(0.7 * band) : top].mean(1, keepdims=True)
    octaves = np.log2(np.arange(top, envelope.shape[1]) / top)
    envelope[:, top:] = last - rng.uniform(*TREBLE) * octaves * np.log(10) / 10
    noise[:, top:] = 1.0


def compose(voiced: NDArray[np.bool_], middle: float, rng: np.random.Generator) -> Score:
    """A melody for speech whose frames are `voiced` or not, around `middle` (semitones above A1).

    Voiced stretches are held for a share of a beat, at least as long as they were spoken and at most six times as long;
    consonants keep their length, and pauses are cut to a third of a second at most. Some frame must be voiced.
    """
    tonic, scale = rng.integers(12), SCALES[rng.integers(len(SCALES))]
    notes = np.array([tonic + 12 * octave + step for octave in range(-3, 7) for step in scale], np.float64)
    lowest, highest = (int(np.argmin(np.abs(notes - middle - side))) for side in (-REACH, REACH))
    now = int(np.argmin(np.abs(notes - middle)))
    beat = rng.uniform(0.4, 0.86) * SECOND
    speed, depth = rng.uniform(4.8, 6.5), rng.uniform(0, 0.6)  # of the vibrato: Hz, semitones
    places, pitches, bends, flags = [], [], [], []

    def add(place: Frames, pitch: float, bend: Frames, is_voiced: bool) -> None:
        places.append(place)
        pitches.append(np.full(len(place), pitch))
        bends.append(bend)
        flags.append(np.full(len(place), is_voiced))

    for start, stop, is_voiced in _stretches(voiced):
        if not is_voiced:
            frames = np.arange(start, stop, dtype=np.float64)
            half = int(rng.uniform(5, SECOND / 6))
            frames = frames if len(frames) <= 2 * half else np.concatenate([frames[:half], frames[-half:]])
            add(frames, notes[now], np.zeros(len(frames)), False)
            continue
        count = -(-(stop - start) // SYLLABLE) if stop - start >= SHORTEST else 0
        if not count:
            add(np.arange(start, stop, dtype=np.float64), notes[now], np.zeros(stop - start), True)
        for begin, end in _parts(start, stop, count):
            now = int(np.clip(now + rng.choice(STEPS), lowest, highest))
            length = int(np.clip(beat * rng.choice(BEATS), end - begin, 6 * (end - begin)))
            seconds = np.arange(length) / SECOND
            vibrato = depth * np.clip((seconds - 0.2) / 0.3, 0, 1) * np.sin(2 * np.pi * speed * seconds)
            add(np.linspace(begin, end - 1, length), notes[now], vibrato, True)
    pitch = _smooth(np.concatenate(pitches), int(rng.uniform(9, 21)))  # glides of 25 to 50 ms
    drift = 0.12 * np.sqrt(20) * _smooth(rng.standard_normal(len(pitch)), 41)
    return Score(np.concatenate(places), pitch + np.concatenate(bends) + drift, np.concatenate(flags))


def _stretches(voiced: NDArray[np.bool_]) -> Iterator[tuple[int, int, bool]]:
    """Start, stop and value of every run of equal flags."""
    edges = [0, *(np.flatnonzero(np.diff(voiced.astype(np.int8))) + 1), len(voiced)]
    for start, stop in pairwise(edges):
        yield int(start), int(stop), bool(voiced[start])


def _parts(start: int, stop: int, count: int) -> Iterable[tuple[int, int]]:
    """`count` stretches, about equally long, from `start` to `stop`; none if `count` is 0."""
    return pairwise(np.linspace(start, stop, count + 1).astype(int).tolist())


def _smooth(x: Frames, length: int) -> Frames:
    window = np.hanning(length + 2)[1:-1]
    before = length // 2
    return np.convolve(np.pad(x, (before, length - 1 - before), "edge"), window / window.sum(), "valid")


def _at(x: Frames, place: Frames) -> Frames:
    """Rows of `x` `[rows, ...]` at fractional `place`s, linear in between."""
    first = np.minimum(place.astype(int), len(x) - 1)
    second = np.minimum(first + 1, len(x) - 1)
    share = (place - first)[:, None]
    return x[first] * (1 - share) + x[second] * share


def write_sung(rows: Sequence[Row], out: Path, minutes: float, seed: int) -> float:
    """Sings pieces of the speech of `rows`, drawn by their length, into the new folder `out`, with its manifest.

    Returns the minutes made, at least `minutes`. Raises ValueError with a sentence if hardly any of it is voiced, or
    `out` is there already.
    """
    import soundfile
    import soxr

    rng = np.random.default_rng(seed)
    chance = np.array([row.seconds for row in rows])
    made = 0.0
    with new_folder(out) as (folder, add):
        for number in range(round(20 * minutes) + 100):
            row = rows[rng.choice(len(rows), p=chance / chance.sum())]
            speech, rate = decode(row).astype(np.float64) / 32767, bank_rate(row.sample_rate)
            length = min(len(speech), round(PIECE_S * rate))
            start = int(rng.integers(0, len(speech) - length + 1))
            piece = soxr.resample(speech[start : start + length], rate, RATE)
            song = sung(piece, RATE, rng, row.bandwidth or np.inf)
            if song is None:
                continue
            name = f"{row.corpus}-{seed}-{number:04}-vocals.flac"
            soundfile.write(folder / name, song, RATE)
            facts = (f"{len(song) / RATE:.2f}", RATE, 1, row.bandwidth, row.licence, row.path.name, "sung by WORLD")
            add([name, "vocals", row.split, "", f"{row.corpus} (sung)", *facts])
            made += len(song) / RATE / 60
            if made >= minutes:
                return made
        raise ValueError("Hardly any of this is voiced: there is nothing to sing.")


def main(
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    data: Annotated[Path, typer.Option(help="A manifest.csv.")],
    corpus: Annotated[list[str], typer.Option(help="Take recordings of this corpus only; may be said again.")] = [],  # noqa: B006
    kind: Annotated[str, typer.Option(help="What is sung anew: speech or vocals.")] = "speech",
    minutes: Annotated[float, typer.Option(min=0.1, help="How much singing to make, at least.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Same seed, same songs.")] = 1,
) -> None:
    """Make recorded speakers sing, as vocals to train on."""
    try:
        if kind not in ("speech", "vocals"):
            raise ValueError(f"What is sung anew is speech or vocals, not {kind}.")
        rows = [row for row in read_manifest(data) if row.kind == kind and row.split == "train"]
        there = sorted({row.corpus for row in rows})
        if missing := [name for name in corpus if name not in there]:
            raise ValueError(f"No {kind} of {missing[0]} to train on; there is of {', '.join(there) or 'none'}.")
        rows = [row for row in rows if not corpus or row.corpus in corpus]
        if not rows:
            raise ValueError(f"{data} has no {kind} to train on.")
        made = write_sung(rows, out, minutes, seed)
        typer.echo(f"{made:.1f} minutes sung, in {out}")
    except (OSError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
