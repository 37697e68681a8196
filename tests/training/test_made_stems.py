"""Stems made of notes: each group of instruments plays its own, together they are the mixture, splits stay apart."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from tests.training.test_made_songs import midi, needs_fluidsynth, sound_font
from training.data import made_stems as module
from training.data.made_stems import GROUPS, LEAST, made_stems, write_stems
from training.data.manifest import new_folder, read_manifest
from training.data.midi_library import RATE, MidiLibrary, TuneFile, played
from training.data.tunes import as_midi, by_instrument, read_tune
from training.tasks.instruments import InstrumentsTask

app = typer.Typer()
app.command()(module.main)


@pytest.fixture(scope="module")
def font(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It has no drums: what the drums play is silent."""
    return sound_font(tmp_path_factory.mktemp("font") / "saw.sf2")


def channels(*played_by: tuple[int, list[int | None]], volume: int = 100) -> bytes:
    """A channel for each: its number, and for every half second the program that plays one note then, or None.

    `volume` is that of the last channel.
    """
    file = mido.MidiFile(type=1, ticks_per_beat=480)
    for index, (channel, programs) in enumerate(played_by):
        loud = volume if index == len(played_by) - 1 else 100
        track = mido.MidiTrack([mido.Message("control_change", channel=channel, control=7, value=loud)])
        wait = 0
        for program in programs:
            if program is None:
                wait += 480
                continue
            track.append(mido.Message("program_change", channel=channel, program=program, time=wait))
            track.append(mido.Message("note_on", channel=channel, note=60 + index, velocity=90))
            track.append(mido.Message("note_off", channel=channel, note=60 + index, time=480))
            wait = 0
        file.tracks.append(track)
    data = io.BytesIO()
    file.save(file=data)
    return data.getvalue()


def test_groups_are_what_the_task_mixes() -> None:
    assert tuple(GROUPS) == InstrumentsTask.sources
    programs = [program for group in GROUPS.values() for program in group]
    assert len(set(programs)) == len(programs) and not {52, 53, 54, 85, 88, 128} & set(programs)


def test_each_group_plays_its_own_notes() -> None:
    parts = by_instrument(read_tune(midi(), "c"), GROUPS)
    assert list(parts) == ["drums", "bass", "keys", "winds"]
    notes = {name: read_tune(part, name).notes for name, part in parts.items()}
    assert {name: list(found) for name, found in notes.items()} == {
        "drums": [9],
        "bass": [2],
        "keys": [1],
        "winds": [0],
    }
    assert [note.begin for note in notes["bass"][2]] == pytest.approx(np.arange(32) * 0.5)
    assert all(note.end - note.begin == pytest.approx(0.5) for found in notes["keys"].values() for note in found)


def test_a_channel_that_changes_its_instrument_is_in_both_groups() -> None:
    tune = read_tune(channels((0, [24, 24, 40, 52, 24]), (9, [40, 40])), "x")  # guitar, violin, choir; drums
    parts = {name: read_tune(part, name).notes for name, part in by_instrument(tune, GROUPS).items()}
    begins = {name: [round(note.begin, 3) for each in found.values() for note in each] for name, found in parts.items()}
    assert begins == {"drums": [0.0, 0.5], "guitar": [0.0, 0.5, 2.0], "strings": [1.0]}  # the choir is in none


@needs_fluidsynth
def test_stems_sum_to_what_is_played_together(font: Path) -> None:
    tune = read_tune(midi(), "c")
    together = played(as_midi(tune.messages), font)
    total = np.zeros_like(together)
    for part in by_instrument(tune, GROUPS).values():
        sound = played(part, font)[: len(total)]
        total[: len(sound)] += sound
    error = np.square(total - together).mean() / np.square(together).mean()
    assert np.square(together).mean() > 1e-5 and 10 * np.log10(error) < -50  # 16 bits, rounded four times


