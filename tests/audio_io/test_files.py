"""Files in and out: formats, lengths, alignment, truncation, memory."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

import rtsep
from rtsep import InputError, RtsepError
from rtsep.audio_io.batch import plan
from rtsep.audio_io.files import Sink, Source, enhance_file
from rtsep.audio_io.headers import Extent, extent
from tests.recordings import NOISY, identity_model, noisy

ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


def convert(source: Path, target: Path, *options: str) -> Path:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", str(source), *options, str(target)]
    subprocess.run(command, check=True)
    return target


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return rtsep.load(identity_model(tmp_path_factory.mktemp("model")))


FORMATS = [
    ("wav", "PCM_16", 44100, 2),
    ("wav", "PCM_24", 48000, 1),
    ("wav", "PCM_U8", 8000, 1),
    ("wav", "PCM_32", 96000, 1),
    ("wav", "FLOAT", 22050, 3),
    ("wav", "ULAW", 8000, 1),
    ("flac", "PCM_16", 192000, 1),
    ("flac", "PCM_24", 11025, 8),
    ("ogg", "VORBIS", 32000, 2),
    ("ogg", "OPUS", 48000, 2),
    ("opus", "OPUS", 16000, 1),
]


@pytest.mark.parametrize(("suffix", "subtype", "rate", "channels"), FORMATS)
def test_a_file_keeps_rate_channels_length_subtype_and_alignment(tmp_path, model, suffix, subtype, rate, channels):
    sound = noisy(rate, channels, seconds=1.003)
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    kind = "OGG" if suffix == "opus" else None
    soundfile.write(source, sound, rate, subtype=subtype, format=kind)

    report = enhance_file(source, target, model)

    before, after = soundfile.info(source), soundfile.info(target)
    assert (report.samples, report.sample_rate, report.channels) == (before.frames, rate, channels)
    assert (after.frames, after.samplerate, after.channels) == (before.frames, rate, channels)
    assert (after.format, after.subtype) == (before.format, subtype)
    heard, _ = soundfile.read(source, always_2d=True)
    got, _ = soundfile.read(target, always_2d=True)
    # The model hands its input through, so what is left is resampling at the band edge and the coder's own loss;
    # one sample of misalignment would leave far more.
    error = np.sqrt(((got - heard) ** 2).mean() / (heard**2).mean())
    shifted = np.sqrt(((got[1:] - heard[:-1]) ** 2).mean() / (heard**2).mean())
    assert error < (0.5 if subtype in ("VORBIS", "OPUS") else 0.05)
    assert error < shifted


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_U8"), ("wav", "PCM_16"), ("flac", "PCM_24")])
def test_strength_0_gives_the_very_integers_back(tmp_path, model, suffix, subtype):
    sound = noisy(44100, 2).copy()
    sound[:4, 0] = 1.0, -1.0, 0.99999, -0.99999
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    soundfile.write(source, sound, 44100, subtype=subtype)
    enhance_file(source, target, model, strength=0.0)
    assert np.array_equal(soundfile.read(source, dtype="int32")[0], soundfile.read(target, dtype="int32")[0])


def test_a_whisper_below_the_last_bit_is_rounded_to_silence(tmp_path):
    source = tmp_path / "in.wav"
    soundfile.write(source, np.zeros(8000), 8000, subtype="PCM_16")
    with Source(source) as sound, Sink(tmp_path / "out.wav", sound) as sink:
        sink.write(np.full((8000, 1), -1e-6, np.float32))
        sink.commit()
    assert not soundfile.read(tmp_path / "out.wav", dtype="int16")[0].any()


def test_overs_are_clipped_not_wrapped(tmp_path):
    source = tmp_path / "in.wav"
    soundfile.write(source, np.zeros(2), 8000, subtype="PCM_16")
    with Source(source) as sound, Sink(tmp_path / "out.wav", sound) as sink:
        sink.write(np.array([[1.5], [-1.5]], np.float32))
        sink.commit()
    assert soundfile.read(tmp_path / "out.wav", dtype="int16")[0].tolist() == [32767, -32768]


def test_mp3_becomes_flac_of_the_same_length(tmp_path, model):
    source = tmp_path / "in.mp3"
    soundfile.write(source, noisy(44100, 2), 44100)
    (job,) = plan([str(source)])
    assert job.target == tmp_path / "in.denoised.flac"
    assert job.target is not None
    enhance_file(source, job.target, model)
    after = soundfile.info(job.target)
    assert (after.format, after.frames, after.samplerate) == ("FLAC", soundfile.info(source).frames, 44100)


@ffmpeg
@pytest.mark.parametrize("how", ["without a table", "joined"])
def test_an_mp3_that_hides_its_length_is_read_to_its_end(tmp_path, model, how):
    sound = np.concatenate([0.001 * noisy(48000, 1, 4.0), noisy(48000, 1, 4.0)])
    soundfile.write(tmp_path / "in.wav", sound, 48000)
    mp3 = tmp_path / "in.mp3"
    if how == "joined":
        convert(tmp_path / "in.wav", mp3, "-q:a", "2")
        mp3.write_bytes(mp3.read_bytes() * 2)
        expected = 2 * len(sound)
    else:
        convert(tmp_path / "in.wav", mp3, "-q:a", "2", "-write_xing", "0")
        expected = len(sound)
    assert extent(mp3) is Extent.UNKNOWN
    report = enhance_file(mp3, tmp_path / "out.flac", model)
    assert expected <= report.samples <= expected + 2 * 4 * 1152  # the coder pads either end by up to two frames
    assert soundfile.info(tmp_path / "out.flac").frames == report.samples


@ffmpeg
def test_a_flac_from_a_pipe_is_read_to_its_end(tmp_path, model):
    with (tmp_path / "in.flac").open("wb") as file:
        subprocess.run(f"ffmpeg -v error -i '{NOISY}' -f flac - | cat", shell=True, stdout=file, check=True)
    assert extent(tmp_path / "in.flac") is Extent.UNKNOWN
    assert enhance_file(tmp_path / "in.flac", tmp_path / "out.flac", model).samples == soundfile.info(NOISY).frames


@ffmpeg
def test_the_sound_of_a_video(tmp_path, model):
    video = tmp_path / "clip.mp4"
    picture = ("-f", "lavfi", "-i", "color=size=64x64:rate=10:duration=3", "-shortest", "-c:a", "aac")
    convert(NOISY, video, *picture, "-metadata", "title=A clip")
    (job,) = plan([str(video)])
    assert job.target == tmp_path / "clip.denoised.flac"
    report = enhance_file(video, job.target, model)
    assert report.sample_rate == 16000
    assert abs(report.seconds - 3.0) < 0.2
    with soundfile.SoundFile(tmp_path / "clip.denoised.flac") as sound:
        assert sound.title == "A clip"


@ffmpeg
def test_sound_that_begins_after_the_picture_stays_where_it_was(tmp_path, model):
    late = tmp_path / "late.mkv"
    picture = ["-f", "lavfi", "-i", "color=size=64x64:rate=10:duration=3"]
    command = ["ffmpeg", "-v", "error", *picture, "-itsoffset", "0.5", "-i", str(NOISY), "-map", "0:v", "-map", "1:a"]
    subprocess.run([*command, "-c:a", "flac", "-t", "3", str(late)], check=True, stdin=subprocess.DEVNULL)
    enhance_file(late, tmp_path / "out.flac", model, strength=0.0)
    out, rate = soundfile.read(tmp_path / "out.flac", dtype="float32")
    whole = soundfile.read(NOISY, dtype="float32")[0]
    begin = round(0.5 * rate)
    assert not out[:begin].any()
    assert np.abs(out[begin : begin + rate] - whole[:rate]).max() < 1e-4


@ffmpeg
def test_a_video_without_sound_is_refused_and_one_without_its_end_is_done_as_far_as_it_goes(tmp_path, model):
    silent = tmp_path / "silent.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=size=64x64:rate=10:duration=1", str(silent)], check=True
    )
    with pytest.raises(InputError, match="holds no sound"):
        enhance_file(silent, tmp_path / "out.flac", model)
    whole = convert(NOISY, tmp_path / "whole.mkv", "-c:a", "flac")
    assert not (tmp_path / "out.flac").exists()
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[:100_000])
    report = enhance_file(tmp_path / "cut.mkv", tmp_path / "out.flac", model, strength=0.0)
    assert report.damage is not None and "cut.mkv is damaged or cut off after" in report.damage
    there, heard = soundfile.read(NOISY)[0], soundfile.read(tmp_path / "out.flac")[0]
    assert 0.3 * len(there) < len(heard) < 0.5 * len(there)
    assert np.array_equal(heard, there[: len(heard)])


def test_a_video_without_ffmpeg_is_refused_with_advice(tmp_path, model, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="ffmpeg, which is not installed"):
        enhance_file(tmp_path / "clip.mp4", tmp_path / "out.flac", model)


# Truncation


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_file_is_done_as_far_as_it_goes_and_said_to_be(tmp_path, model, suffix, share, capfd):
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    soundfile.write(whole, noisy(48000, 1, 5.0), 48000, format="OGG" if suffix == "opus" else None, subtype=None)
    content = whole.read_bytes()
    cut.write_bytes(content[: int(share * len(content))])
    assert extent(whole) is Extent.WHOLE
    assert enhance_file(whole, tmp_path / "whole.out.wav", model).damage is None
    try:
        report = enhance_file(cut, tmp_path / "out.wav", model, strength=0.0)
    except InputError as error:
        assert share < 0.1 and cut.name in str(error)  # not even the header is there
        assert not (tmp_path / "out.wav").exists()
    else:
        assert report.damage is not None and f"{cut.name} is damaged or cut off after" in report.damage
        heard, there = soundfile.read(tmp_path / "out.wav")[0], soundfile.read(whole)[0]
        assert len(heard) == report.samples < len(there)
        if share > 0.1:
            assert abs(report.samples / len(there) - share) < 0.2  # FLAC and MP3 spend bytes unevenly
            begin = slice(0, report.samples - 1152)  # the last MP3 frame lacks what overlaps it
            assert np.sqrt(np.mean((heard - there[: len(heard)])[begin] ** 2)) < 0.02 * np.sqrt(np.mean(there**2))
    assert capfd.readouterr().err == ""  # the decoders' own complaints would be a second sentence


def test_a_wav_from_a_pipe_promises_nothing_and_is_whole(tmp_path):
    soundfile.write(tmp_path / "in.wav", noisy(), 16000)
    content = bytearray((tmp_path / "in.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "in.wav").write_bytes(content)
    assert extent(tmp_path / "in.wav") is Extent.WHOLE
    with Source(tmp_path / "in.wav") as sound:
        assert sum(len(block) for block in sound.blocks()) == len(noisy())


def test_rf64_is_measured_by_its_own_size_field(tmp_path):
    soundfile.write(tmp_path / "in.wav", noisy(), 16000, format="RF64")
    assert extent(tmp_path / "in.wav") is Extent.WHOLE
    content = (tmp_path / "in.wav").read_bytes()
    (tmp_path / "in.wav").write_bytes(content[:-1000])
    assert extent(tmp_path / "in.wav") is Extent.CUT


def wav_header(data: int, align: int = 2) -> bytes:
    """Header of a mono WAV that promises ``data`` bytes of sound in frames of ``align`` bytes."""
    sound = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 48000, 48000 * align, align, 8 * align)
    riff = struct.pack("<4sI4s", b"RIFF", min(data + 36, 0xFFFFFFFF), b"WAVE")
    return riff + sound + struct.pack("<4sI", b"data", data)


@pytest.mark.parametrize("data", [2_200_000_000, 3_000_000_000, 0x7FFFF000 - 2, 0x80000002, 4_200_000_000])
def test_a_big_wav_is_no_pipe(tmp_path, data):
    path = tmp_path / "in.wav"
    path.write_bytes(wav_header(data))
    with path.open("r+b") as file:
        file.truncate(44 + data)  # sparse: no disk is needed
        assert extent(path) is Extent.WHOLE
        file.truncate(44 + data - 1000)
    assert extent(path) is Extent.CUT


@pytest.mark.parametrize(
    "data, align",
    [
        *[(0xFFFFFFFF, 2), (0xFFFFFFDB, 2), (0x7FFFFFFF, 2), (0x7FFFFF00, 2), (0x80000000, 2)],
        *[(0x7FFFF000, 4), (0x7FFFEFFC, 6)],  # SoX
    ],
)
def test_placeholders_of_pipes_are_no_promise(tmp_path, data, align):
    (tmp_path / "in.wav").write_bytes(wav_header(data, align) + bytes(100 * align))
    assert extent(tmp_path / "in.wav") is Extent.WHOLE


@pytest.mark.parametrize("program", ["ffmpeg", "sox"])
@pytest.mark.parametrize("channels, depth", [(1, 16), (2, 24), (3, 16)])
def test_what_programs_write_to_a_pipe_is_whole(tmp_path, program, channels, depth):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    source, subtype = tmp_path / "in.wav", f"PCM_{depth}"
    soundfile.write(source, noisy(16000, channels), 16000, subtype=subtype)
    commands = {
        "ffmpeg": ["-loglevel", "error", "-i", source, "-c:a", f"pcm_s{depth}le", "-f", "wav", "-"],
        "sox": [source, "-t", "wav", "-"],
    }
    piped = tmp_path / "piped.wav"
    # through a real pipe: into a file both would go back and fill the length in
    piped.write_bytes(subprocess.run([program, *commands[program]], stdout=subprocess.PIPE, check=True).stdout)
    with Source(piped) as sound:
        assert sum(len(block) for block in sound.blocks()) == len(noisy(16000, channels))


@pytest.mark.long
@pytest.mark.parametrize("form", ["RF64", "WAV", "FLAC", "OGG", "MP3"])
def test_a_header_cut_anywhere_never_breaks_the_reader(tmp_path, form):
    soundfile.write(tmp_path / "in", noisy(16000, 1), 16000, format=form)
    content = (tmp_path / "in").read_bytes()
    for length in range(1, 128, 3):  # inside fields of two, four and eight bytes, at each of their bytes
        (tmp_path / "in").write_bytes(content[:length])
        with pytest.raises(RtsepError), Source(tmp_path / "in") as sound:
            list(sound.blocks())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_refused_with_its_place(tmp_path, model, bad):
    sound = noisy(16000, 2, 3.0).copy()
    sound[40000, 1] = bad
    soundfile.write(tmp_path / "in.wav", sound, 16000, subtype="FLOAT")
    with pytest.raises(InputError, match=r"2\.500 s"):
        enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", model)
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


# Whole or nothing


def test_an_exception_half_way_leaves_nothing_and_an_old_output_as_it_was(tmp_path, model):
    soundfile.write(tmp_path / "in.wav", noisy(16000, 1, 10.0), 16000)
    (tmp_path / "out.wav").write_bytes(b"precious")
    seen = []

    def stop(done, total):
        seen.append(done)
        if done:
            raise RtsepError("enough")

    with pytest.raises(RtsepError, match="enough"):
        enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", model, overwrite=True, progress=stop)
    assert 0 < seen[-1] < 160000
    assert (tmp_path / "out.wav").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wav", "out.wav"]


def test_an_output_made_meanwhile_by_somebody_else_survives(tmp_path, model):
    def meanwhile(done, total):
        (tmp_path / "out.flac").write_bytes(b"theirs")

    with pytest.raises(InputError, match="already exists"):
        enhance_file(NOISY, tmp_path / "out.flac", model, progress=meanwhile)
    assert [path.name for path in tmp_path.iterdir()] == ["out.flac"]
    assert (tmp_path / "out.flac").read_bytes() == b"theirs"


@pytest.mark.long
def test_memory_does_not_grow_with_the_file(tmp_path, model):
    def peak(seconds):
        source = tmp_path / f"{seconds}.wav"
        soundfile.write(source, np.tile(noisy(16000, 1, 10.0), (seconds // 10, 1)), 16000)
        tracemalloc.start()
        enhance_file(source, tmp_path / "out.wav", model, overwrite=True)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(10)
    assert peak(40) < 1.1 * peak(20) + 100_000
