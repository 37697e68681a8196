"""Songs made of voices and notes: tunes are read as they are, a voice sings what it is told, splits stay apart."""

from __future__ import annotations

import io
import shutil
import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
import soxr
import typer
from typer.testing import CliRunner

from tests.training.tiny import TINY
from training.data import made_songs as module
from training.data.bus_effects import active_rms, compressed, compressor_gain, echoes, panned
from training.data.made_songs import Material, Singer, invented, made_song, singers, write_songs
from training.data.manifest import COLUMNS, Row
from training.data.midi_library import MidiLibrary, TuneFile
from training.data.singing import Voice, analysed, phrases, sing
from training.data.tunes import DRUMS, Note, arranged, in_third, lumps, melody, read_tune, single_line, turned

RATE = 48000
app = typer.Typer()
app.command()(module.main)
SCALE = [60, 62, 64, 65, 67, 69, 71, 72]


def midi(transpose: int = 0, ticks: int = 480) -> bytes:
    """A tune in C: melody on channel 0, chords on 1, a bass on 2, drums on 9; a note each half second, 16 s."""
    file = mido.MidiFile(type=1, ticks_per_beat=ticks)
    for channel, program, pitches in (
        (0, 73, [[pitch] for pitch in SCALE * 4]),
        (1, 0, [[60, 64, 67], [57, 60, 65]] * 16),
        (2, 33, [[36], [41]] * 16),
        (9, 0, [[38], [42]] * 16),
    ):
        track = mido.MidiTrack()
        if channel == 0:
            track.append(mido.MetaMessage("set_tempo", tempo=500000))
        track.append(mido.Message("program_change", channel=channel, program=program))
        for chord in pitches:
            up = 0 if channel == 9 else transpose
            for pitch in chord:
                track.append(mido.Message("note_on", channel=channel, note=pitch + up, velocity=90))
            for index, pitch in enumerate(chord):
                time = ticks if index == 0 else 0
                track.append(mido.Message("note_off", channel=channel, note=pitch + up, time=time))
        file.tracks.append(track)
    data = io.BytesIO()
    file.save(file=data)
    return data.getvalue()


@pytest.fixture(scope="module")
def voice() -> Voice:
    """A recorded speaker."""
    sound, rate = soundfile.read(TINY.parent / "speech48/kathleen/ka000.opus")
    return analysed(soxr.resample(sound, rate, RATE), RATE)


def test_a_tune_is_its_notes() -> None:
    tune = read_tune(midi(), "c")
    assert sorted(tune.notes) == [0, 1, 2, 9] and tune.seconds == pytest.approx(16)
    assert [note.pitch for note in tune.notes[0][:8]] == SCALE
    assert tune.notes[0][3].begin == pytest.approx(1.5) and tune.notes[0][3].end == pytest.approx(2.0)
    assert melody(tune) == 0  # neither chords, nor the bass, nor the drums
    without = replace(tune, notes={channel: notes for channel, notes in tune.notes.items() if channel})
    assert melody(without) is None
    with pytest.raises(ValueError, match="no MIDI file"):
        read_tune(b"nothing", "x")


def test_what_is_played_is_the_rest_in_another_key_and_tempo() -> None:
    tune = read_tune(midi(), "c")
    rest = read_tune(arranged(tune, (2.0, 10.0), 0, 3, 2.0, 0.0, np.random.default_rng(0)), "c")
    assert sorted(rest.notes) == [1, 2, 9] and rest.seconds == pytest.approx(4, abs=0.01)
    assert [note.pitch for note in rest.notes[2][:2]] == [39, 44]
    assert {note.pitch for note in rest.notes[DRUMS]} == {38, 42}
    assert np.allclose([note.begin for note in rest.notes[2]], np.arange(16) * 0.25, atol=0.002)
    programs = {message.program for _, message in rest.messages if message.type == "program_change"}
    assert programs == {0, 33}  # set before the part began
    others = read_tune(arranged(tune, (0, 16), None, 0, 1.0, 1.0, np.random.default_rng(2)), "c")
    changed = [message.program for _, message in others.messages if message.type == "program_change"]
    assert changed[:3] != [73, 0, 33] and changed[1] < 8 and 32 <= changed[2] < 40


