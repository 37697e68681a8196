"""What is to be done, what has been done, and the doing, without a cluster; fsspec's memory stands in for a store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

import rtsep
from rtsep import InputError
from rtsep.audio_io.files import enhance_file
from rtsep.batch.cleaner import Cleaner
from rtsep.batch.locations import Item, check_output, items
from rtsep.batch.manifest import DONE, EXISTED, FAILED, Manifest, Result
from tests.recordings import noisy

fsspec = pytest.importorskip("fsspec")

ABOUT = {"model": "denoise-small 1", "strength": None}


@pytest.fixture
def store():
    """An empty store in memory."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def sound(path: Path, seconds: float = 0.5, rate: int = 16000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noisy(rate, 1, seconds), rate)
    return path


def test_a_folder_stands_for_its_sound_files(tmp_path: Path) -> None:
    for name in ("b.wav", "a.mp3", "deep/c.flac", ".hidden/d.wav", "a.denoised.flac", "notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    folder = str(tmp_path / "in")
    found = items([folder], "/out", "denoised", recursive=True, template=None)
    assert [(item.source.removeprefix(folder), item.target) for item in found] == [
        ("/a.mp3", "/out/a.denoised.flac"),
        ("/b.wav", "/out/b.denoised.wav"),
        ("/deep/c.flac", "/out/deep/c.denoised.flac"),
    ]
    assert len(items([folder], "/out", "denoised", recursive=False, template=None)) == 2
    assert items([folder, folder], "/out", "denoised", True, None) == found  # no file twice
    named = items([folder + "/b.wav"], "s3://bucket/clean/", "denoised", False, "{name}{ext}")
    assert named == [Item(folder + "/b.wav", "s3://bucket/clean/b.wav")]


def test_addresses_are_listed_by_fsspec(store) -> None:
    for name in ("/talks/a.wav", "/talks/deep/b.ogg"):
        store.pipe(name, b"x")
    found = items(["memory://talks"], "memory://clean", "denoised", recursive=True, template=None)
    assert found == [
        Item("memory:///talks/a.wav", "memory://clean/a.denoised.wav"),
        Item("memory:///talks/deep/b.ogg", "memory://clean/deep/b.denoised.ogg"),
    ]


@pytest.mark.parametrize(
    ("inputs", "template", "what"),
    [
        (["missing"], None, "missing does not exist"),
        (["empty"], None, "no sound file in the folder"),
        (["a.wav"], "{other}", "--name is"),
        (["a.wav", "in/a.wav"], None, "would go to"),
        (["nothing://there/a.wav"], None, "nothing"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, monkeypatch, inputs, template, what) -> None:
    monkeypatch.chdir(tmp_path)
    sound(tmp_path / "a.wav"), sound(tmp_path / "in" / "a.wav")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=what) as failed:
        items(inputs, str(tmp_path / "out"), "denoised", False, template)
    assert str(failed.value).endswith(".") and "\n" not in str(failed.value)


def test_the_output_is_a_folder_or_an_address(tmp_path: Path) -> None:
    check_output(str(tmp_path))
    check_output("memory://clean")
    for wrong in (tmp_path / "missing", sound(tmp_path / "a.wav")):
        with pytest.raises(InputError, match="name a folder that exists"):
            check_output(str(wrong))


# The manifest


def result(name: str, status: str = DONE, **more) -> Result:
    return Result(name, name + ".out", status, **more)


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    todo = [Item(name, name + ".out") for name in ("a", "b", "c", "d")]
    with Manifest(tmp_path / "m", ABOUT) as manifest:
        assert manifest.left(todo) == todo
        for each in (result("a"), result("b", FAILED, error="No.", exit_code=2), result("c", EXISTED)):
            manifest.add(each)
    with (tmp_path / "m").open("a") as file:
        file.write('{"source": "d", "targ')  # killed in the middle of a line
    with Manifest(tmp_path / "m", ABOUT) as manifest:
        assert manifest.left(todo) == [todo[1], todo[3]]
        assert manifest.left([Item("a", "elsewhere")]) == [Item("a", "elsewhere")]
        manifest.add(result("d"))
        manifest.add(result("b", attempts=2))
    with Manifest(tmp_path / "m", ABOUT) as manifest:
        assert manifest.left(todo) == [] and manifest.results["b"].attempts == 2
    lines = [json.loads(line) for line in (tmp_path / "m").read_text().splitlines()]
    assert lines[0] == {"made_with": ABOUT} and len(lines) == 6


def test_one_run_at_a_time_and_of_one_kind(tmp_path: Path) -> None:
    with Manifest(tmp_path / "m", ABOUT), pytest.raises(InputError, match="in use by another run"):
        Manifest(tmp_path / "m", ABOUT)
    with pytest.raises(InputError, match=r"strength None, not .* strength 12"):
        Manifest(tmp_path / "m", ABOUT | {"strength": 12.0})
    (tmp_path / "other").write_text("something else\n")
    with pytest.raises(InputError, match="no manifest of rtsep"):
        Manifest(tmp_path / "other", ABOUT)
    assert (tmp_path / "other").read_text() == "something else\n"
    with pytest.raises(InputError, match="cannot be written"):
        Manifest(tmp_path / "no" / "m", ABOUT)


# The doing


def test_a_file_of_a_store_is_cleaned_into_a_store(tmp_path: Path, store) -> None:
    path = sound(tmp_path / "a.wav")
    store.pipe("/talks/a.wav", path.read_bytes())
    cleaner = Cleaner("denoise-small", None, overwrite=False)
    done = cleaner.clean(Item("memory://talks/a.wav", "memory://clean/deep/a.wav"))
    assert (done.status, done.seconds, done.error) == (DONE, 0.5, None) and done.took > 0
    enhance_file(path, tmp_path / "expected.wav", rtsep.load("denoise-small", backend="compiled"))
    assert store.cat("/clean/deep/a.wav") == (tmp_path / "expected.wav").read_bytes()
    assert cleaner.clean(Item("memory://talks/a.wav", "memory://clean/deep/a.wav")).status == EXISTED
    again = Cleaner("denoise-small", None, overwrite=True).clean(
        Item("memory://talks/a.wav", "memory://clean/deep/a.wav")
    )
    assert again.status == DONE


def test_a_bad_file_is_a_sentence_and_leaves_nothing(tmp_path: Path, store) -> None:
    store.pipe("/talks/bad.wav", b"no sound at all")
    cleaner = Cleaner("denoise-small", None, overwrite=False)
    bad = cleaner.clean(Item("memory://talks/bad.wav", "memory://clean/bad.wav"))
    assert bad.status == FAILED and bad.exit_code == 2 and "memory://talks/bad.wav" in str(bad.error)
    gone = cleaner.clean(Item("memory://talks/gone.wav", str(tmp_path / "gone.wav")))
    assert gone.status == FAILED and gone.exit_code == 1 and "gone.wav" in str(gone.error)
    assert not store.exists("/clean/bad.wav") and list(tmp_path.iterdir()) == []
