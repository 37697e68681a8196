"""Songs made of recorded voices and of notes: as many singers as there are voices, over music without any other.

    python -m training.data.made_songs OUT --data MANIFEST.csv [--music MANIFEST.csv] [--repos DIR] [--minutes M]
        [--seed N]

A voice (of the manifest: banks of sung syllables, and speakers) sings the melody of a MIDI file, and FluidSynth plays
the rest of it from a sound font; key, tempo and instruments change from song to song. A second voice or a double may
join, and the voices go through what records do to them. Where the recordings of a speaker lack treble, so does all of
the song, and its rows say from where on. What `made_songs.yaml` names is
fetched, or taken from DIR. Written are OUT/NAME-vocals.ogg, OUT/NAME-accompaniment.ogg (48 kHz, stereo) and
OUT/manifest.csv, for `--dataset manifest=OUT/manifest.csv`. Singers and tunes of valid songs are in no others. Real
singing of valid singers is laid over pieces of `--music`.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train", "sung")

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
import yaml

from training.data.bus_effects import active_rms, compressed, compressor_gain, echoes, panned
from training.data.clip_store import bank_rate, decode
from training.data.manifest import Row, new_folder, read_manifest
from training.data.midi_library import (
    OTHER_INSTRUMENT,
    RATE,
    RECIPE,
    TEMPO,
    MidiLibrary,
    TuneFile,
    midi_library,
    played,
)
from training.data.public_sources import SourceUnavailable
from training.data.singing import Voice, analysed, sing
from training.data.song_clips import WIDE
from training.data.sound_files import write_sound
from training.data.tunes import Note, Tune, arranged, in_third, melody, single_line, turned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float64]

SONG_S = 75.0  # at most
VOICE_S = 60.0  # of a singer's recordings that one song is sung with
NARROWEST = 7000  # Hz, where recordings of a singer end; telephones are no singers
SPEAKERS, NARROW = 0.5, 0.5  # shares: of the songs that speakers sing, and of these of narrow recordings
BELOW_DB = (-2.0, 9.0)  # the voices under the music
DOUBLED, THIRDS, COMPRESSED, ECHOES, BUS, MELODY_PLAYED = 0.2, 0.3, 0.6, 0.2, 0.4, 0.25  # of songs


@dataclass(frozen=True)
class Singer:
    """A voice: its recordings, and whether it is sung or spoken."""

    name: str
    rows: tuple[Row, ...]
    spoken: bool
    valid: bool

    @property
    def bandwidth(self) -> int | None:
        """Hz, where the narrowest of its recordings ends; None if none lacks treble."""
        least = min(row.bandwidth for row in self.rows)
        return least if least < WIDE else None


@dataclass
class Material:
    """All that songs are made of."""

    singers: list[Singer]
    library: MidiLibrary
    instrumentals: list[Row] = field(default_factory=list)
    real_singing: list[Row] = field(default_factory=list)  # of valid singers


def singers(rows: Sequence[Row], valid: Sequence[str]) -> list[Singer]:
    """The voices of a manifest that can sing alone: vocals that belong to no accompaniment, speech of one person.

    Of who has wide recordings those count alone. Those named in `valid`, and all of the valid split, are to validate
    on; there all recordings are wide.
    """
    accompanied = {(row.corpus, row.song) for row in rows if row.kind == "accompaniment"}
    found: dict[tuple[str, bool, str, bool], list[Row]] = {}
    for row in rows:
        spoken = row.kind == "speech"
        alone = row.kind == "vocals" and (row.corpus, row.song) not in accompanied
        named = row.speaker and row.speaker != "mixed"
        narrow = spoken and row.bandwidth < WIDE
        if narrow and (row.bandwidth < NARROWEST or row.split == "valid"):
            continue
        if row.split != "test" and (alone or (spoken and named)):
            found.setdefault((row.speaker or row.corpus, spoken, row.split, narrow), []).append(row)
    made = [
        (Singer(name, tuple(those), spoken, split == "valid" or name in valid), narrow)
        for (name, spoken, split, narrow), those in found.items()
        if sum(row.seconds for row in those) >= 8
    ]
    wide = {(singer.name, singer.valid) for singer, narrow in made if not narrow}
    return [singer for singer, narrow in made if not (narrow and (singer.name, singer.valid) in wide)]


@contextmanager
def material(rows: Sequence[Row], music: Sequence[Row], repos: Path | None) -> Iterator[Material]:
    """Fetches tunes and sound fonts. Raises SourceUnavailable or ValueError with one sentence if something lacks."""
    about = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    here = singers(rows, about["valid_singers"])
    if not here:  # said before a hundred megabytes are fetched
        raise ValueError("There is no singer in the recordings.")
    instrumentals = [row for row in music if row.kind == "instrumental" and row.split == "valid"]
    real_singing = [
        row for singer in here if singer.valid for row in singer.rows if row.corpus in about["real_singing"]
    ]
    with midi_library(repos) as library:
        yield Material(here, library, instrumentals, real_singing)


@lru_cache(maxsize=64)
def _analysed(rows: tuple[Row, ...]) -> Voice:
    import soxr

    pieces = []
    for row in rows:
        rate = bank_rate(row.sample_rate)
        sound = decode(row).astype(np.float64)[: round(VOICE_S * rate)] / 32767
        sound = sound if rate == RATE else soxr.resample(sound, rate, RATE)
        pieces += [sound * (0.1 / max(active_rms(sound, RATE), 1e-6)), np.zeros(RATE // 10)]
    return analysed(np.concatenate(pieces), RATE)


def voice_of(singer: Singer, rng: np.random.Generator) -> Voice:
    """A part of a singer's recordings, about a minute."""
    order = rng.permutation(len(singer.rows))
    # Long recordings are analysed once and kept; of short ones a few that follow each other.
    first, chosen, seconds = int(order[0]), [], 0.0
    for step in range(len(singer.rows)):
        row = singer.rows[(first + step) % len(singer.rows)]
        if seconds >= VOICE_S / 2:
            break
        chosen.append(row)
        seconds += row.seconds
    return _analysed(tuple(chosen))


