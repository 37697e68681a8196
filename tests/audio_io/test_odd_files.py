"""Files that are not quite what they should be, and what players make of them all the same: all of their sound."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

import rtsep
from rtsep import InputError
from rtsep.audio_io.files import Source, enhance_file
from rtsep.audio_io.headers import Extent, extent, look
from rtsep.errors import RtsepError
from tests.recordings import CLEAN, DATA, NOISY, identity_model, noisy

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return rtsep.load(identity_model(tmp_path_factory.mktemp("model")))


def heard(path: Path) -> np.ndarray:
    """All samples that Source gives, as float32 [samples, channels]; no damage."""
    with Source(path) as sound:
        return np.concatenate(list(sound.blocks()))


def wav(path: Path, sound: np.ndarray | None = None, **options: object) -> bytearray:
    """A WAV of the recording, and its bytes."""
    soundfile.write(path, noisy() if sound is None else sound, 16000, **options)
    return bytearray(path.read_bytes())


def ffmpeg(source: Path, target: Path, *options: str) -> Path:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", str(source), *options, str(target)]
    subprocess.run(command, check=True)
    return target


# WAV


def size_0(content: bytearray) -> None:
    """A recorder that was killed."""
    content[4:8] = content[40:44] = bytes(4)


def too_long(content: bytearray) -> None:
    """The length of the whole file where that of the sound should be."""
    content[40:44] = struct.pack("<I", len(content))


@pytest.mark.parametrize("spoil", [size_0, too_long])
def test_a_wav_whose_length_is_wrong_is_read_to_its_end(tmp_path, spoil):
    content = wav(tmp_path / "in.wav")
    whole = heard(tmp_path / "in.wav")
    spoil(content)
    (tmp_path / "in.wav").write_bytes(content)
    assert np.array_equal(heard(tmp_path / "in.wav"), whole)


def test_a_wav_that_says_0_and_means_it_holds_no_sound(tmp_path):
    content = wav(tmp_path / "in.wav", noisy()[:0])
    content += b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf59.27.100\0"
    (tmp_path / "in.wav").write_bytes(content)
    with pytest.raises(InputError, match="holds no sound"):
        heard(tmp_path / "in.wav")


@pytest.mark.parametrize("recorder_killed", [False, True])
def test_bw64_is_read_like_rf64(tmp_path, model, recorder_killed):
    content = wav(tmp_path / "in.wav", format="RF64")
    whole = heard(tmp_path / "in.wav")
    content[:4] = b"BW64"
    if recorder_killed:
        content[28:36] = bytes(8)
    (tmp_path / "in.wav").write_bytes(content)
    assert np.array_equal(heard(tmp_path / "in.wav"), whole)
    enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", model, strength=0.0)
    assert np.array_equal(heard(tmp_path / "out.wav"), whole)


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_compressed_wav_is_as_long_as_it_says(tmp_path, model, subtype):
    content = wav(tmp_path / "in.wav", subtype=subtype)
    decoded = soundfile.info(tmp_path / "in.wav").frames
    place = content.find(b"fact") + 8
    content[place : place + 4] = struct.pack("<I", decoded - 37)
    (tmp_path / "in.wav").write_bytes(content)
    assert enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", model).samples == decoded - 37
    written = soundfile.info(tmp_path / "out.wav")
    assert (written.frames, written.subtype) == (decoded - 37, "PCM_16")


@needs_ffmpeg
def test_mp3_in_wav_becomes_wav_without_a_complaint(tmp_path, model, capfd):
    ffmpeg(CLEAN, tmp_path / "in.wav", "-c:a", "libmp3lame", "-t", "3")
    report = enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", model)
    assert report.damage is None and abs(report.seconds - 3.0) < 0.08
    assert soundfile.info(tmp_path / "out.wav").frames == report.samples
    assert capfd.readouterr().err == ""


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


def test_broadcast_data_cue_points_and_channel_mask_are_kept(tmp_path, model):
    content = wav(tmp_path / "in.wav", noisy(16000, 4), format="WAVEX")
    mask = content.find(b"fmt ") + 8 + 20
    content[mask : mask + 4] = struct.pack("<I", 0x33)  # front and rear, left and right
    bext = bytearray(602)
    bext[:9], bext[346], bext[412:422] = b"An album.", 2, bytes(range(10))
    cue = struct.pack("<III4sIII", 1, 7, 8000, b"data", 0, 0, 8000)
    label = b"adtl" + chunk(b"labl", struct.pack("<I", 7) + b"Verse\0")
    content += chunk(b"bext", bytes(bext)) + chunk(b"cue ", cue) + chunk(b"LIST", label)
    content[4:8] = struct.pack("<I", len(content) - 8)
    (tmp_path / "in.wav").write_bytes(content)
    enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", model)
    got = (tmp_path / "out.wav").read_bytes()
    mask = got.find(b"fmt ") + 8 + 20
    assert got[mask : mask + 4] == struct.pack("<I", 0x33)
    bext[412:422] = 5 * b"\xff\x7f"  # the loudness of the old sound says nothing about the new one
    for piece in (chunk(b"bext", bytes(bext)), chunk(b"cue ", cue), chunk(b"LIST", label)):
        assert piece in got
    assert struct.unpack("<I", got[4:8])[0] == len(got) - 8
    assert soundfile.info(tmp_path / "out.wav").frames == len(noisy())
    assert extent(tmp_path / "out.wav") is Extent.WHOLE


@pytest.mark.parametrize(("bits", "gain"), [(15, 32768 * 0.9), (23, 1 << 22), (8, 9.0)])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_floats_far_above_full_scale_are_scaled_and_said_to_be(tmp_path, model, bits, gain, suffix):
    sound = noisy() / np.abs(noisy()).max()
    wav(tmp_path / "loud.wav", sound * np.float32(gain), subtype="FLOAT")
    report = enhance_file(tmp_path / "loud.wav", tmp_path / f"out.{suffix}", model)
    assert report.scale == 2.0**-bits
    wav(tmp_path / "plain.wav", sound * np.float32(gain / (1 << bits)), subtype="FLOAT")
    assert enhance_file(tmp_path / "plain.wav", tmp_path / f"plain.out.{suffix}", model).scale == 1
    scaled, plain = heard(tmp_path / f"out.{suffix}"), heard(tmp_path / f"plain.out.{suffix}")
    # a float output is as loud as its input, bit for bit; integers cannot be
    assert np.array_equal(scaled, plain)
    if suffix == "wav":
        stored = soundfile.read(tmp_path / "out.wav", dtype="float32", always_2d=True)[0]
        assert np.array_equal(stored, plain * np.float32(1 << bits))


def test_floats_up_to_8_are_left_alone(tmp_path, model):
    wav(tmp_path / "in.wav", noisy() / np.abs(noisy()).max() * np.float32(7.9), subtype="FLOAT")
    assert enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", model).scale == 1


# Ogg


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_all_of_a_chained_ogg_is_read(tmp_path, model, subtype):
    parts = [noisy()[:30000], noisy()[10000:40000]]
    whole, content = [], b""
    for part in parts:
        soundfile.write(tmp_path / "part.ogg", part, 16000, format="OGG", subtype=subtype)
        whole.append(heard(tmp_path / "part.ogg"))
        content += (tmp_path / "part.ogg").read_bytes()
    (tmp_path / "in.ogg").write_bytes(content)
    assert len(look(tmp_path / "in.ogg").links) == 2
    assert not look(tmp_path / "part.ogg").links
    assert np.array_equal(heard(tmp_path / "in.ogg"), np.concatenate(whole))
    assert enhance_file(tmp_path / "in.ogg", tmp_path / "out.wav", model).samples == sum(map(len, whole))


@needs_ffmpeg
def test_a_chain_of_other_rates_is_read_too(tmp_path):
    content = b""
    for rate in (16000, 48000):
        soundfile.write(tmp_path / "part.ogg", noisy(rate, 1, 2.0), rate)
        content += (tmp_path / "part.ogg").read_bytes()
    (tmp_path / "in.ogg").write_bytes(content)
    with Source(tmp_path / "in.ogg") as sound:
        assert sound.sample_rate == 16000
        assert abs(sum(len(block) for block in sound.blocks()) - 64000) < 1000


@needs_ffmpeg
def test_a_chain_of_other_codecs_is_read_too(tmp_path):
    content = b""
    for subtype, rate, channels in (("OPUS", 48000, 1), ("VORBIS", 44100, 2), ("OPUS", 48000, 1)):
        soundfile.write(tmp_path / "part.ogg", noisy(rate, channels, 1.0), rate, format="OGG", subtype=subtype)
        content += (tmp_path / "part.ogg").read_bytes()
    (tmp_path / "in.ogg").write_bytes(content)
    found = heard(tmp_path / "in.ogg")
    assert found.shape == (3 * 48000, 1)
    assert all(np.std(part) > 0.001 for part in np.split(found, 3))


@needs_ffmpeg
@pytest.mark.parametrize("rate", [16000, 48000])
def test_behind_a_part_of_a_chain_that_is_cut_off_the_next_is_read(tmp_path, rate):
    soundfile.write(tmp_path / "cut.ogg", noisy(16000, 1, 5.0), 16000)
    cut = (tmp_path / "cut.ogg").read_bytes()
    cut = cut[: cut.rfind(b"OggS") + 200]
    (tmp_path / "cut.ogg").write_bytes(cut)
    soundfile.write(tmp_path / "next.ogg", noisy(rate, 1, 1.0), rate)
    (tmp_path / "in.ogg").write_bytes(cut + (tmp_path / "next.ogg").read_bytes())
    header = look(tmp_path / "in.ogg")
    assert header.links[1][0] == len(cut) and header.torn == (0,)
    with Source(tmp_path / "in.ogg") as sound:
        blocks = sound.blocks()
        samples = sum(len(next(blocks)) for _ in range(2))
        with pytest.raises(RtsepError, match=r"is damaged at about .* s, where some sound is missing"):
            while True:
                samples += len(next(blocks))
    assert abs(samples - soundfile.info(tmp_path / "cut.ogg").frames - 16000) < 100


@needs_ffmpeg
@pytest.mark.parametrize("seconds", [1.0, 2.345])
def test_an_opus_file_whose_last_page_is_not_marked_has_its_last_sample(tmp_path, seconds):
    whole, unmarked = tmp_path / "whole.opus", tmp_path / "unmarked.opus"
    soundfile.write(whole, noisy(48000, 1, seconds), 48000, format="OGG", subtype="OPUS")
    data = bytearray(whole.read_bytes())
    last = data.rfind(b"OggS")
    data[last + 5] &= ~4
    data[last + 22 : last + 26] = bytes(4)  # checksum, counted anew
    data[last + 22 : last + 26] = ogg_checksum(data[last:]).to_bytes(4, "little")
    unmarked.write_bytes(data)
    expected, found = heard(whole), heard(unmarked)
    assert len(found) == len(expected) == round(seconds * 48000)
    assert np.abs(found[-960:] - expected[-960:]).max() < 1e-3  # two decoders
    assert np.abs(expected[-960:]).max() > 0.01


def ogg_checksum(page: bytes) -> int:
    """RFC 3533, section 6: polynomial 0x04c11db7, not reflected, from zero."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        value &= 0xFFFFFFFF
    return value


