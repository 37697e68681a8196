"""Pieces of music as notes: what of a MIDI file could be sung, and what is played around it."""

from __future__ import annotations

import io
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import mido
import numpy as np

DRUMS = 9  # the channel of the drums, from 0
SUNG_RANGE = (52, 84)  # MIDI pitches a melody lies between, its median
NOTE_S = (0.1, 1.5)  # as long are the notes of a melody, their median
SUNG_SHARE = 0.2  # of a piece, at least, in which a melody sounds
# Programs that may stand in for each other, so that a piece is not always played by the same instruments.
FAMILIES = [range(0, 8), range(8, 16), range(16, 24), range(24, 32), range(32, 40), range(40, 48), range(48, 52),
            range(56, 64), range(64, 72), range(72, 80), range(80, 85), range(88, 91)]  # fmt: skip


@dataclass(frozen=True)
class Note:
    """`begin` and `end` in s, `pitch` as in MIDI (60 is middle C), `velocity` 1 to 127."""

    begin: float
    end: float
    pitch: float
    velocity: int = 90


@dataclass(frozen=True)
class Tune:
    """A piece of music. `messages` are those of its MIDI file, with times in s; `notes` by channel and beginning."""

    name: str
    messages: list[tuple[float, mido.Message]]
    notes: dict[int, list[Note]]

    @property
    def seconds(self) -> float:
        """Until the last note ends."""
        return max((note.end for notes in self.notes.values() for note in notes), default=0.0)