@dataclass(frozen=True)
class Song:
    """Vocals and accompaniment, `[samples, 2]` each."""

    vocals: Samples
    accompaniment: Samples
    about: str


def made_song(singer: Singer, tune: Tune, font: Path, rng: np.random.Generator) -> Song:
    """One singer, one tune; raises ValueError with one sentence where they do not go together."""
    channel = melody(tune)
    voice = voice_of(singer, rng)
    if not voice.units:
        raise ValueError(f"{singer.name} is hardly voiced in this recording.")
    sung_at = float(np.median([unit.pitch for unit in voice.units])) + (rng.uniform(0, 6) if singer.spoken else 0.0)
    line = single_line(tune.notes[channel]) if channel is not None else invented(tune, rng)
    wanted = sung_at + rng.uniform(-2, 2) - float(np.median([note.pitch for note in line]))
    octaves = 12 * round(wanted / 12)
    key, tempo = round(wanted - octaves), rng.uniform(*TEMPO)
    begin = _most_sung(line, SONG_S * tempo, rng)
    end = min(begin + SONG_S * tempo, tune.seconds + 1)
    line = [note for note in line if begin + 0.3 <= note.begin < end - 0.3]
    if len(line) < 8:
        raise ValueError(f"{tune.name} has too few notes to sing.")
    line = turned(line, begin, key + octaves, tempo)
    hidden = channel if rng.random() >= MELODY_PLAYED else None
    music = played(arranged(tune, (begin, end), hidden, key, tempo, OTHER_INSTRUMENT, rng), font)
    music = music[: round((end - begin) / tempo * RATE)]
    vocals = choir(voice, line, tune, rng)[: len(music)]
    vocals = np.pad(vocals, ((0, len(music) - len(vocals)), (0, 0)))
    if rng.random() < ECHOES:
        vocals = echoes(vocals, RATE, rng.uniform(0.3, 0.7), rng)
    if singer.bandwidth is not None:  # where the voice has nothing, the music has nothing either
        vocals, music = (_without_treble(part, singer.bandwidth) for part in (vocals, music))
    return _mixed(vocals, music, f"{tune.name}, {key:+} semitones, {tempo:.2f} as fast", rng)


def _without_treble(sound: Samples, bandwidth: float) -> Samples:
    """`[samples, 2]` up to `bandwidth` Hz, without a delay."""
    from scipy.signal import butter, sosfiltfilt

    filtered: Samples = sosfiltfilt(butter(10, 0.95 * bandwidth, output="sos", fs=RATE), sound, axis=0)
    return filtered