def test_an_opus_file_without_an_end_page_is_whole(tmp_path, model):
    report = enhance_file(DATA / "no_end_page.opus", tmp_path / "out.wav", model)
    assert report.damage is None
    assert report.samples == 288_000 if shutil.which("ffmpeg") else abs(report.samples - 288_000) < 0.02 * 48_000


# MP3


@needs_ffmpeg
@pytest.mark.parametrize(
    "before",
    [2 * (b"ID3\x03\0\0\0\0\x07\x76" + bytes(1014)), b"ID3\x03\0\0\0\0\x07\x76" + bytes(1014 + 700), bytes(2000)],
    ids=["two tags", "padding behind the tag", "zeros"],
)
def test_what_stands_before_the_first_mp3_frame_is_skipped(tmp_path, model, before):
    plain = ffmpeg(CLEAN, tmp_path / "plain.mp3", "-t", "3", "-write_xing", "0", "-id3v2_version", "0")
    (tmp_path / "in.mp3").write_bytes(before + plain.read_bytes())
    assert extent(tmp_path / "in.mp3") is Extent.UNKNOWN  # nothing tells how long it is
    report = enhance_file(tmp_path / "in.mp3", tmp_path / "out.flac", model)
    assert report.damage is None
    assert report.samples == enhance_file(plain, tmp_path / "plain.flac", model).samples


