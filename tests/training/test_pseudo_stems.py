"""Stems by a separator: what is sure is kept and sums to the song, what is not is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import typer
from onnx import numpy_helper
from typer.testing import CliRunner

from tests.spectral_graphs import SIZES, SpectralNetwork
from tests.training.songs import music, voice
from training.data import pseudo_stems as module
from training.data.manifest import read_manifest
from training.data.pseudo_stems import FRAME_S, LONGEST_S, RATE, check, levels, stretches, sung_and_free
from training.data.song_clips import pair_songs

app = typer.Typer()
app.command()(module.main)
SPLIT_HZ = 3000.0


class HighPass(SpectralNetwork):
    """A separator to which all above 3 kHz is vocals."""

    def graph(self) -> onnx.ModelProto:
        model = super().graph()
        mask = np.arange(SIZES["bins"]) * SIZES["sample_rate"] / SIZES["window"] > SPLIT_HZ
        here = next(each for each in model.graph.initializer if each.name == "mask")
        here.CopyFrom(numpy_helper.from_array(mask.astype(np.float32), "mask"))
        return model


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two separators and a song of 30 s: a low chord, and in its middle a high `voice` for 12 s."""
    folder = tmp_path_factory.mktemp("songs")
    HighPass(mask=1.0).save(folder / "split.onnx")
    SpectralNetwork(mask=0.5).save(folder / "half.onnx")
    time = np.arange(30 * RATE) / RATE
    rng = np.random.default_rng(0)
    swell = 1 + 0.3 * np.interp(time, np.arange(31), rng.standard_normal(31))
    low = 0.1 * swell * sum(np.sin(2 * np.pi * hertz * time) for hertz in (220, 277, 330))
    sung = (time > 9) & (time < 21)
    trill = np.interp(time, np.arange(61) / 2, rng.uniform(0.5, 1, 61))
    high = 0.1 * sung * trill * sum(np.sin(2 * np.pi * hertz * time) for hertz in (4000, 5000, 6200))
    soundfile.write(folder / "song.flac", np.stack([low + high, low + 0.9 * high], 1), RATE)
    return folder


def made(songs: Path, out: Path, separator: str) -> object:
    words = [
        str(out),
        str(songs / "song.flac"),
        "--licence",
        "CC0",
        "--corpus",
        "mine",
        "--model",
        str(songs / separator),
    ]
    return CliRunner().invoke(app, words)


def test_passages_are_kept_and_sum_to_the_song(songs: Path, tmp_path: Path) -> None:
    found = made(songs, tmp_path / "out", "split.onnx")
    assert found.exit_code == 0, found.output  # type: ignore[attr-defined]
    rows = read_manifest(tmp_path / "out/manifest.csv")
    assert {row.kind for row in rows} == {"accompaniment", "vocals", "instrumental"}
    assert {row.licence for row in rows} == {"CC0"} and {row.split for row in rows} == {"train"}
    paired = [song for song in pair_songs(rows) if len(song.rows) == 2]
    assert len(paired) == 1
    parts = {row.kind: soundfile.read(row.path)[0] for row in paired[0].rows}
    assert len(parts["vocals"]) == pytest.approx(12 * RATE, abs=2 * FRAME_S * RATE)
    song = soundfile.read(songs / "song.flac")[0]
    total = parts["vocals"] + parts["accompaniment"]
    begin = next(
        at for at in range(0, len(song) - len(total) + 1, round(FRAME_S * RATE))
        if np.abs(song[at : at + len(total)] - total).max() < 1e-3
    )  # fmt: skip
    assert begin == pytest.approx(9 * RATE, abs=FRAME_S * RATE)
    assert {row.bandwidth for row in paired[0].rows} == {round(SIZES["bins"] * SIZES["sample_rate"] / SIZES["window"])}
    free = [soundfile.read(row.path)[0] for row in rows if row.kind == "instrumental"]
    assert sum(map(len, free)) == pytest.approx(18 * RATE, abs=2 * RATE)
    assert all(
        any(np.allclose(song[at : at + len(x)], x, atol=1e-4) for at in range(0, len(song), 12000)) for x in free
    )


def test_a_separator_that_is_not_sure_is_refused(songs: Path, tmp_path: Path) -> None:
    found = made(songs, tmp_path / "out", "half.onnx")
    assert found.exit_code == 2 and "None of the songs can be used" in found.output  # type: ignore[attr-defined]
    assert "song.flac is left out" in found.output and not (tmp_path / "out").exists()  # type: ignore[attr-defined]


def test_true_stems_pass_and_leaking_ones_do_not() -> None:
    """Of a real voice over real music, which move each for itself."""
    accompaniment = np.tile(music().T, (3, 1))[: 6 * RATE]
    vocals = np.zeros_like(accompaniment)
    here = voice(3 * RATE).T
    vocals[RATE : RATE + len(here)] = here
    mixture = accompaniment + vocals
    assert check(vocals, accompaniment, mixture).reason_against == ""
    leaking = vocals + 0.3 * accompaniment
    assert "where nobody should sing" in check(leaking, mixture - leaking, mixture).reason_against
    kept = 0.7 * vocals
    assert "move together" in check(kept, 0.02 * accompaniment + 0.3 * vocals, mixture).reason_against
    sung, free = sung_and_free(vocals, mixture)
    assert sung.any() and free.any() and not (sung & free).any()
    assert not sung_and_free(vocals, np.zeros_like(mixture))[1].any()  # silence is no music


def test_stretches() -> None:
    flags = np.zeros(400, bool)
    flags[10:40] = flags[44:80] = flags[200:390] = True
    size = round(FRAME_S * RATE)
    assert stretches(flags, 2.0) == [(10 * size, 80 * size), (200 * size, 360 * size), (360 * size, 390 * size)]
    assert [(end - begin) / RATE <= LONGEST_S for begin, end in stretches(flags, 2.0)] == [True] * 3
    assert stretches(flags[:30], 2.0) == []
    assert levels(np.full((size, 2), 0.1)) == pytest.approx(-20, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["none.flac", "--licence", "CC0"], "There is no"),
        (["{song}", "--licence", "CC0", "--model", "karaoke"], "no separator of songs in files"),
    ],
)
def test_bad_input_gets_one_sentence(words: list[str], sentence: str, songs: Path, tmp_path: Path) -> None:
    given = [word.format(song=songs / "song.flac") for word in words]
    found = CliRunner().invoke(app, [str(tmp_path / "out"), *given])
    assert found.exit_code == 2 and sentence in found.output and not (tmp_path / "out").exists()
    assert len(found.output.strip().splitlines()) == 1
