"""A recorded voice sings notes: pieces of a recording, joined, held and brought to pitch (TD-PSOLA).

Pitch-synchronous overlap-add (Moulines & Charpentier 1990) moves whole periods of the recording: what is heard keeps
the singer's timbre, breath and consonants. Singing differs from speech, and a melody from fixed pitches, by glides,
vibrato, drift and loudness (Saitou et al. 2007, "Speech-to-singing synthesis"), which are made here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numba
import numpy as np

from training.data.tunes import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Samples = NDArray[np.float64]

FRAME_S = 0.005  # of pitch contours
PITCH_HZ = (65.0, 1000.0)  # that are looked for
UNIT_S = (0.12, 0.35)  # a voiced stretch is a unit; longer ones are several, shorter ones are none
ONSET_S = 0.16  # of what comes before a voiced stretch, that belongs to it: its consonant
PAUSE_S = 0.25  # between notes; a longer one ends a phrase
SHORTEST = 8  # frames of a note
FAR = 5.5  # semitones by which the next unit may fit a note worse than the best one, before the recording is left
MIDDLE_C = 261.6256  # Hz, MIDI pitch 60


@dataclass(frozen=True)
class Unit:
    """A syllable or a part of one. In samples: `onset`, where its consonant begins; `begin` and `end` of its voice."""

    onset: int
    begin: int
    end: int
    pitch: float  # MIDI pitch, the median


@dataclass(frozen=True)
class Voice:
    """A recording, ready to sing. `sound` `[samples]` at `rate` Hz; `marks`, one a period, and what period it has."""

    sound: Samples
    rate: int
    marks: NDArray[np.int64]
    periods: NDArray[np.int64]
    units: list[Unit]


def analysed(sound: Samples, rate: int) -> Voice:
    """Finds the periods and units of a recording `[samples]`; it may have none.

    The pitch is found by WORLD's DIO (Morise et al. 2009) in a copy of a third of the rate.
    """
    import pyworld
    import soxr

    low = np.ascontiguousarray(soxr.resample(sound, rate, 16000), np.float64)
    rough, times = pyworld.dio(low, 16000, f0_floor=PITCH_HZ[0], f0_ceil=PITCH_HZ[1], frame_period=FRAME_S * 1000)
    pitch = pyworld.stonemask(low, rough, times, 16000)
    smooth = np.convolve(sound, np.hanning(rate // 1200), "same")
    marks, periods = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    units: list[Unit] = []
    frame = round(FRAME_S * rate)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], pitch > 0, [False]]).astype(np.int8)))
    last = 0
    for first, stop in edges.reshape(-1, 2):
        begin, end = int(first) * frame, min(int(stop) * frame, len(sound))
        if (end - begin) < UNIT_S[0] * rate:
            continue
        found = np.asarray(_marks(smooth, begin, end, rate / pitch[first:stop], frame))
        marks.append(found)
        periods.append(np.rint(rate / pitch[np.minimum(found // frame, len(pitch) - 1)]).astype(np.int64))
        count = max(1, round((end - begin) / (UNIT_S[1] * rate)))
        cuts = np.linspace(begin, end, count + 1).astype(int)
        for number, (from_, to) in enumerate(pairwise(cuts.tolist())):
            here = pitch[from_ // frame : max(to // frame, from_ // frame + 1)]
            onset = max(last, from_ - round(ONSET_S * rate)) if number == 0 else from_
            units.append(Unit(onset, from_, to, float(60 + 12 * np.log2(np.median(here[here > 0]) / MIDDLE_C))))
        last = end
    every = np.concatenate(periods)
    return Voice(sound, rate, np.concatenate(marks), np.clip(every, rate // 1100, rate // 60), units)


@numba.njit(cache=True)
def _marks(smooth, begin, end, periods, frame):  # type: ignore[no-untyped-def]
    """Positions of the peaks of `smooth`, one a period, from `begin` to `end`; `periods` in samples, one a frame."""
    found = [begin + np.argmax(smooth[begin : min(begin + int(periods[0]), end)])]
    while True:
        period = periods[min((found[-1] - begin) // frame, len(periods) - 1)]
        from_, to = found[-1] + int(0.8 * period), found[-1] + int(1.2 * period) + 1
        if to >= end:
            return found
        found.append(from_ + np.argmax(smooth[from_:to]))


@numba.njit(cache=True)
def _overlap_add(sound, marks, periods, place, pitch, frame, wander):  # type: ignore[no-untyped-def]
    """The sound whose frame n is like the recording at `place[n]` (samples) with a period of `pitch[n]` (0: unvoiced).

    Held sounds repeat periods; `wander` numbers say which ones beside the nearest, so that it does not buzz.
    """
    total = len(place) * frame
    out = np.zeros(total + 4 * frame + 2048)
    now, turn = 0.0, 0
    while now < total:
        index = min(int(now) // frame, len(place) - 1)
        share = now / frame - index
        here = place[index] + share * (place[min(index + 1, len(place) - 1)] - place[index])
        period = pitch[index]
        if period > 0 and len(marks):
            nearest = np.searchsorted(marks, here)
            nearest = min(max(nearest + wander[turn % len(wander)], 0), len(marks) - 1)
            centre, half = marks[nearest], periods[nearest]
            gain, step = np.sqrt(period / half), period
        else:
            centre, half, gain, step = int(here), frame, 1.0, float(frame)
        turn += 1
        for offset in range(-half, half):
            source, target = centre + offset, int(now) + offset
            if 0 <= source < len(sound) and 0 <= target < len(out):
                out[target] += gain * sound[source] * (0.5 + 0.5 * np.cos(np.pi * offset / half))
        now += step
    return out[:total]


def phrases(notes: Sequence[Note]) -> list[list[Note]]:
    """Notes sung in one breath each: between them is a pause, or a phrase is longer than 8 s."""
    found: list[list[Note]] = []
    for note in notes:
        new = not found or note.begin - found[-1][-1].end > PAUSE_S or note.begin - found[-1][0].begin > 8
        if new:
            found.append([])
        found[-1].append(note)
    return found


def sing(voice: Voice, notes: Sequence[Note], rng: np.random.Generator) -> Samples:
    """`[samples]` from time 0 to the end of the last of `notes`, about 0.1 in RMS; raises ValueError without units."""
    if not voice.units:
        raise ValueError("Hardly any of this recording is voiced: it cannot sing.")
    rate = voice.rate
    whole = np.zeros(round((notes[-1].end + 0.5) * rate))
    manner = Manner.drawn(rng)
    for phrase in phrases(notes):
        sound, before = _phrase(voice, phrase, manner, rng)
        begin = round((phrase[0].begin - before) * rate)
        sound = sound[max(0, -begin) :]
        begin = max(begin, 0)
        count = min(len(sound), len(whole) - begin)
        whole[begin : begin + count] += sound[:count]
    loud = np.sqrt(np.mean(np.square(whole[np.abs(whole) > 0.1 * np.abs(whole).max()]))) if whole.any() else 1.0
    return whole * (0.1 / max(loud, 1e-9))


@dataclass(frozen=True)
class Manner:
    """How somebody sings: vibrato in Hz and semitones, glides in s, drift and scoops in semitones, level in dB."""

    rate_hz: float
    depth: float
    glide_s: float
    drift: float
    scoop: float
    dynamics: float
    breath: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Manner:
        """Somebody's, or somebody else's."""
        depth = rng.choice([0.0, rng.uniform(0.1, 0.4), rng.uniform(0.3, 0.9)])
        return cls(rng.uniform(4.6, 6.6), float(depth), rng.uniform(0.03, 0.12), rng.uniform(0.03, 0.15),
                   rng.uniform(0, 1.5), rng.uniform(1, 5), rng.uniform(0.0, 0.06))  # fmt: skip


@dataclass
class _Score:
    """What is sung, in frames: where in the recording, at which pitch, how loud (velocity), whether with voice."""

    place: Samples = field(default_factory=lambda: np.zeros(0))
    pitch: Samples = field(default_factory=lambda: np.zeros(0))
    level: Samples = field(default_factory=lambda: np.zeros(0))
    sung: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    def add(self, place: Samples, note: Note, sung: bool) -> None:
        """More frames, at these places of the recording, for a note or its consonant."""
        count = len(place)
        self.place = np.concatenate([self.place, place])
        self.pitch = np.concatenate([self.pitch, np.full(count, note.pitch)])
        self.level = np.concatenate([self.level, np.full(count, note.velocity / 127)])
        self.sung = np.concatenate([self.sung, np.full(count, sung)])


def _scored(notes: list[Note], units: list[Unit], frame: int) -> tuple[_Score, float]:
    """The score of a phrase, and how long before its first note it begins, in s."""
    score = _Score()
    consonants = [np.arange(unit.onset, unit.begin, frame, dtype=np.float64) for unit in units]
    score.add(consonants[0], notes[0], False)
    for number, (note, unit) in enumerate(zip(notes, units, strict=True)):
        last = number + 1 == len(notes)
        # The next note's consonant is sung in this note's time; what is left of a short pause is held through.
        until, taken = (note.end, 0) if last else (notes[number + 1].begin, len(consonants[number + 1]))
        length = max(SHORTEST, round((until - note.begin) / FRAME_S) - taken)
        score.add(np.linspace(unit.begin, unit.end - 1, length), note, True)
        if not last:
            score.add(consonants[number + 1], notes[number + 1], False)
    return score, len(consonants[0]) * FRAME_S


def _phrase(voice: Voice, notes: list[Note], manner: Manner, rng: np.random.Generator) -> tuple[Samples, float]:
    """The sound of one phrase, and how long before its first note it begins, in s."""
    rate, frame = voice.rate, round(FRAME_S * voice.rate)
    score, before = _scored(notes, _chosen(voice, notes, rng), frame)
    pitch = _contour(score.pitch, manner, rng)
    period = np.where(score.sung, rate / (MIDDLE_C * 2 ** ((pitch - 60) / 12)), 0.0)
    wander = rng.choice(np.array([-1, 0, 0, 0, 1]), 997)
    sound = _overlap_add(voice.sound, voice.marks, voice.periods, score.place, period, frame, wander)
    sound = sound * np.repeat(_levels(score.level, manner, rng), frame)
    edge = min(len(sound), round(0.03 * rate))
    sound[:edge] *= np.linspace(0, 1, edge)
    fade = min(len(sound), round(rng.uniform(0.05, 0.2) * rate))
    sound[-fade:] *= np.linspace(1, 0, fade) ** 2
    air = _breath(rate, manner.breath * float(np.sqrt(np.mean(np.square(sound)))), rng)
    return np.concatenate([air, sound]), before + len(air) / rate


def _chosen(voice: Voice, notes: list[Note], rng: np.random.Generator) -> list[Unit]:
    """A unit a note: the recording goes on as long as its pitch fits, else another place whose pitch is near."""
    pitches = np.array([unit.pitch for unit in voice.units])
    found: list[int] = []
    for note in notes:
        ahead = (found[-1] + 1) % len(pitches) if found else int(rng.integers(len(pitches)))
        if not found or abs(pitches[ahead] - note.pitch) > np.abs(pitches - note.pitch).min() + FAR:
            near = np.argsort(np.abs(pitches - note.pitch))[: max(4, len(pitches) // 10)]
            ahead = int(rng.choice(near))
        found.append(ahead)
    return [voice.units[index] for index in found]


def _contour(pitch: Samples, manner: Manner, rng: np.random.Generator) -> Samples:
    """A pitch a frame as it is sung: glides, scoops into notes, vibrato that grows, drift."""
    length = max(3, round(manner.glide_s / FRAME_S)) | 1
    window = np.hanning(length + 2)[1:-1]
    smooth = np.convolve(np.pad(pitch, length // 2, "edge"), window / window.sum(), "valid")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(pitch) != 0) + 1])
    since = np.arange(len(pitch)) - starts[np.searchsorted(starts, np.arange(len(pitch)), "right") - 1]
    seconds = since * FRAME_S
    lasts = np.diff(np.append(starts, len(pitch)))[np.searchsorted(starts, np.arange(len(pitch)), "right") - 1]
    grown = np.clip((seconds - 0.2) / 0.3, 0, 1) * (lasts * FRAME_S > 0.35)
    phase = 2 * np.pi * np.cumsum(manner.rate_hz * (1 + 0.05 * rng.standard_normal(len(pitch)))) * FRAME_S
    scoops = np.where(rng.random(len(starts)) < 0.3, manner.scoop, 0.0)
    scoop = scoops[np.searchsorted(starts, np.arange(len(pitch)), "right") - 1] * np.exp(-seconds / 0.05)
    walk = np.convolve(rng.standard_normal(len(pitch) + 40), np.hanning(41) / np.sqrt(15.4), "valid")
    return smooth + manner.depth * grown * np.sin(phase) - scoop + manner.drift * walk[: len(pitch)]


def _levels(velocity: Samples, manner: Manner, rng: np.random.Generator) -> Samples:
    """A gain a frame: an arch over the phrase, notes of other velocity louder or softer."""
    length = 25
    window = np.hanning(length) / np.hanning(length).sum()
    smooth = np.convolve(np.pad(velocity, length // 2, "edge"), window, "valid")[: len(velocity)]
    arch = np.sin(np.pi * np.linspace(0.15, rng.uniform(0.7, 0.95), len(velocity)))
    return 10 ** ((manner.dynamics * (arch - 0.7) + 2 * manner.dynamics * (smooth - smooth.mean())) / 20)


def _breath(rate: int, level: float, rng: np.random.Generator) -> Samples:
    """Drawing breath: noise that swells and stops, coloured by a throat; half of the time nothing."""
    if rng.random() < 0.5:
        return np.zeros(0)
    count = round(rng.uniform(0.15, 0.4) * rate)
    noise = np.convolve(rng.standard_normal(count), np.hanning(rate // rng.integers(3000, 9000)), "same")
    noise -= np.convolve(noise, np.hanning(rate // 400) / np.hanning(rate // 400).sum(), "same")
    shape = np.sin(np.pi * np.linspace(0, 1, count) ** 1.5)
    return np.concatenate([noise / max(noise.std(), 1e-9) * shape * level, np.zeros(round(0.03 * rate))])