# What ffmpeg knows by its content


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("aac.wav", ("-f", "ipod", "-c:a", "aac")),
        ("video.avi", ("-c:a", "libmp3lame")),
        ("speech.flac", ("-f", "ogg", "-c:a", "libspeex", "-ar", "16000")),
    ],
)
def test_the_suffix_does_not_decide(tmp_path, model, name, options):
    ffmpeg(CLEAN, tmp_path / name, "-t", "3", *options)
    report = enhance_file(tmp_path / name, tmp_path / "out.flac", model)
    assert report.damage is None and abs(report.seconds - 3.0) < 0.15


@needs_ffmpeg
def test_an_avi_that_is_cut_is_said_to_be(tmp_path, model):
    content = ffmpeg(CLEAN, tmp_path / "whole.avi", "-t", "3", "-c:a", "pcm_s16le").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    report = enhance_file(tmp_path / "cut.avi", tmp_path / "out.flac", model)
    assert report.damage is not None and 1.0 < report.seconds < 2.0


# Damage


def test_a_broken_frame_costs_itself_only(tmp_path, model):
    content = bytearray(NOISY.read_bytes())
    content[100_000:100_010] = b"\xff" * 10
    (tmp_path / "in.flac").write_bytes(content)
    report = enhance_file(tmp_path / "in.flac", tmp_path / "out.flac", model, strength=0.0)
    there, got = soundfile.read(NOISY)[0], soundfile.read(tmp_path / "out.flac")[0]
    wrong = np.flatnonzero(there != got)
    assert len(got) == len(there) and 0 < len(wrong) <= wrong[-1] - wrong[0] + 1 <= 4608
    assert report.damage is not None and "is damaged at about" in report.damage