def _most_sung(line: list[Note], seconds: float, rng: np.random.Generator) -> float:
    """Where a part of so many seconds begins: of a few places the one after which most is sung."""
    places = [max(0.0, line[index].begin - rng.uniform(0, 5)) for index in rng.integers(len(line), size=6)]
    return max(places, key=lambda begin: sum(n.end - n.begin for n in line if begin <= n.begin < begin + seconds))


def invented(tune: Tune, rng: np.random.Generator) -> list[Note]:
    """A melody for a piece that has none: it moves by steps of the piece's scale, when something is played."""
    begins = np.unique([round(note.begin, 2) for notes in tune.notes.values() for note in notes])
    classes = np.zeros(12)
    for note in (note for number, notes in tune.notes.items() if number != 9 for note in notes):
        classes[int(note.pitch) % 12] += note.end - note.begin
    scale = [pitch for pitch in range(48, 85) if classes[pitch % 12] >= max(np.sort(classes)[-7], 1e-3)]
    place, now, made = len(scale) // 2, 0.0, list[Note]()
    while len(begins) and len(scale) > 4:
        later = begins[begins >= now + rng.choice([0.2, 0.35, 0.35, 0.7, 1.0])]
        if not len(later):
            break
        until = float(later[0])
        place = int(np.clip(place + rng.integers(-2, 3), 2, len(scale) - 3))
        if made and rng.random() < 0.88:  # else the phrase ends
            made[-1] = Note(made[-1].begin, until, made[-1].pitch, made[-1].velocity)
        made.append(Note(until, until + 0.3, scale[place], int(rng.integers(70, 110))))
        now = until
    if not made:
        raise ValueError(f"{tune.name} has nothing to sing to.")
    return made


def choir(voice: Voice, line: list[Note], tune: Tune, rng: np.random.Generator) -> Samples:
    """The lead in the middle, `[samples, 2]`, at times with a double, or a voice a third away."""
    lead = sing(voice, line, rng)
    if rng.random() < COMPRESSED:
        lead = compressed(lead, RATE, rng)
    whole = panned(lead, rng.uniform(-0.1, 0.1))
    others = []
    if rng.random() < DOUBLED:
        others.append((line, rng.uniform(-9, 0)))
    if rng.random() < THIRDS:
        first = int(rng.integers(len(line)))  # from somewhere on, as a refrain has it
        others.append((in_third(line[first:], tune, bool(rng.random() < 0.5)), rng.uniform(-12, -3)))
    for notes, decibels in others:
        other = sing(voice, notes, rng) * 10 ** (decibels / 20)
        count = min(len(other), len(whole))
        whole[:count] += panned(other, rng.uniform(-0.8, 0.8))[:count]
    return whole


def _mixed(vocals: Samples, music: Samples, about: str, rng: np.random.Generator) -> Song:
    """Both at their levels; now and then through the compressor of the whole mix."""
    vocals = vocals * (active_rms(music, RATE) / active_rms(vocals, RATE) * 10 ** (-rng.uniform(*BELOW_DB) / 20))
    parts = np.stack([vocals, music])
    if rng.random() < BUS:
        mix = parts.sum(0).mean(1)
        threshold = 20 * np.log10(np.sqrt(np.square(mix).mean()) + 1e-9) + rng.uniform(-6, 3)
        parts = parts * compressor_gain(mix, RATE, threshold, rng.uniform(1.5, 4), rng.uniform(0.05, 0.3))[:, None]
    parts *= 0.9 / max(float(np.abs(parts).max()), float(np.abs(parts.sum(0)).max()), 1e-9)
    return Song(parts[0], parts[1], about)


def placed_song(row: Row, instrumental: Row, rng: np.random.Generator) -> Song:
    """A recorded song over a piece of music that has nothing to do with it."""
    from training.data.song_clips import decode_stereo

    voice = decode_stereo(row, RATE).T.astype(np.float64)
    music = decode_stereo(instrumental, RATE).T.astype(np.float64)
    count = min(round(SONG_S * RATE), len(music))
    silence = round(rng.uniform(1, 4) * RATE)
    vocals = np.pad(voice, ((silence, 0), (0, 0)))[:count]
    return _mixed(np.pad(vocals, ((0, count - len(vocals)), (0, 0))), music[:count], instrumental.path.name, rng)


