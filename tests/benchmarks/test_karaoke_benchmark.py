"""The karaoke benchmark on short songs of every layout, through real streams."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import typer
from graphs import Network
from typer.testing import CliRunner

pytest.importorskip("museval")

from benchmarks import karaoke
from benchmarks.songs import find_songs
from rtsep.errors import InputError

RATE = 44100


def stems(seconds: float = 2.0, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    count = round(seconds * RATE)
    t = np.arange(count) / RATE
    vocals = np.repeat(0.2 * np.sin(2 * np.pi * 700 * t)[:, None], 2, axis=1)
    vocals[: count // 2] = 0
    made = {name: 0.05 * rng.standard_normal((count, 2)) for name in ("drums", "bass", "other")}
    return {"vocals": vocals, **made}


def write(folder: Path, signals: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    for name, x in signals.items():
        sf.write(folder / f"{name}.wav", x, RATE, subtype="FLOAT")
    return folder


@pytest.fixture(scope="module")
def parts() -> dict[str, np.ndarray]:
    return stems()


def check(songs: list, parts: dict[str, np.ndarray], name: str, atol: float = 1e-6) -> None:
    assert [song.name for song in songs] == [name]
    rest = parts["drums"] + parts["bass"] + parts["other"]
    np.testing.assert_allclose(songs[0].vocals, parts["vocals"], atol=atol)
    np.testing.assert_allclose(songs[0].accompaniment, rest, atol=atol)
    np.testing.assert_allclose(songs[0].mixture, rest + parts["vocals"], atol=atol)
    assert songs[0].rate == RATE and songs[0].seconds == 2.0


def test_layouts_of_songs(tmp_path, parts):
    rest = parts["drums"] + parts["bass"] + parts["other"]
    write(tmp_path / "hq" / "test" / "A - B", {**parts, "mixture": rest + parts["vocals"]})
    write(tmp_path / "hq" / "train" / "C", parts)
    check(find_songs(tmp_path / "hq"), parts, "A - B")
    check(find_songs(tmp_path / "hq", "train"), parts, "C")
    check(find_songs(write(tmp_path / "one", {"vocals": parts["vocals"], "accompaniment": rest})), parts, "one")
    write(tmp_path / "many" / "x", parts)
    write(tmp_path / "many" / "no song", {"drums": parts["drums"]})
    check(find_songs(tmp_path / "many"), parts, "x")
    listed = write(tmp_path / "listed", {"s-vocals": parts["vocals"], "s-accompaniment": rest, "t-vocals": rest})
    rows = "s-vocals.wav,vocals,test\ns-accompaniment.wav,accompaniment,test\nt-vocals.wav,vocals,train\n"
    (listed / "manifest.csv").write_text(f"path,kind,split\n{rows}")
    check(find_songs(listed / "manifest.csv"), parts, "s")
    (quiet,) = find_songs(listed / "manifest.csv", gain=-6.0206)
    assert quiet.name == "s, vocals -6.0206 dB"
    np.testing.assert_allclose(quiet.vocals, parts["vocals"] / 2, atol=1e-6)
    np.testing.assert_allclose(quiet.mixture, rest + parts["vocals"] / 2, atol=1e-6)
    middle = find_songs(listed / "manifest.csv", limit=0.5)[0]
    np.testing.assert_array_equal(middle.vocals, parts["vocals"][3 * RATE // 4 : 5 * RATE // 4].astype(np.float32))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg to write .stem.mp4")
def test_musdb_as_downloaded(tmp_path, parts):
    """Five AAC streams in one file: mixture, drums, bass, other, vocals."""
    pytest.importorskip("musdb")
    rest = parts["drums"] + parts["bass"] + parts["other"]
    folder = write(tmp_path / "wav", {**parts, "mixture": rest + parts["vocals"]})
    order = ("mixture", "drums", "bass", "other", "vocals")
    inputs = [word for name in order for word in ("-i", str(folder / f"{name}.wav"))]
    maps = [word for number in range(5) for word in ("-map", f"{number}:a")]
    for split in ("test", "train"):
        (tmp_path / "musdb" / split).mkdir(parents=True)
    target = tmp_path / "musdb" / "test" / "A - B.stem.mp4"
    subprocess.run(["ffmpeg", "-v", "error", *inputs, *maps, "-c:a", "aac", "-b:a", "256k", target], check=True)
    (song,) = find_songs(tmp_path / "musdb")
    assert song.name == "A - B" and song.rate == RATE
    assert (
        np.corrcoef(song.vocals[RATE:-RATE, 0], parts["vocals"][RATE : RATE + len(song.vocals) - 2 * RATE, 0])[0, 1]
        > 0.99
    )


def test_what_is_no_song_is_refused(tmp_path, parts):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.csv").write_text("a,b\n1,2\n")
    for place, sentence in (("empty", "holds no song"), ("text.csv", "is no manifest"), ("nowhere", "There is no")):
        with pytest.raises(InputError, match=sentence):
            find_songs(tmp_path / place)
    write(tmp_path / "uneven", {"vocals": parts["vocals"], "other": parts["other"][:-5]})
    with pytest.raises(InputError, match="differ in rate or length"):
        _ = find_songs(tmp_path / "uneven")[0].vocals


def invoke(*arguments: object):
    app = typer.Typer()
    app.command()(karaoke.main)
    return CliRunner(env={"COLUMNS": "250"}).invoke(app, [str(argument) for argument in arguments])


def test_the_table_of_a_song(tmp_path, parts):
    """A model that gives everything as accompaniment scores as the input does; a second run keeps what is known."""
    write(tmp_path / "songs" / "A", parts)
    network = Network(identity=True, channels=2, sample_rate=48000, sources=("accompaniment", "vocals"))
    model = network.save(tmp_path / "same.onnx")
    target = tmp_path / "found.json"
    command = ("--songs", tmp_path / "songs", "--json", target, "--model", model)
    first = invoke(*command)
    assert first.exit_code == 0, first.output
    report = json.loads(target.read_text())
    assert report["songs"][0]["name"] == "A" and report["songs"][0]["voiced"] == 0.5
    by_name = {entry["name"]: entry for entry in report["results"]}
    assert {entry["kind"] for entry in report["results"]} == {"input", "baseline", "offline", "model", "bound"}
    assert {"mid-side", "azimuth", "ica", "FastICA", "ideal binary mask", "ideal ratio mask"} <= set(by_name)
    same, untouched, ideal = (by_name[name]["summary"] for name in (model.name, "input", "ideal ratio mask"))
    assert same["suppression"] == pytest.approx(0, abs=0.05) == untouched["suppression"]
    assert same["sdr"] == pytest.approx(untouched["sdr"], abs=0.1)  # aligned: a sample off would cost decibels
    assert by_name["mid-side"]["summary"]["suppression"] > 40 and by_name["azimuth"]["summary"]["suppression"] > 10
    assert ideal["sdr"] > untouched["sdr"] + 10
    assert by_name[model.name]["rtf"] > 0 and by_name["mid-side"]["method"]["latency_ms"] < 20
    for name in by_name:
        assert name in first.stdout
    report["results"] = [entry for entry in report["results"] if entry["name"] != "ica"]
    report["results"][1]["summary"]["sdr"] = 77.77
    target.write_text(json.dumps(report))
    second = invoke(*command, "--resume")
    assert second.exit_code == 0, second.output
    assert "77.77" in second.stdout and "77.77" not in first.stdout
    assert [entry["name"] for entry in json.loads(target.read_text())["results"]] == list(by_name)


def test_some_methods_only(tmp_path, parts):
    write(tmp_path / "A", parts)
    command = ("--songs", tmp_path / "A", "--json", tmp_path / "some.json")
    assert invoke(*command, "--only", "mid-side", "--only", "input").exit_code == 0
    both = json.loads((tmp_path / "some.json").read_text())["results"]
    assert [entry["name"] for entry in both] == ["input", "mid-side"]
    assert invoke(*command, "--only", "ideal ratio mask", "--resume").exit_code == 0
    more = json.loads((tmp_path / "some.json").read_text())["results"]
    assert [entry["name"] for entry in more] == ["input", "mid-side", "ideal ratio mask"] and more[:2] == both
    refused = invoke(*command, "--only", "nothing")
    assert refused.exit_code == 2 and "nothing is none of input" in refused.output


def test_a_model_without_vocals_is_refused(tmp_path, parts, tiny_path):
    write(tmp_path / "A", parts)
    refused = invoke("--songs", tmp_path / "A", "--model", tiny_path)
    assert refused.exit_code == 2 and "separates speech, noise, not vocals" in refused.output
    assert invoke("--songs", tmp_path / "A", "--resume").exit_code == 2