def test_a_line_is_one_note_at_a_time() -> None:
    notes = [Note(0, 1, 60), Note(0.01, 1, 64), Note(0.5, 2, 62)]
    assert single_line(notes) == [Note(0.01, 0.5, 64), Note(0.5, 2, 62)]
    assert turned([Note(2, 3, 60)], 1, -2, 2.0) == [Note(0.5, 1.0, 58)]
    tune = read_tune(midi(), "c")
    thirds = in_third(single_line(tune.notes[0])[:8], tune, below=False)
    assert {int(note.pitch) % 12 for note in thirds} <= {pitch % 12 for pitch in SCALE}
    made = invented(replace(tune, notes={1: tune.notes[1], 9: tune.notes[9]}), np.random.default_rng(0))
    assert len(made) > 8 and all(one.end <= other.begin + 1e-6 for one, other in pairwise(made))
    assert {int(note.pitch) % 12 for note in made} <= {0, 4, 5, 7, 9} | {note % 12 for note in SCALE}


def test_a_wad_holds_tunes() -> None:
    data = midi()
    wad = b"IWAD" + struct.pack("<ii", 2, 12 + len(data)) + data
    wad += struct.pack("<ii8s", 12, len(data), b"D_E1M1\0\0") + struct.pack("<ii8s", 0, 4, b"OTHER\0\0\0")
    assert list(lumps(wad)) == [("d_e1m1", data)]


def test_a_voice_sings_what_it_is_told(voice: Voice) -> None:
    """The pitch of each note, within a third of a semitone, when it is to sound, and the voice's own timbre."""
    import pyworld

    middle = round(float(np.median([unit.pitch for unit in voice.units])))
    pitches = [middle, middle + 4, middle + 7, middle + 2, middle - 2]
    notes = [Note(0.5 + 0.6 * index, 1.1 + 0.6 * index, pitch) for index, pitch in enumerate(pitches)]
    sound = sing(voice, notes, np.random.default_rng(3))
    found, _ = pyworld.harvest(np.ascontiguousarray(sound), RATE, f0_floor=70.0, f0_ceil=900.0)
    for note in notes:
        here = found[round((note.begin + 0.2) / 0.005) : round((note.end - 0.15) / 0.005)]
        heard = 60 + 12 * np.log2(np.median(here[here > 0]) / 261.6256)
        assert heard == pytest.approx(note.pitch, abs=0.35)
    quiet, loud = np.abs(sound[: round(0.05 * RATE)]).max(), np.abs(sound[round(0.6 * RATE) : 2 * RATE]).max()
    assert quiet < 0.05 * loud and np.isfinite(sound).all()
    envelope = [np.abs(np.fft.rfft(each, 1 << 17))[: 1 << 13].reshape(64, -1).mean(1) for each in (voice.sound, sound)]
    assert np.corrcoef(np.log(envelope[0]), np.log(envelope[1]))[0, 1] > 0.8


def test_phrases_end_with_a_pause() -> None:
    notes = [Note(0, 0.4, 60), Note(0.5, 1, 60), Note(1.4, 2, 60)]
    assert [len(phrase) for phrase in phrases(notes)] == [2, 1]
    with pytest.raises(ValueError, match="cannot sing"):
        sing(analysed(np.random.default_rng(0).standard_normal(RATE) * 1e-3, RATE), notes, np.random.default_rng(0))


