"""benchmarks.robustness on the tiny manifest, with a model that passes everything and one that destroys everything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("pystoi")

from benchmarks import robustness
from benchmarks.peers import Peer
from benchmarks.robustness import Sounds, bound, case, gather, levelled, measure, missing, verdict, with_earlier
from benchmarks.robustness_cells import RATE, Cell, active_level, cells, encoders
from rtsep.errors import InputError
from tests.graphs import Network
from tests.training.tiny import TINY
from training.data.manifest import read_manifest
from training.evaluation.speech_metrics import si_sdr


@pytest.fixture(scope="module")
def sounds() -> Sounds:
    return gather(TINY, 2, 2.0)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Network(identity=True, sample_rate=RATE).save(tmp_path_factory.mktemp("model") / "identity.onnx")


def run(*words: object) -> object:
    app = typer.Typer()
    app.command()(robustness.main)
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])


def named(name: str) -> Cell:
    return next(cell for cell in cells() if cell.name == name)


def test_only_valid_rows_are_opened(sounds: Sounds) -> None:
    valid = {row.path.name for row in read_manifest(TINY) if row.split == "valid"}
    opened = {name for names in sounds.names.values() for name in names}
    assert opened and opened <= valid
    assert sounds.names["speech"] == ["so0001.opus"] and sounds.names["noise"] == ["esc-3-150979-A.opus"]


def test_the_grid_is_the_issues() -> None:
    names = {cell.name for cell in cells()}
    assert len(names) == len(cells())
    assert {"high-pass 80 Hz", "high-pass 500 Hz", "low-pass 2500 Hz", "low-pass 20000 Hz"} <= names
    assert {"peak 0 dBFS", "peak -60 dBFS", "GSM", "Opus 8 kbit/s", "MP3 32 kbit/s", "whisper", "singing"} <= names
    clean = {cell.name for cell in cells() if cell.clean_bar}
    assert {"high-pass 300 Hz", "low-pass 3000 Hz", "peak -45 dBFS", "G.711 µ-law", "constant offset"} <= clean
    assert not {"high-pass 400 Hz", "low-pass 2500 Hz", "peak -60 dBFS", "GSM", "MP3 32 kbit/s"} & clean
    reported = {cell.name for cell in cells() if not (cell.clean_bar or cell.noisy_bar)}
    assert reported == {"packets lost", "two voices", "silence", "noise alone", "music on hold"}


@pytest.mark.parametrize("cell", cells(), ids=lambda cell: cell.name)
def test_every_cell_makes_what_it_says(cell: Cell, sounds: Sounds) -> None:
    """All sounds finite and of one length; an untouched clean input is the reference, but for what is added."""
    if why := missing(cell, sounds):
        assert cell.encoder not in encoders() if cell.encoder else cell.source in ("vocals", "music"), why
        return
    for index in range(2):
        one = case(cell, sounds, index)
        for sound in (one.reference, one.clean, one.noisy, one.clean_reference):
            assert sound.shape == (2 * RATE,) and sound.dtype == np.float32 and np.isfinite(sound).all()
        if cell.source in ("speech", "pair"):
            assert si_sdr(one.clean_reference, one.clean) > (5 if cell.added else 80)
            assert si_sdr(one.reference, one.noisy) < 25
        again = case(cell, sounds, index)
        assert np.array_equal(one.noisy, again.noisy)


def test_levels_bands_and_noise_are_right(sounds: Sounds) -> None:
    plain = case(named("as recorded"), sounds, 0)
    assert active_level(plain.reference) == pytest.approx(-26, abs=0.05)
    for index, snr in ((0, 0.0), (1, 7.5)):
        one = case(named("as recorded"), sounds, index)
        assert active_level(one.noisy - one.reference) == pytest.approx(-26 - snr, abs=0.05)
    quiet = case(named("peak -45 dBFS"), sounds, 0)
    assert 20 * np.log10(np.abs(quiet.noisy).max()) == pytest.approx(-45, abs=0.01)
    assert si_sdr(plain.noisy, quiet.noisy) > 80 and si_sdr(plain.reference, quiet.reference) > 80
    phone = np.square(np.abs(np.fft.rfft(case(named("band 300 to 3400 Hz"), sounds, 0).noisy)))
    hertz = np.fft.rfftfreq(2 * RATE, 1 / RATE)
    assert phone[(hertz < 150) | (hertz > 5000)].sum() < 1e-3 * phone.sum()
    lost = case(named("packets lost"), sounds, 0)
    assert (lost.noisy[lost.reference == 0] == 0).mean() > 0.99  # the same packets of all


def test_what_passes_everything_passes_and_what_mutes_fails(sounds: Sounds) -> None:
    cell = named("as recorded")
    kept, muted = measure(cell, sounds, lambda sound: sound), measure(cell, sounds, lambda sound: sound * 0)
    assert kept["passed"] is True and kept["clean_si_sdr"] == 80 and kept["si_sdr_change"] == 0
    assert kept["heard_passed"] is True and abs(kept["heard_estoi_change"]) < 1e-12
    slow = measure(cell, sounds, lambda sound: sound, 16000)
    assert slow["clean_si_sdr"] == 80 and slow["estoi_in"] == pytest.approx(kept["estoi_in"], abs=1e-3)
    assert muted["passed"] is False and muted["clean_passed"] is False and muted["noisy_passed"] is False
    hold = measure(named("noise alone"), sounds, lambda sound: sound * np.float32(0.1))
    assert hold["passed"] is None and hold["level_change"] == pytest.approx(-20, abs=0.01)


def test_the_bar() -> None:
    cell = Cell("x", clean_bar=True)
    good = {"clean_si_sdr": 20.0, "si_sdr_change": -0.5, "estoi_change": -0.01, "heard_estoi_change": -0.01}
    assert verdict(cell, good)["passed"] is True and verdict(cell, good)["heard_passed"] is True
    for change in ({"clean_si_sdr": 19.9}, {"si_sdr_change": -0.51}):
        assert verdict(cell, good | change)["passed"] is verdict(cell, good | change)["heard_passed"] is False
    for name, other in (("estoi_change", "heard_passed"), ("heard_estoi_change", "passed")):
        found = verdict(cell, good | {name: -0.011})
        assert found[other] is True and {found["passed"], found["heard_passed"]} == {True, False}
    assert verdict(Cell("x"), good | {"clean_si_sdr": 0.0})["passed"] is True
    assert verdict(cell, good | {"estoi_change": float("nan")})["passed"] is True
    assert verdict(Cell("x", noisy_bar=False), good)["passed"] is None


def test_a_slow_gain_follows_the_level_and_is_undone(sounds: Sounds) -> None:
    speech = sounds.excerpts["speech"][0] * np.float32(0.01)
    heard: list[np.ndarray] = []

    def spy(sound: np.ndarray) -> np.ndarray:
        heard.append(sound)
        return sound

    back = levelled(spy)(speech)
    assert np.allclose(back, speech, rtol=1e-5, atol=1e-12)
    late = slice(RATE, None)
    assert active_level(heard[0][late]) - active_level(speech[late]) > 15
    cut = levelled(spy)(np.concatenate([speech[:RATE], speech[:RATE] * 100]))[:RATE]
    assert np.allclose(cut, back[:RATE], atol=1e-9)  # nothing is known of what comes


def test_the_program(identity: Path, tmp_path: Path) -> None:
    words = ["--data", TINY, "--clips", "1", "--seconds", "1.5", "--only", "peak", "--json", tmp_path / "r.json"]
    done = run(identity, *words, "--check")
    assert done.exit_code == 0, done.output
    assert "0 of 5 cells miss the bar, 0 by" in done.output and "identity.onnx" in done.output
    content = json.loads((tmp_path / "r.json").read_text())
    assert [row["cell"] for row in content["models"][0]["cells"]] == [c.name for c in cells() if "peak" in c.name]
    assert str(tmp_path) not in (tmp_path / "r.json").read_text()


def test_peers_are_held_to_the_same_bar(identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Half(Peer):
        """Halves; hears 16 kHz and lags by a frame."""

        name, package, sample_rate, frame, delay, parameters = "Half", "numpy", 16000, 160, 160, None

        def __init__(self) -> None:
            self.last = np.zeros(160, np.float32)

        def process(self, frame: np.ndarray) -> np.ndarray:
            out, self.last = self.last / 2, frame.copy()
            return out

    monkeypatch.setattr(robustness, "PEERS", (Half,))
    words = ["--data", TINY, "--clips", "1", "--seconds", "1.5", "--only", "as recorded", "--peers"]
    done = run(identity, *words, "--json", tmp_path / "r.json")
    assert done.exit_code == 0, done.output
    (half,) = json.loads((tmp_path / "r.json").read_text())["peers"]
    assert half["name"] == "Half" and half["cells"][0]["clean_si_sdr"] == 80
    assert half["cells"][0]["clean_level"] == pytest.approx(-6.02, abs=0.01)


def test_what_was_measured_of_the_same_sounds_stays(tmp_path: Path) -> None:
    def entry(name: str, level: float) -> dict[str, object]:
        return {"model": {"name": name}, "input_gain": False, "cells": [level]}

    file, told = tmp_path / "r.json", {"clips": 1, "seconds": 2.0, "only": "", "sounds_sha256": "a"}
    file.write_text(json.dumps(told | {"models": [entry("b", 1), entry("a", 2)], "peers": [3], "ideal_masks": 4}))
    now = told | {"models": [entry("b", 5)]}
    assert with_earlier(now, file) == now | {
        "models": [entry("a", 2), entry("b", 5)],
        "peers": [3],
        "ideal_masks": 4,
    }
    assert with_earlier(now | {"peers": [6]}, file)["peers"] == [6]
    for other in (now | {"sounds_sha256": "b"}, now | {"only": "peak"}):
        assert with_earlier(other, file) == other
    assert with_earlier(now, tmp_path / "none.json") == now


def test_other_sounds_have_another_hash(sounds: Sounds) -> None:
    assert sounds.sha256 == gather(TINY, 2, 2.0).sha256 != gather(TINY, 2, 1.5).sha256


def test_check_fails_where_the_bar_is_missed(tmp_path: Path) -> None:
    bad = Network(sample_rate=RATE).save(tmp_path / "bad.onnx")  # random weights
    words = [bad, "--data", TINY, "--clips", "1", "--seconds", "1.5", "--only", "as recorded"]
    assert run(*words).exit_code == 0
    done = run(*words, "--check")
    assert done.exit_code == 1 and "1 of 1 cells miss the bar" in done.output


def test_bad_words_get_a_sentence(tmp_path: Path, identity: Path) -> None:
    done = run(identity, "--data", TINY, "--only", "underwater")
    assert done.exit_code == 2 and "No cell is called 'underwater'" in done.output
    done = run(identity, "--data", tmp_path / "none.csv")
    assert done.exit_code == 2 and "none.csv" in done.output
    (tmp_path / "m.csv").write_text(TINY.read_text().replace(",valid,", ",train,"), encoding="utf-8")
    with pytest.raises(InputError, match="has no speech in its valid split"):
        gather(tmp_path / "m.csv", 1, 1.0)


def test_voices_come_without_rumble(sounds: Sounds) -> None:
    """What lies under a voice is no speech, and no model destroys speech that takes it away."""
    for voice in sounds.excerpts["speech"]:
        power = np.square(np.abs(np.fft.rfft(voice)))
        assert power[np.fft.rfftfreq(len(voice), 1 / RATE) < 40].sum() < 1e-4 * power.sum()


def test_ideal_masks_reach_what_they_can_and_no_more(sounds: Sounds) -> None:
    as_recorded, cut = (bound(named(name), sounds) for name in ("as recorded", "high-pass 500 Hz"))
    assert as_recorded["passed"] and as_recorded["clean_si_sdr"] > 60  # nothing to take away: all of it comes back
    assert as_recorded["si_sdr_change"] > 5
    assert cut["estoi_change"] < as_recorded["estoi_change"] - 0.05  # short windows fill what a steep filter emptied
    assert cut["si_sdr_change"] > 5
