"""Tags and covers go along with the sound, and never cost it."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
import soundfile

import rtsep
from rtsep.audio_io.files import enhance_file
from rtsep.audio_io.tags import copy_tags
from tests.recordings import identity_model, noisy


def mutagen_file(path: Path):
    return pytest.importorskip("mutagen").File(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return rtsep.load(identity_model(tmp_path_factory.mktemp("model")))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_common_tags_are_kept(tmp_path, model, suffix):
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    with soundfile.SoundFile(source, "w", 16000, 1, format=suffix.upper()) as sound:
        sound.title, sound.artist, sound.comment = "Rain", "Somebody", "at the window"
        sound.write(noisy())
    enhance_file(source, target, model)
    with soundfile.SoundFile(target) as sound:
        assert (sound.title, sound.artist, sound.comment) == ("Rain", "Somebody", "at the window")


def test_all_tags_and_the_cover_are_kept_but_not_the_old_loudness(tmp_path, model):
    flac = pytest.importorskip("mutagen.flac")
    from mutagen import File
    from mutagen.id3 import APIC, ID3, TIT2, TPE2

    soundfile.write(tmp_path / "in.flac", noisy(), 16000)
    tagged = File(tmp_path / "in.flac")
    tagged["composer"], tagged["replaygain_track_gain"] = ["A", "B"], ["-3 dB"]
    cover = flac.Picture()
    cover.data, cover.mime = b"\x89PNG", "image/png"
    tagged.add_picture(cover)
    tagged.save()
    enhance_file(tmp_path / "in.flac", tmp_path / "out.flac", model)
    enhance_file(tmp_path / "in.flac", tmp_path / "out.ogg", model)
    for name in ("out.flac", "out.ogg"):
        result = File(tmp_path / name)
        assert result["composer"] == ["A", "B"]
        assert "replaygain_track_gain" not in result
    assert File(tmp_path / "out.flac").pictures[0].data == b"\x89PNG"
    picture = flac.Picture(base64.b64decode(File(tmp_path / "out.ogg")["metadata_block_picture"][0]))
    assert picture.data == b"\x89PNG"

    soundfile.write(tmp_path / "in.mp3", noisy(), 16000)
    tags = ID3()
    tags.add(TIT2(encoding=3, text="Rain"))
    tags.add(TPE2(encoding=3, text="The Album Artist"))
    tags.add(APIC(mime="image/png", type=3, data=b"\x89PNG"))
    tags.save(tmp_path / "in.mp3")
    enhance_file(tmp_path / "in.mp3", tmp_path / "mp3.flac", model)
    result = File(tmp_path / "mp3.flac")
    assert (result["title"], result["albumartist"]) == (["Rain"], ["The Album Artist"])
    assert result.pictures[0].data == b"\x89PNG"


def test_tags_that_cannot_be_read_do_not_cost_the_sound(tmp_path):
    soundfile.write(tmp_path / "out.flac", noisy(), 16000)
    (tmp_path / "in.flac").write_bytes(b"fLaC" + bytes(3))
    assert copy_tags(tmp_path / "in.flac", tmp_path / "out.flac") is False


@pytest.mark.parametrize("cover", ["!!x", "AAAA", "é"])
@pytest.mark.parametrize("suffix", ["ogg", "flac"])
def test_a_broken_cover_costs_neither_the_sound_nor_the_other_tags(tmp_path, model, cover, suffix):
    mutagen = pytest.importorskip("mutagen")
    soundfile.write(tmp_path / "in.ogg", noisy(), 16000)
    tagged = mutagen.File(tmp_path / "in.ogg")
    tagged["composer"], tagged["metadata_block_picture"] = "A", cover
    tagged.save()
    target = tmp_path / f"out.{suffix}"
    assert enhance_file(tmp_path / "in.ogg", target, model).samples == len(noisy())
    assert mutagen.File(target)["composer"] == ["A"]
    assert "metadata_block_picture" not in mutagen.File(target)


def test_tags_that_cannot_be_written_do_not_cost_the_sound(tmp_path, model):
    flac = pytest.importorskip("mutagen.flac")
    soundfile.write(tmp_path / "in.ogg", noisy(), 16000)
    cover = flac.Picture()
    cover.data = bytes(1 << 24)  # more than a block of a FLAC file can hold
    tagged = mutagen_file(tmp_path / "in.ogg")
    tagged["metadata_block_picture"] = base64.b64encode(cover.write()).decode()
    tagged.save()
    soundfile.write(tmp_path / "out.flac", noisy(), 16000)
    before = (tmp_path / "out.flac").read_bytes()
    assert copy_tags(tmp_path / "in.ogg", tmp_path / "out.flac") is False
    assert (tmp_path / "out.flac").read_bytes() == before
    assert enhance_file(tmp_path / "in.ogg", tmp_path / "made.flac", model).samples == len(noisy())


@pytest.mark.skipif(os.name == "nt", reason="POSIX limits")
def test_no_room_for_the_tags_is_an_error(tmp_path):
    import resource

    flac = pytest.importorskip("mutagen.flac")
    for name in ("in.flac", "out.flac"):
        soundfile.write(tmp_path / name, noisy(), 16000)
    cover = flac.Picture()
    cover.data = bytes(1 << 20)
    tagged = mutagen_file(tmp_path / "in.flac")
    tagged.add_picture(cover)
    tagged.save()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "out.flac").stat().st_size + 1000, before[1]))
    try:
        with pytest.raises(OSError, match="tags could not be written"):
            copy_tags(tmp_path / "in.flac", tmp_path / "out.flac")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