def test_a_bus_evens_out_and_places() -> None:
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(RATE) * np.where(np.arange(RATE) < RATE // 2, 0.3, 0.001)
    gain = compressor_gain(sound, RATE, -30.0, 4.0, 0.05)
    assert gain.max() <= 1 + 1e-9 and gain[RATE // 4] < 0.2 and gain[-1000] == pytest.approx(1, abs=0.02)
    made = compressed(sound, RATE, rng)
    assert np.square(made).mean() == pytest.approx(np.square(sound).mean(), rel=1e-6)
    left, right = panned(sound, -1.0).T
    assert np.allclose(right, 0, atol=1e-9) and np.square(left).sum() == pytest.approx(2 * np.square(sound).sum())
    assert np.allclose(panned(sound, 0.0), sound[:, None])
    click = np.zeros((2 * RATE, 2))
    click[100] = 1.0
    echo = echoes(click, RATE, 0.4, rng)
    assert echo[100, 0] == 1.0 and np.abs(echo[8000:]).max() > 1e-3 and not echo[:80].any()
    assert active_rms(sound, RATE) == pytest.approx(0.3, rel=0.05)


def row(name: str, kind: str, split: str = "train", **more: str) -> Row:
    file = TINY.parent / "speech48/kathleen/ka000.opus"
    return Row(file, kind, split, name, "free", 20.0, RATE, 1, 20000, speaker=name, **more)  # type: ignore[arg-type]


def test_singers_are_voices_alone() -> None:
    rows = [
        row("bank", "vocals", song="x"),
        row("band", "vocals", song="y"),
        replace(row("band", "accompaniment"), song="y"),
        row("speaker", "speech"),
        replace(row("narrow", "speech"), bandwidth=8000),
        replace(row("telephone", "speech"), bandwidth=4000),
        replace(row("speaker", "speech"), bandwidth=8000),  # also wide
        replace(row("narrow", "speech", "valid"), bandwidth=8000),
        row("mixed", "speech"),
        row("other", "speech", "valid"),
        row("tested", "speech", "test"),
    ]
    found = {singer.name: (singer.spoken, singer.valid) for singer in singers(rows, ["bank"])}
    wide = {"bank": (False, True), "speaker": (True, False), "other": (True, True)}
    assert found == wide | {"narrow": (True, False)}
    ends = {singer.name: singer.bandwidth for singer in singers(rows, ["bank"])}
    assert ends == {"bank": None, "speaker": None, "other": None, "narrow": 8000}


@pytest.fixture(scope="module")
def font(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound font with one sawtooth for everything, written here: a test needs no download."""
    return sound_font(tmp_path_factory.mktemp("font") / "saw.sf2")


def sound_font(file: Path) -> Path:
    """SoundFont 2.04: one preset, one instrument, one sample of a looped sawtooth at C5 for all keys."""
    wave = (np.tile(np.linspace(-1, 1, 84), 40) * 12000).astype("<i2")
    sample = wave.tobytes() + bytes(92)

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + (b"\0" if len(data) % 2 else b"")

    def title(text: str) -> bytes:
        return text.encode().ljust(20, b"\0")

    info = chunk(b"ifil", struct.pack("<HH", 2, 4)) + chunk(b"isng", b"EMU8000\0") + chunk(b"INAM", b"saw\0")
    count = len(wave)
    presets = (
        title("saw")
        + struct.pack("<HHHIII", 0, 0, 0, 0, 0, 0)
        + title("EOP")
        + struct.pack("<HHHIII", 0, 0, 1, 0, 0, 0)
    )
    sample_header = title("saw") + struct.pack("<IIIIIBbHH", 0, count, 84, count - 84, 44100, 72, 0, 0, 1)
    data = (
        chunk(b"phdr", presets)
        + chunk(b"pbag", struct.pack("<HHHH", 0, 0, 1, 0))
        + chunk(b"pmod", bytes(10))
        + chunk(b"pgen", struct.pack("<HHHH", 41, 0, 0, 0))
        + chunk(b"inst", title("saw") + struct.pack("<H", 0) + title("EOI") + struct.pack("<H", 1))
        + chunk(b"ibag", struct.pack("<HHHH", 0, 0, 2, 0))
        + chunk(b"imod", bytes(10))
        + chunk(b"igen", struct.pack("<HHHHHH", 54, 1, 53, 0, 0, 0))
        + chunk(b"shdr", sample_header + title("EOS") + bytes(26))
    )
    lists = chunk(b"LIST", b"INFO" + info) + chunk(b"LIST", b"sdta" + chunk(b"smpl", sample))
    file.write_bytes(chunk(b"RIFF", b"sfbk" + lists + chunk(b"LIST", b"pdta" + data)))
    return file


needs_fluidsynth = pytest.mark.skipif(shutil.which("fluidsynth") is None, reason="fluidsynth is not installed")


@needs_fluidsynth
def test_a_song_is_in_tune_with_its_music(font: Path) -> None:
    """Voice and accompaniment share the key: the pitches that are sung are the scale that is played, moved alike."""
    singer = Singer("kathleen", (row("kathleen", "vocals"),), False, False)
    song = made_song(singer, read_tune(midi(), "c"), font, np.random.default_rng(1))
    assert song.vocals.shape == song.accompaniment.shape and song.vocals.shape[1] == 2
    assert max(np.abs(song.vocals).max(), np.abs(song.vocals + song.accompaniment).max()) <= 0.9 + 1e-9
    level = 20 * np.log10(active_rms(song.vocals, RATE) / active_rms(song.accompaniment, RATE))
    assert -10.5 < level < 3.5
    again = made_song(singer, read_tune(midi(), "c"), font, np.random.default_rng(1))
    assert np.array_equal(again.vocals, song.vocals)


@needs_fluidsynth
def test_where_a_voice_lacks_treble_so_does_its_song(font: Path, tmp_path: Path) -> None:
    narrow = Singer("kathleen", (replace(row("kathleen", "speech"), bandwidth=8000),), True, False)
    song = made_song(narrow, read_tune(midi(), "c"), font, np.random.default_rng(1))
    for part in (song.vocals, song.accompaniment):
        power = np.square(np.abs(np.fft.rfft(part[:, 0])))
        above = power[round(len(power) * 9000 / (RATE / 2)) :].sum() / power.sum()
        below = power[round(len(power) * 4000 / (RATE / 2)) : round(len(power) * 7000 / (RATE / 2))].sum() / power.sum()
        assert above < 1e-6 < below
    files = [TuneFile("tune", midi(), "free", "here")]
    made_of = Material([narrow], MidiLibrary(files, [(font, "free")], valid_tunes=0.0))
    rows: list[list[object]] = []
    list(write_songs(made_of, tmp_path, rows.append, 0.2, 0.0, seed=7))
    assert rows and all(each[COLUMNS.split(",").index("bandwidth_hz")] == 8000 for each in rows)


@needs_fluidsynth
def test_splits_stay_apart(font: Path, tmp_path: Path) -> None:
    here = [Singer(name, (row(name, "vocals"),), False, name == "held") for name in ("a", "b", "held")]
    files = [TuneFile(f"tune{number}", midi(number), "free", "here") for number in range(12)]
    made_of = Material(here, MidiLibrary(files, [(font, "free")], valid_tunes=0.4))
    train, valid = ({file.name for file in made_of.library.tunes_of(split)} for split in (False, True))
    assert train and valid and not train & valid and len(train | valid) == 12
    rows: list[list[object]] = []
    list(write_songs(made_of, tmp_path, rows.append, 0.6, 0.3, seed=7))
    for split, names, tunes in (("train", {"a", "b"}, train), ("valid", {"held"}, valid)):
        those = [each for each in rows if each[2] == split]
        assert those and {each[3] for each in those} <= names
        assert all(str(each[-1]).split(",")[0] in tunes for each in those)
        assert {each[1] for each in those} == {"vocals", "accompaniment"}
    assert all((tmp_path / str(each[0])).exists() for each in rows)


def test_what_lacks_is_said(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,kind,split,corpus,licence,seconds,sample_rate,bandwidth_hz,channels\n")
    found = CliRunner().invoke(app, [str(tmp_path / "out"), "--data", str(manifest), "--repos", str(tmp_path)])
    assert found.exit_code == 2 and not (tmp_path / "out").exists()
    assert len(found.output.strip().splitlines()) == 1 and "no singer" in found.output