def write_songs(
    made_of: Material, folder: Path, add: Callable[[list[Any]], object], minutes: float, valid: float, seed: int
) -> Iterator[str]:
    """Writes songs to train on and, `valid` minutes of them, to validate on, a row a part by `add`; yields their names.

    Raises ValueError with one sentence if there is no singer or no tune of a split.
    """
    for split, wanted in (("train", minutes), ("valid", valid)):
        done, number, failed = 0.0, 0, 0
        here = [singer for singer in made_of.singers if singer.valid == (split == "valid")]
        tunes = made_of.library.tunes_of(split == "valid")
        if wanted and not (here and tunes and made_of.library.fonts):
            raise ValueError(f"There is no singer or no tune for {split} songs.")
        while done < wanted:
            rng = np.random.default_rng((seed, split == "valid", number))
            number += 1
            try:
                song, singer, facts = _any_song(made_of, here, tunes, rng, split == "valid")
            except ValueError as reason:
                failed += 1
                if failed > 50 and not done:
                    raise ValueError(f"No song was made: {reason}") from None
                continue
            seconds = len(song.vocals) / RATE
            done += seconds / 60
            for kind, part in (("vocals", song.vocals), ("accompaniment", song.accompaniment)):
                name = f"made-{split}-{seed}-{number:04}-{kind}.ogg"
                write_sound(folder / name, part, RATE)
                about = (f"{seconds:.2f}", RATE, 2, singer.bandwidth or "", *facts, song.about)
                add([name, kind, split, singer.name, "made songs", *about])
            yield f"{split} {number}: {singer.name}, {song.about}"


def _any_song(
    made_of: Material, here: list[Singer], tunes: list[TuneFile], rng: np.random.Generator, valid: bool
) -> tuple[Song, Singer, tuple[str, str]]:
    """A song of a split, who sings, and its licence and source."""
    if valid and made_of.real_singing and made_of.instrumentals and rng.random() < 0.5:
        row = made_of.real_singing[rng.integers(len(made_of.real_singing))]
        music = made_of.instrumentals[rng.integers(len(made_of.instrumentals))]
        singer = next(each for each in here if row in each.rows)
        facts = (f"voice: {row.licence}; music: {music.licence}", f"{row.path.name}; {music.path.name}")
        return placed_song(row, music, rng), singer, facts
    spoken = rng.random() < SPEAKERS
    those = [singer for singer in here if singer.spoken == spoken] or here
    if spoken:
        narrow = rng.random() < NARROW
        those = [singer for singer in those if (singer.bandwidth is not None) == narrow] or those
    # By the fourth root of their minutes: a long recording is heard a little more often than a short one, and of eight
    # singers none in more than a tenth of all songs.
    chance = np.power([sum(row.seconds for row in singer.rows) for singer in those], 0.25)
    singer, tune = those[rng.choice(len(those), p=chance / chance.sum())], tunes[rng.integers(len(tunes))]
    font, of_font = made_of.library.fonts[rng.integers(len(made_of.library.fonts))]
    licence = f"voice: {singer.rows[0].licence}; tune: {tune.licence}; sound font: {of_font}"
    return made_song(singer, tune.read(), font, rng), singer, (licence, f"{singer.rows[0].corpus}; {tune.origin}")


def main(
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    data: Annotated[list[Path], typer.Option(help="A manifest.csv with voices; may be said again.")],
    music: Annotated[list[Path], typer.Option(help="A manifest.csv with instrumentals; may be said again.")] = [],  # noqa: B006
    repos: Annotated[Path | None, typer.Option(help="A folder that has the packages already.")] = None,
    minutes: Annotated[float, typer.Option(min=0, help="Of songs to train on, at least.")] = 60.0,
    valid: Annotated[float, typer.Option(min=0, help="Of songs to validate on, at least.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Same seed, same songs.")] = 1,
) -> None:
    """Make songs of recorded voices and MIDI files."""
    try:
        rows = [row for file in data for row in read_manifest(file)]
        pieces = [row for file in music for row in read_manifest(file)]
        with new_folder(out) as (folder, add), material(rows, pieces, repos) as made_of:
            for line in write_songs(made_of, folder, add, minutes, valid, seed):
                typer.echo(line)
    except (OSError, ValueError, SourceUnavailable) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