@needs_fluidsynth
def test_all_stems_are_scaled_alike(font: Path) -> None:
    tune = read_tune(midi(), "c")
    stems, about = made_stems(tune, font, np.random.default_rng(1))
    again, _ = made_stems(tune, font, np.random.default_rng(1))
    assert list(stems) == ["bass", "keys", "winds"] and about.startswith("c, ")
    mixture = np.sum(list(stems.values()), axis=0)
    assert np.abs(mixture).max() == pytest.approx(0.9) and all(
        np.array_equal(stems[name], again[name]) for name in stems
    )
    levels = {name: np.sqrt(np.square(stem).mean()) for name, stem in stems.items()}
    plain = {name: np.sqrt(np.square(played(part, font)).mean()) for name, part in by_instrument(tune, GROUPS).items()}
    ratios = [levels[name] / plain[name] for name in ("bass", "winds")]
    assert ratios[0] == pytest.approx(ratios[1], rel=0.1)


@needs_fluidsynth
def test_a_silent_group_is_no_stem(font: Path) -> None:
    four: list[tuple[int, list[int | None]]] = [(0, [0] * 8), (1, [33] * 8), (2, [24] * 8), (3, [40] * 8)]
    stems, _ = made_stems(read_tune(channels(*four, volume=0), "x"), font, np.random.default_rng(0))
    assert list(stems) == ["bass", "guitar", "keys"]
    with pytest.raises(ValueError, match=f"no passage in which {LEAST} groups"):
        made_stems(read_tune(channels(*four[:3], volume=0), "x"), font, np.random.default_rng(0))


@needs_fluidsynth
def test_splits_stay_apart_and_files_are_the_stems(font: Path, tmp_path: Path) -> None:
    files = [TuneFile(f"tune{number}", midi(number), "free", "here") for number in range(12)]
    library = MidiLibrary(files, [(font, "free")], valid_tunes=0.4)
    with new_folder(tmp_path / "out") as (folder, add):
        told = list(write_stems(library, folder, add, 0.5, 0.3, seed=7))
    rows = read_manifest(tmp_path / "out" / "manifest.csv")
    assert {row.kind for row in rows} == {"stem"} and len({row.song for row in rows}) == len(told)
    for split in ("train", "valid"):
        tunes = {file.name for file in library.tunes_of(split == "valid")}
        lines = [line for line in told if f"made-{split}" in line]
        used = [line.split(": ")[1].split(",")[0] for line in lines]
        assert used and set(used) <= tunes and len(set(used)) == min(len(used), len(tunes))  # each once, then again
        assert sum({row.song: row.seconds for row in rows if row.split == split}.values()) >= 60 * 0.3 - 1
    song = [row for row in rows if row.song == rows[0].song]
    assert [row.instrument for row in song] == ["bass", "keys", "winds"]
    order = np.random.default_rng((7, False)).permutation(len(library.tunes_of(False)))
    rng = np.random.default_rng((7, False, 0))
    rng.integers(1)  # the font
    stems, _ = made_stems(library.tunes_of(False)[order[0]].read(), font, rng)
    for row in song:
        sound, rate = soundfile.read(row.path)
        assert rate == RATE and sound.shape == stems[row.instrument].shape and row.channels == 2
        error = np.square(sound - stems[row.instrument]).mean() / np.square(sound).mean()
        assert 10 * np.log10(error) < -15  # of Vorbis


def test_what_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, font: Path) -> None:
    @contextmanager
    def few(repos: Path | None) -> Iterator[MidiLibrary]:
        yield MidiLibrary([TuneFile("x", b"nothing", "free", "here")], [(font, "free")], valid_tunes=0.0)

    monkeypatch.setattr(module, "midi_library", few)
    out = tmp_path / "out"
    for options, said in ((["--minutes", "0"], "no tune"), (["--valid", "0"], "x is no MIDI file")):
        found = CliRunner().invoke(app, [str(out), *options])
        assert found.exit_code == 2 and not list(tmp_path.iterdir())
        assert len(found.output.strip().splitlines()) == 1 and said in found.output
    out.mkdir()
    found = CliRunner().invoke(app, [str(out)])
    assert found.exit_code == 2 and "exists already" in found.output