@pytest.mark.parametrize(("suffix", "kind"), [("aiff", "AIFF"), ("au", "AU"), ("w64", "W64"), ("caf", "CAF")])
@pytest.mark.parametrize("samples", [1000, 47_999])
def test_other_kinds_of_files_that_were_cut_are_said_to_be(tmp_path, model, suffix, kind, samples):
    sound = noisy()[:samples]
    soundfile.write(tmp_path / f"in.{suffix}", sound, 16000, format=kind, subtype="PCM_16")
    content = (tmp_path / f"in.{suffix}").read_bytes()
    assert enhance_file(tmp_path / f"in.{suffix}", tmp_path / "whole.flac", model).damage is None
    (tmp_path / f"in.{suffix}").write_bytes(content[:-500])
    report = enhance_file(tmp_path / f"in.{suffix}", tmp_path / "cut.flac", model)
    assert report.damage is not None and samples - 260 < report.samples < samples


@needs_ffmpeg
def test_a_cut_mp4_whose_index_comes_first_is_done_as_far_as_it_goes(tmp_path, model):
    whole = ffmpeg(CLEAN, tmp_path / "whole.m4a", "-c:a", "aac", "-movflags", "+faststart")
    (tmp_path / "cut.m4a").write_bytes(whole.read_bytes()[:-30_000])
    report = enhance_file(tmp_path / "cut.m4a", tmp_path / "out.flac", model)
    assert report.damage is not None and 1.0 < report.seconds < 10.5
    late = ffmpeg(CLEAN, tmp_path / "late.m4a", "-c:a", "aac")  # its index would come last: nothing can be read
    (tmp_path / "late.m4a").write_bytes(late.read_bytes()[:-30_000])
    with pytest.raises(InputError, match="not a sound or video file"):
        enhance_file(tmp_path / "late.m4a", tmp_path / "late.flac", model)


# What stands in the file


def test_an_empty_title_is_no_reason_to_refuse(tmp_path, model):
    flac = pytest.importorskip("mutagen.flac")
    soundfile.write(tmp_path / "in.flac", noisy(), 16000)
    tagged = flac.FLAC(tmp_path / "in.flac")
    tagged["title"] = ""
    tagged.save()
    assert enhance_file(tmp_path / "in.flac", tmp_path / "out.wav", model).samples == len(noisy())


def test_a_name_that_is_no_text(tmp_path, model):
    source = tmp_path / "caf\udce9.wav"
    wav(tmp_path / "in.wav")
    try:
        (tmp_path / "in.wav").rename(source)
    except OSError:
        pytest.skip("this file system has names of text only")
    for suffix in ("wav", "flac", "ogg"):
        enhance_file(source, tmp_path / f"caf\udce9.out.{suffix}", model)
        assert (tmp_path / f"caf\udce9.out.{suffix}").stat().st_size > 1000


def test_a_full_folder_for_temporary_files_is_not_the_files_fault(tmp_path, model, monkeypatch):
    def full(*_, **__):
        raise FileNotFoundError(2, "No usable temporary directory found")

    (tmp_path / "in.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    with pytest.raises(RtsepError, match=r"No usable temporary directory found.*TMPDIR") as refused:
        enhance_file(tmp_path / "in.m4a", tmp_path / "out.flac", model)
    assert "in.m4a" not in str(refused.value) and refused.value.exit_code == 1
