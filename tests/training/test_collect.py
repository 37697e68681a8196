"""The catalogue of public recordings and what collects them: real git repositories and packages, made here."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
import yaml
from typer.testing import CliRunner

from training.data import collect as module
from training.data.manifest import COLUMNS, read_manifest
from training.data.public_sources import CATALOGUE, Part, label_from_path, matches, read_catalogue
from training.data.recording_checks import (
    Limits,
    bandwidth,
    clipped_share,
    cut_silence,
    decode,
    levelled,
    levels,
    measure,
    reason_against,
)

RATE = 16000  # Hz
SHARE = 0.6  # of speakers and of noise files that are to be valid
app = typer.Typer()
app.command()(module.main)
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")

AMBIENT = "common/src/main/resources/assets/dsurround/sounds/ambient"


def voice(seconds: float, seed: int, floor_db: float = -75.0, rate: int = RATE) -> np.ndarray:
    """Bursts of 0.4 s with pauses of 0.2 s, over a floor of noise: what the checks take for clean speech."""
    rng = np.random.default_rng(seed)
    size = round(seconds * rate)
    on = (np.arange(size) / rate) % 0.6 < 0.4
    sound = 0.2 * rng.standard_normal(size) * on + 10 ** (floor_db / 20) * rng.standard_normal(size)
    return np.clip(sound, -0.97, 0.97).astype(np.float32)


def git(folder: Path, *words: str) -> str:
    names = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-C", str(folder), *words], check=True, capture_output=True, env={**os.environ, **names}
    )
    return done.stdout.decode().strip()


def make_repository(folder: Path, files: dict[str, np.ndarray | bytes]) -> str:
    """A git repository of WAV files and others; its commit."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            soundfile.write(folder / name, content, RATE)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "sounds")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "clones" / "somebody+sounds" / "repo"
    files: dict[str, np.ndarray | bytes] = {
        f"speech/{who}/{index}.wav": voice(3, 10 * number + index)
        for number, who in enumerate(("ann", "bob", "cy", "dee"))
        for index in range(3)
    }
    files["speech/ann/noisy.wav"] = voice(3, 91, floor_db=-30)
    files["speech/ann/clipped.wav"] = np.clip(8 * voice(3, 92), -1, 1)
    files["speech/ann/again.wav"] = files["speech/ann/0.wav"]
    files["speech/ann/secret.wav"] = voice(3, 93)
    files["speech/ann/broken.wav"] = b"RIFF no sound"
    files["speech/ann/large.wav"] = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    files |= {f"noise/rain/{index} é.wav": 0.1 * voice(30, 50 + index, floor_db=-20) for index in range(4)}
    files["rooms/hall.wav"] = np.stack([voice(1, 70), voice(1, 71)], axis=1)
    return folder, make_repository(folder, files)


def entry(commit: str, **more: Any) -> dict[str, Any]:
    parts = [
        {"kind": "speech", "files": "speech/*.wav", "speaker": "re:speech/([^/]+)/", "language": "xx", "valid": SHARE},
        {"kind": "noise", "files": "noise/*.wav", "label": "re:noise/([^/]+)/", "valid": SHARE},
        {"kind": "room", "files": "rooms/*.wav", "label": "hall", "valid": 0},
    ]
    source = {"name": "sounds", "git": "somebody/sounds", "commit": commit, "licence": "CC0-1.0", "stated": "README"}
    return {**source, "parts": parts, **more}


def write_catalogue(folder: Path, *sources: dict[str, Any], held_back: tuple[str, ...] = ("*:*secret*",)) -> Path:
    file = folder / "catalogue.yaml"
    file.write_text(yaml.safe_dump({"held_back": list(held_back), "sources": list(sources)}), encoding="utf-8")
    return file


def run(out: Path, catalogue: Path, *words: str) -> Any:
    return CliRunner().invoke(app, [str(out), "--catalogue", str(catalogue), *words])


