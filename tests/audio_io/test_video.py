"""Clean sound back beside the untouched picture, and MP3 and M4A, all by ffmpeg."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

import rtsep
from rtsep import InputError
from rtsep.audio_io.files import enhance_file
from rtsep.audio_io.video import ffmpeg
from tests.program import assert_one_sentence, names
from tests.program import rtsep as program
from tests.recordings import NOISY, identity_model

pytestmark = pytest.mark.skipif(ffmpeg() is None, reason="needs ffmpeg")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return rtsep.load(identity_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def talk(tmp_path_factory) -> Path:
    """Three seconds of picture and speech, with a title."""
    path = tmp_path_factory.mktemp("video") / "talk.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=10:duration=3"]
    command = ["ffmpeg", "-v", "error", *picture, "-i", str(NOISY), "-t", "3", "-c:v", "mpeg4", "-c:a", "aac"]
    subprocess.run([*command, "-metadata", "title=Talk", str(path)], check=True, stdin=subprocess.DEVNULL)
    return path


def stream(path: Path, *options: str) -> bytes:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", str(path), *options, "-"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def sound(path: Path) -> np.ndarray:
    """The first sound track at 16 kHz, from the beginning of the picture."""
    where = ("-map", "0:a:0", "-af", "aresample=async=1:first_pts=0", "-ar", "16000", "-f", "f32le")
    return np.frombuffer(stream(path, *where), np.float32)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi"])
def test_the_picture_is_untouched_and_the_sound_in_its_place(tmp_path, model, talk, suffix):
    out = tmp_path / f"out.{suffix}"
    enhance_file(talk, out, model, strength=0.0)
    packets = ("-map", "0:v:0", "-c", "copy", "-f", "data")
    assert stream(out, *packets) == stream(talk, *packets)
    before, after = sound(talk)[:40000], sound(out)[:40000]
    lags = np.fft.irfft(np.fft.rfft(after, 1 << 17) * np.conj(np.fft.rfft(before, 1 << 17)))
    assert np.argmax(lags) == 0  # to the sample
    assert np.sqrt(np.mean((after - before) ** 2)) < 0.2 * np.sqrt(np.mean(before**2))  # coded once more
    assert b"Talk" in out.read_bytes()
    assert names(tmp_path) == [out.name]


@pytest.mark.parametrize("suffix", ["mp3", "m4a"])
def test_mp3_and_m4a_out(tmp_path, model, talk, suffix):
    for source in (NOISY, talk):
        out = tmp_path / f"{source.stem}.{suffix}"
        report = enhance_file(source, out, model, strength=0.0)
        assert abs(len(sound(out)) - report.samples) <= 1152
        assert b"Video" not in subprocess.run(["ffmpeg", "-i", str(out)], capture_output=True).stderr


def test_what_does_not_fit_together_is_refused_and_leaves_nothing(tmp_path, model):
    clip = tmp_path / "in.mkv"
    picture = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=10:duration=1"]
    command = ["ffmpeg", "-v", "error", *picture, "-i", str(NOISY), "-t", "1", "-c:v", "ffv1", "-c:a", "flac"]
    subprocess.run([*command, str(clip)], check=True, stdin=subprocess.DEVNULL)
    with pytest.raises(InputError, match=r"cannot put the sound.*into one \.webm"):
        enhance_file(clip, tmp_path / "out.webm", model)
    assert names(tmp_path) == ["in.mkv"]


def test_without_ffmpeg_it_is_refused_before_work_begins(here, model, monkeypatch):
    monkeypatch.setenv("PATH", "")
    result = program("denoise", NOISY, "-o", "out.mp3", "--model", model.path)
    assert result.exit_code == 2
    assert_one_sentence(result, "only be written with ffmpeg")


def test_a_batch_of_videos_by_a_template(here, talk, model):
    Path("talks").mkdir()
    for name in ("a.mp4", "b.mp4"):
        Path("talks", name).write_bytes(talk.read_bytes())
    for _ in range(2):  # the second time its own outputs are no inputs
        result = program("denoise", "talks", "--name", "{name}.clean.mp4", "--model", model.path)
        assert result.exit_code == 0, result.stderr
    assert names(here / "talks") == ["a.clean.mp4", "a.mp4", "b.clean.mp4", "b.mp4"]