def read_tune(data: bytes, name: str) -> Tune:
    """Raises ValueError with one sentence for what is no MIDI file."""
    try:
        now, messages = 0.0, []
        for message in mido.MidiFile(file=io.BytesIO(data), clip=True):  # in seconds
            now += message.time
            if not message.is_meta and message.type != "sysex":
                messages.append((now, message))
    except (OSError, EOFError, ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{name} is no MIDI file ({error}).") from None
    return Tune(name, messages, _notes(messages))


def _notes(messages: list[tuple[float, mido.Message]]) -> dict[int, list[Note]]:
    found: dict[int, list[Note]] = {}
    open_notes: dict[tuple[int, int], tuple[float, int]] = {}
    for now, message in messages:
        if message.type not in ("note_on", "note_off"):
            continue
        key = (message.channel, message.note)
        if key in open_notes:
            begin, velocity = open_notes.pop(key)
            if now > begin:
                found.setdefault(message.channel, []).append(Note(begin, now, message.note, velocity))
        if message.type == "note_on" and message.velocity:
            open_notes[key] = (now, message.velocity)
    return {channel: sorted(notes, key=lambda note: note.begin) for channel, notes in found.items()}


def lumps(wad: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each MIDI file in a WAD, the archive of Doom's game data."""
    count, place = struct.unpack("<ii", wad[4:12])
    for index in range(count):
        start, size, name = struct.unpack("<ii8s", wad[place + 16 * index : place + 16 * index + 16])
        if wad[start : start + 4] == b"MThd":
            yield name.rstrip(b"\0").decode("ascii", "replace").lower(), wad[start : start + size]


def melody(tune: Tune) -> int | None:
    """The channel that a singer could sing: one note at a time, in a voice's range, often enough; None if none is so.

    Of several the one that sounds longest.
    """
    best, longest = None, SUNG_SHARE * tune.seconds
    for channel, notes in tune.notes.items():
        lengths = np.array([note.end - note.begin for note in notes])
        line = single_line(notes)
        alone = sum(note.end - note.begin for note in line)
        median = float(np.median([note.pitch for note in notes]))
        fits = NOTE_S[0] <= np.median(lengths) <= NOTE_S[1] and SUNG_RANGE[0] <= median <= SUNG_RANGE[1]
        several = len({note.pitch for note in notes}) >= 4
        if channel != DRUMS and fits and several and alone > 0.7 * lengths.sum() and alone > longest:
            best, longest = channel, alone
    return best


def single_line(notes: list[Note]) -> list[Note]:
    """One note at a time: of notes that begin together the highest, and each ends where the next begins."""
    kept: list[Note] = []
    for note in notes:
        if kept and note.begin - kept[-1].begin < 0.03:
            if note.pitch > kept[-1].pitch:
                kept[-1] = note
            continue
        kept.append(note)
    ends = [following.begin for following in kept[1:]] + [float("inf")]
    return [
        Note(note.begin, min(note.end, end), note.pitch, note.velocity) for note, end in zip(kept, ends, strict=True)
    ]


def in_third(notes: list[Note], tune: Tune, below: bool) -> list[Note]:
    """A second voice, a third of the tune's own scale above or below each note."""
    classes = np.zeros(12)
    for channel, played in tune.notes.items():
        for note in played if channel != DRUMS else ():
            classes[int(note.pitch) % 12] += note.end - note.begin
    sign = -1 if below else 1
    made = []
    for note in notes:
        minor, major = (classes[(int(note.pitch) + sign * step) % 12] for step in (3, 4))
        made.append(Note(note.begin, note.end, note.pitch + sign * (4 if major > minor else 3), note.velocity))
    return made


def arranged(
    tune: Tune,
    part: tuple[float, float],
    without: int | None,
    key: int,
    tempo: float,
    other_programs: float,
    rng: np.random.Generator,
) -> bytes:
    """A `part` of the piece (s) as a MIDI file, without a channel, `key` semitones higher and `tempo` times as fast.

    Notes that begin before the part are left out. Each channel has, with the chance `other_programs`, another
    instrument of the same family.
    """
    begin, end = part
    programs = {(number, program): program for number in range(16) for program in range(128)}
    for number in range(16):
        if number != DRUMS and rng.random() < other_programs:
            programs |= {(number, program): _related(program, rng) for program in range(128)}
    made, sounding = list[tuple[float, mido.Message]](), set[tuple[int, int]]()
    for now, message in tune.messages:
        channel = getattr(message, "channel", None)
        if channel is not None and channel == without:
            continue
        if message.type in ("note_on", "note_off"):
            key_of = (int(message.channel), int(message.note))
            starts = message.type == "note_on" and message.velocity > 0
            if (starts and not begin <= now < end) or (not starts and key_of not in sounding):
                continue
            (sounding.add if starts else sounding.discard)(key_of)
        elif now >= end:
            continue
        if message.type in ("note_on", "note_off", "polytouch") and channel != DRUMS:
            message = message.copy(note=int(np.clip(message.note + key, 0, 127)))
        if message.type == "program_change":
            message = message.copy(program=programs[int(message.channel), message.program])
        # The settings of before come at once, and what still sounds ends with the part.
        made.append((max(0.0, (min(now, end) - begin) / tempo), message))
    return as_midi(made)


def by_instrument(tune: Tune, groups: Mapping[str, Collection[int]]) -> dict[str, bytes]:
    """The piece as a MIDI file for each group of instruments that plays a note, in the order of `groups`.

    `groups` are General MIDI programs from 0; `drums` is the channel of the drums, whatever its program. Notes of no
    group are in no file.
    """
    found: dict[str, list[tuple[float, mido.Message]]] = {name: [] for name in groups}
    program, playing = dict.fromkeys(range(16), 0), set[str]()
    for now, message in tune.messages:
        if message.type == "program_change":
            program[message.channel] = message.program
        if message.type == "note_on" and message.velocity:
            drums = message.channel == DRUMS
            own = [name for name in groups if (name == "drums" if drums else program[message.channel] in groups[name])]
            playing.update(own)
        else:  # settings are for all; where a note did not begin, its end does nothing
            own = list(groups)
        for name in own:
            found[name].append((now, message))
    return {name: as_midi(messages) for name, messages in found.items() if name in playing}


def as_midi(messages: Sequence[tuple[float, mido.Message]]) -> bytes:
    """A MIDI file of messages at times in s, in their order. A tick is a millisecond."""
    track, last = mido.MidiTrack(), 0
    for now, message in messages:
        ticks = round(now * 1000)
        track.append(message.copy(time=ticks - last))
        last = ticks
    file = mido.MidiFile(type=0, ticks_per_beat=500)
    file.tracks.append(track)
    data = io.BytesIO()
    file.save(file=data)
    return data.getvalue()


def _related(program: int, rng: np.random.Generator) -> int:
    family = next((family for family in FAMILIES if program in family), range(program, program + 1))
    return int(rng.choice(family))


def turned(notes: list[Note], begin: float, key: float, tempo: float) -> list[Note]:
    """Notes from time `begin` on, `key` semitones higher and `tempo` times as fast."""
    return [
        Note((note.begin - begin) / tempo, (note.end - begin) / tempo, note.pitch + key, note.velocity)
        for note in notes
    ]