def records(out: Path) -> list[dict[str, str]]:
    with open(out / "manifest.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_clone_becomes_tracks_with_a_manifest(tmp_path: Path, repository: tuple[Path, str]) -> None:
    catalogue, out = write_catalogue(tmp_path, entry(repository[1])), tmp_path / "out"
    done = run(out, catalogue, "--repos", str(tmp_path / "clones"))
    assert done.exit_code == 0, done.output
    assert (out / "manifest.csv").read_text(encoding="utf-8").startswith(COLUMNS + "\n")
    rows = read_manifest(out / "manifest.csv", [])
    assert {row.kind for row in rows} == {"speech", "noise", "room"}
    splits: dict[str, set[str]] = {}
    for row in rows:
        info = soundfile.info(row.path)
        assert (info.samplerate, info.channels) == (row.sample_rate, row.channels)
        assert info.duration == pytest.approx(row.seconds, abs=0.01)
        assert row.licence == "CC0-1.0 (README)"
        if row.kind == "speech":
            splits.setdefault(row.speaker, set()).add(row.split)
    assert set(splits) == {f"sounds-{who}" for who in ("ann", "bob", "cy", "dee")}
    assert all(len(split) == 1 for split in splits.values()) and len(set.union(*splits.values())) == 2
    ann = next(record for record in records(out) if record["speaker"] == "sounds-ann")
    assert "language=xx" in ann["note"] and ann["source"] == f"github:somebody/sounds@{repository[1]}"
    assert 9 < float(ann["seconds"]) < 10  # three files of 3 s and two gaps
    for reason in ("1 noisy", "1 clipped", "1 there twice", "Git LFS"):
        assert reason in done.output
    assert [row.channels for row in rows if row.kind == "room"] == [2]
    assert not list(out.rglob(".*.part"))


def test_held_back_files_are_never_opened(
    tmp_path: Path, repository: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bytes] = []

    def noting(content: bytes, suffix: str) -> tuple[np.ndarray, int]:
        opened.append(content)
        return decode(content, suffix)

    monkeypatch.setattr(module, "decode", noting)
    secret = (repository[0] / "speech/ann/secret.wav").read_bytes()
    catalogue = write_catalogue(tmp_path, entry(repository[1]))
    assert run(tmp_path / "out", catalogue, "--repos", str(tmp_path / "clones")).exit_code == 0
    assert opened and secret not in opened
    catalogue = write_catalogue(tmp_path, entry(repository[1]), held_back=("SOMEBODY/sounds:*",))
    done = run(tmp_path / "other", catalogue)
    assert done.exit_code == 2 and "held back" in done.output and not (tmp_path / "other").exists()


def test_caps_of_a_part_and_of_each_speaker(tmp_path: Path, repository: tuple[Path, str]) -> None:
    part = {"kind": "speech", "files": "speech/*.wav", "speaker": "re:speech/([^/]+)/", "valid": 0}
    for cap, speakers, most in (({"each": 0.04}, 4, 3.5), ({"cap": 0.1}, 1, 10)):
        catalogue, out = write_catalogue(tmp_path, entry(repository[1], parts=[part | cap])), tmp_path / str(most)
        assert run(out, catalogue, "--repos", str(tmp_path / "clones")).exit_code == 0
        rows = read_manifest(out / "manifest.csv", [])
        assert len({row.speaker for row in rows}) == speakers and all(row.seconds < most for row in rows)


def test_each_track_of_a_singer_is_a_song(
    tmp_path: Path, repository: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRACK_S", 2.0)
    part = {"kind": "vocals", "files": "speech/*.wav", "speaker": "re:speech/([^/]+)/", "valid": 0}
    catalogue = write_catalogue(tmp_path, entry(repository[1], parts=[part]))
    assert run(tmp_path / "out", catalogue, "--repos", str(tmp_path / "clones")).exit_code == 0
    songs = [row.song for row in read_manifest(tmp_path / "out" / "manifest.csv", [])]
    assert len(songs) == len(set(songs)) == 12  # three files each of four singers


def test_bare_clones_other_layouts_and_a_fetched_one(tmp_path: Path, repository: tuple[Path, str]) -> None:
    made = []
    for layout in ("a/somebody+sounds/repo", "b/sounds.git", "c/somebody/sounds"):
        place = tmp_path / layout
        git(tmp_path, "clone", "-q", "--bare", str(repository[0]), str(place))
        out = tmp_path / f"out-{layout[0]}"
        done = run(out, write_catalogue(tmp_path, entry(repository[1])), "--repos", str(tmp_path / layout[0]))
        assert done.exit_code == 0, done.output
        made.append({path.name: path.read_bytes() for path in out.rglob("*.flac")})
    url = entry(repository[1], git=f"file://{repository[0]}")
    assert run(tmp_path / "fetched", write_catalogue(tmp_path, url)).exit_code == 0
    made.append({path.name: path.read_bytes() for path in (tmp_path / "fetched").rglob("*.flac")})
    assert made[0] and all(each == made[0] for each in made[1:])  # the same each time, byte for byte


def test_what_cannot_be_had_is_skipped_with_a_sentence(tmp_path: Path, repository: tuple[Path, str]) -> None:
    gone = entry("0" * 40, name="gone", git=f"file://{tmp_path}/nowhere")
    deb: dict[str, Any] = {
        "name": "deb",
        "debian": "no-such-package-at-all",
        "version": "1",
        "licence": "MIT",
        "stated": "there",
    }
    deb["parts"] = [{"kind": "noise", "files": "*.wav"}]
    catalogue = write_catalogue(tmp_path, gone, deb, entry(repository[1]))
    done = run(tmp_path / "out", catalogue, "--repos", str(tmp_path / "clones"))
    assert done.exit_code == 0 and "gone is skipped: " in done.output and "deb is skipped: " in done.output
    assert "2 sources were skipped" in done.output and {row["corpus"] for row in records(tmp_path / "out")} == {
        "sounds"
    }
    done = run(tmp_path / "none", catalogue, "--only", "gone")
    assert done.exit_code == 2 and "Nothing was collected: gone is skipped" in done.output


def test_what_is_there_is_not_made_again(tmp_path: Path, repository: tuple[Path, str]) -> None:
    catalogue, out = write_catalogue(tmp_path, entry(repository[1])), tmp_path / "out"
    words = ("--repos", str(tmp_path / "clones"))
    assert run(out, catalogue, *words).exit_code == 0
    manifest = (out / "manifest.csv").read_bytes()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.flac")}
    assert "there already" in run(out, catalogue, *words).output
    assert {path: path.stat().st_mtime_ns for path in before} == before
    lost = next(path for path in before if "ann" in path.name)
    lost.unlink()
    assert run(out, catalogue, *words).exit_code == 0
    changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == [lost] and (out / "manifest.csv").read_bytes() == manifest
    less = entry(repository[1], parts=entry(repository[1])["parts"][:1])  # another catalogue: what it lacks goes
    assert run(out, write_catalogue(tmp_path, less), *words).exit_code == 0
    assert {row["kind"] for row in records(out)} == {"speech"} and not list((out / "noise").rglob("*.flac"))


def test_only_one_source_keeps_the_rows_of_the_others(tmp_path: Path, repository: tuple[Path, str]) -> None:
    words = ("--repos", str(tmp_path / "clones"))
    other = tmp_path / "clones" / "sounds2"
    commit = make_repository(other, {"rain.wav": voice(20, 5, floor_db=-20)})
    part = [{"kind": "noise", "files": "*.wav", "label": "rain", "valid": 0}]
    second = entry(commit, name="second", git="somebody/sounds2", parts=part)
    catalogue = write_catalogue(tmp_path, entry(repository[1]), second)
    assert run(tmp_path / "out", catalogue, *words, "--only", "second").exit_code == 0
    assert {row["corpus"] for row in records(tmp_path / "out")} == {"second"}
    assert run(tmp_path / "out", catalogue, *words, "--only", "sounds").exit_code == 0
    assert {row["corpus"] for row in records(tmp_path / "out")} == {"sounds", "second"}


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg")
def test_a_package_and_an_archive_in_it(tmp_path: Path) -> None:
    root, debs = tmp_path / "root", tmp_path / "debs"
    (root / "DEBIAN").mkdir(parents=True)
    debs.mkdir()
    (root / "DEBIAN/control").write_text(
        "Package: wind\nVersion: 1:2-3\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: wind\n"
    )
    soundfile.write(tmp_path / "gust.wav", voice(20, 3, floor_db=-20), RATE)
    (root / "usr/share/wind").mkdir(parents=True)
    shutil.make_archive(str(root / "usr/share/wind/data"), "zip", tmp_path, "gust.wav")
    subprocess.run(
        ["dpkg-deb", "--build", str(root), str(debs / "wind_1%3a2-3_all.deb")], check=True, capture_output=True
    )
    source: dict[str, Any] = {
        "name": "wind",
        "debian": "wind",
        "version": "1:2-3",
        "licence": "MIT",
        "stated": "debian/copyright",
    }
    source |= {"parts": [{"kind": "noise", "files": "*/data/gust.wav", "label": "wind", "valid": 0}]}
    done = run(tmp_path / "out", write_catalogue(tmp_path, source), "--repos", str(debs))
    assert done.exit_code == 0, done.output
    (row,) = records(tmp_path / "out")
    assert row["source"] == "debian:wind=1:2-3" and row["note"].startswith("label=wind; usr/share/wind/data/")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"commit": ""}, "give git and commit"),
        ({"licence": ""}, "must not be empty"),
        ({"colour": "red"}, "knows no colour"),
        ({"parts": [{"kind": "smell", "files": "*"}]}, "kind must be one of"),
        ({"parts": [{"kind": "speech", "files": "*"}]}, "needs a speaker"),
        ({"parts": [{"kind": "noise", "files": "*", "limits": {"hue": 1}}]}, "knows no hue"),
    ],
)
def test_a_wrong_catalogue_is_one_sentence(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    done = run(tmp_path / "out", write_catalogue(tmp_path, entry("1" * 40) | change))
    assert done.exit_code == 2 and words in done.output and len(done.output.strip().splitlines()) == 1


def test_other_bad_input_is_one_sentence(tmp_path: Path) -> None:
    catalogue = write_catalogue(tmp_path, entry("1" * 40))
    assert "is none of sounds" in run(tmp_path / "out", catalogue, "--only", "sound").output
    assert "is no folder" in run(tmp_path / "out", catalogue, "--repos", str(tmp_path / "nowhere")).output
    assert "is a file" in run(catalogue, catalogue).output
    catalogue.write_text("sources: {a: [", encoding="utf-8")
    done = run(tmp_path / "out", catalogue)
    assert done.exit_code == 2 and "is no YAML" in done.output
    assert run(tmp_path / "out", tmp_path / "none.yaml").exit_code == 2
    double = write_catalogue(tmp_path, entry("1" * 40), entry("1" * 40))
    assert "names sounds twice" in run(tmp_path / "out", double).output


def test_the_catalogue_that_is_shipped() -> None:
    catalogue = read_catalogue(CATALOGUE)
    by_name = {source.name: source for source in catalogue.sources}
    assert len(by_name) > 80
    assert catalogue.holds_back(by_name["berlin-noise"], "audio/FE3AD974-A54D.wav")
    assert catalogue.holds_back(by_name["makam"], "safiye/1.wav") and not catalogue.holds_back(
        by_name["makam"], "idil/1.wav"
    )
    assert catalogue.holds_back(by_name["ktuberling"], "sounds/fr/eye.wav")
    assert catalogue.holds_back(by_name["klettres"], "usr/share/klettres/da/alpha/a.ogg")
    assert catalogue.holds_back(by_name["wesnoth"], "usr/share/games/wesnoth/1.16/data/core/music/battle.ogg")


@pytest.mark.parametrize(
    ("source", "inside", "outside"),
    [
        ("kitchen20", "audio/3-D-Assiettes.m4a-D-18.wav", "audio/0-101477-A-3.wav"),  # of Freesound, licence unknown
        ("artikulate", "courses/basic/gr/{a1}.ogg", "courses/basic/pl/{a1}.ogg"),  # a language of the test set
        ("dynamic-surroundings", f"{AMBIENT}/stream/waterfall1.ogg", f"{AMBIENT}/stream/waterfall0.ogg"),  # NC
        ("durbin-feeling", "durbin-feeling-tones/mp3/0001.mp3", "walc-1/mp3/0001.mp3"),  # NC
        (
            "openclonk",
            "planet/Sound.ocg/Fire.ocg/Fire.ogg",
            "planet/Sound.ocg/Clonk.ocg/Skin.ocg/Steampunk.ocg/Yes.ogg",
        ),
        ("rigs-of-rods", "resources/sounds/default_horn.wav", "resources/sounds/default_chatter01.wav"),  # speech
    ],
)
def test_files_that_the_catalogue_leaves_out(source: str, inside: str, outside: str) -> None:
    parts = {known.name: known.parts for known in read_catalogue(CATALOGUE).sources}[source]
    assert any(matches(inside, part) for part in parts)
    assert not any(matches(outside, part) for part in parts)


def test_every_source_is_pinned_and_licensed() -> None:
    for source in read_catalogue(CATALOGUE).sources:
        assert source.licence and source.stated and bool(source.git) != bool(source.debian), source.name
        assert len(source.commit) == 40 if source.git else source.version, source.name
        assert "non-commercial" not in source.licence.lower() and "-nc" not in source.licence.lower(), source.name


def test_rules_of_the_catalogue() -> None:
    assert label_from_path("re:_desc_([a-z]+)|(none)", "bird_desc_el.ogg") == "el"
    assert (
        label_from_path("mixed", "ab") == "mixed"
        and label_from_path("re:(a)(b)", "ab") == "a-b"
        and label_from_path("re:(x)", "ab") == ""
    )
    part = Part("noise", ("sound/*.ogg",), ("*radio*",))
    assert matches("sound/a/rain.ogg", part) and not matches("sound/radio.ogg", part) and not matches("rain.ogg", part)


def test_measurements() -> None:
    time = np.arange(2 * 48000) / 48000
    tones = np.mean([np.sin(2 * np.pi * f * time) for f in (300, 5000, 11000)], axis=0).astype(np.float32)
    assert bandwidth(tones, 48000) == pytest.approx(11000, abs=400)
    assert clipped_share(np.clip(9 * tones, -1, 1)) > 0.05 and clipped_share(tones) == 0
    facts = measure(voice(4, 1), RATE)
    assert facts.range_db > 45 and facts.activity == pytest.approx(0.67, abs=0.05) and facts.seconds == 4
    assert reason_against(facts, "speech", Limits()) == ""
    assert reason_against(measure(voice(4, 1, floor_db=-30), RATE), "speech", Limits()) == "noisy"
    assert reason_against(measure(voice(4, 1, floor_db=-30), RATE), "noise", Limits()) == ""
    assert reason_against(measure(np.zeros(RATE, np.float32), RATE), "noise", Limits()) == "silent"
    assert reason_against(facts, "speech", Limits(rate=44100)) == "sampled too slowly"
    assert reason_against(facts, "speech", Limits(bandwidth=9000)) == "too narrow"
    assert reason_against(measure(voice(0.1, 1), RATE), "noise", Limits()) == "too short"
    assert reason_against(measure(np.zeros(10, np.float32), RATE), "noise", Limits()) == "too short"


def test_silence_is_cut_and_the_level_set() -> None:
    part = voice(2, 4, floor_db=-120)
    sound = np.concatenate([np.zeros(RATE), part, np.zeros(3 * RATE), part, np.zeros(RATE)]).astype(np.float32)
    cut = cut_silence(sound, RATE, "speech")
    assert 4.0 < len(cut) / RATE < 4.5
    level = levels(levelled(cut, RATE), RATE)
    assert 10 * np.log10((10 ** (level[level > level.max() - 40] / 10)).mean()) == pytest.approx(-26, abs=0.2)
    click = np.zeros(RATE, np.float32)
    click[5000:5004] = 1e-3
    assert np.abs(levelled(click, RATE)).max() <= 0.8901
    assert len(cut_silence(np.zeros(RATE, np.float32), RATE, "noise")) == 0


@needs_ffmpeg
def test_ffmpeg_reads_what_soundfile_does_not(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice(1, 1), RATE)
    for suffix in (".g722", ".m4a"):
        words = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "a.wav"), str(tmp_path / f"a{suffix}")]
        subprocess.run(words, check=True)
        sound, rate = decode((tmp_path / f"a{suffix}").read_bytes(), suffix)
        assert rate == RATE and sound.shape[1] == 1 and len(sound) == pytest.approx(RATE, rel=0.1)
    with pytest.raises(ValueError, match="neither soundfile nor ffmpeg"):
        decode(b"nothing", ".ogg")
