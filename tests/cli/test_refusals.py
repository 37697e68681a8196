"""One sentence for everything that can be wrong with what the program is given."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtsep.cli.shared import write_text
from rtsep.errors import InputError
from tests.graphs import Network
from tests.program import assert_one_sentence, names, posix, rtsep, spawn, write
from tests.recordings import identity_model, noisy


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"))


# What is refused: (how it comes about, arguments, words in the sentence)


def _nothing() -> None:
    pass


def _text(name: str, text: str = "this is no sound, but it is long enough to be one\n" * 50):
    return lambda: Path(name).write_text(text)


def _cut(name: str):
    def make() -> None:
        content = write("whole" + Path(name).suffix).read_bytes()
        Path(name).write_bytes(content[: len(content) // 2])

    return make


def _samples(value: float):
    def make() -> None:
        sound = noisy().copy()
        sound[100] = value
        soundfile.write("bad.wav", sound, 16000, subtype="FLOAT")

    return make


def _shape(rate: int, channels: int):
    return lambda: soundfile.write("bad.wav", np.zeros((1000, channels)), rate)


def _existing() -> None:
    write("a.wav")
    _text("b.wav", "mine")()


def _graph(**overrides: str | None):
    def make() -> None:
        write("a.wav")
        Network().save(Path("bad.onnx"), **overrides)

    return make


def _bare_graph() -> None:
    write("a.wav")
    Network().save(Path("bad.onnx"), **{key.removeprefix("rtsep."): None for key in Network().metadata()})


def _strange_graph() -> None:
    """ONNX by its form, with an operation that onnxruntime does not know."""
    import onnx

    write("a.wav")
    model = onnx.load(Network().save(Path("bad.onnx")))
    model.graph.node[0].op_type = "Nonsense"
    onnx.save(model, "bad.onnx")


def _link() -> None:
    write("a.wav")
    Path("b.wav").symlink_to("a.wav")


BAD = {
    "missing file": (_nothing, "bad.wav", "rtsep: bad.wav does not exist"),
    "empty file": (_text("bad.wav", ""), "bad.wav", "rtsep: bad.wav is empty"),
    "text as wav": (_text("bad.wav"), "bad.wav", "bad.wav is not a sound"),
    "text as mp3": (_text("bad.mp3"), "bad.mp3", "bad.mp3"),
    "text": (_text("bad.txt"), "bad.txt", "bad.txt"),
    "no samples": (_shape(16000, 1), "bad.wav", None),
    "NaN": (_samples(np.nan), "bad.wav", "not a number"),
    "Inf": (_samples(np.inf), "bad.wav", "not a number"),
    "rate too low": (_shape(7999, 1), "bad.wav", "7999"),
    "rate too high": (_shape(192001, 1), "bad.wav", "192001"),
    "too many channels": (_shape(16000, 9), "bad.wav", "9"),
    "existing output": (_existing, "a.wav -o b.wav", "b.wav already exists; pass --overwrite"),
    "output is input": (_existing, "a.wav -o a.wav --overwrite", "rtsep: a.wav is the input itself"),
    "output links to input": (_link, "a.wav -o b.wav --overwrite", "is the input itself"),
    "output is a device": (_existing, "a.wav -o dev.wav --overwrite", "not an ordinary file"),
    "folder missing": (_existing, "a.wav -o nowhere/c.wav", "nowhere does not exist"),
    "a pipe": (lambda: os.mkfifo("bad.wav"), "bad.wav", "bad.wav is not an ordinary file"),
    "a folder": (lambda: Path("bad.wav").mkdir(), "bad.wav", "no sound file in the folder bad.wav"),
    "no sound out": (_existing, "a.wav -o c.txt", "choose another suffix"),
    "opus at 44.1 kHz": (lambda: write("a.wav", rate=44100), "a.wav -o c.opus", "cannot hold"),
    "strength in words": (_existing, "a.wav -o c.wav --strength strong", "--strength is 'strong'"),
    "negative strength": (_existing, "a.wav -o c.wav --strength=-3", "--strength is '-3'"),
    "json and sound": (_existing, "a.wav -o - --json", "standard output"),
    "unknown model": (_existing, "a.wav -o c.wav --model nothing", "'nothing'"),
    "tunes no gate": (_existing, "a.wav -o c.wav --gate-hold 100", "add --gate DB"),
    "model empty": (_text("bad.onnx", ""), "a.wav --model bad.onnx", "rtsep: bad.onnx is empty"),
    "model missing": (_existing, "a.wav -o c.wav --model bad.onnx", "bad.onnx cannot be read"),
    "text as model": (_text("bad.onnx"), "a.wav --model bad.onnx", "bad.onnx is not an ONNX model, or damaged; fetch"),
    "model of another world": (_strange_graph, "a.wav --model bad.onnx", "bad.onnx cannot be run by onnxruntime"),
    "model without metadata": (_bare_graph, "a.wav --model bad.onnx", "no rtsep metadata"),
    "model without a key": (_graph(hop=None), "a.wav --model bad.onnx", "rtsep.hop is missing"),
    "model of other shapes": (_graph(hidden="7"), "a.wav --model bad.onnx", "rtsep.hidden"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(here, model, case):
    make, line, words = BAD[case]
    make()
    if case == "output is a device":
        os.mkfifo("dev.wav")
    if case == "no samples":
        soundfile.write("bad.wav", np.zeros(0), 16000)
        words = "bad.wav holds no sound"
    before = {path: path.read_bytes() for path in here.iterdir() if path.is_file()}
    arguments = line.split()
    result = rtsep("denoise", *arguments, *(() if "--model" in arguments else ("--model", model)))
    assert result.exit_code == 2, (result.stderr, result.exception)
    assert_one_sentence(result, words)
    assert {path: path.read_bytes() for path in here.iterdir() if path.is_file()} == before


@posix
@pytest.mark.skipif(os.name != "nt" and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(here, model):
    write("a.wav")
    Path("locked").mkdir(mode=0o500)
    result = rtsep("denoise", "a.wav", "-o", "locked/b.wav", "--model", model)
    assert result.exit_code == 2
    assert_one_sentence(result, "nothing can be written in locked")


def test_a_folder_that_cannot_be_written_even_by_root(here, model, monkeypatch):
    """What the system says when a temporary file cannot be made (a read-only file system), root or not."""
    write("a.wav")

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    result = rtsep("denoise", "a.wav", "-o", "b.wav", "--model", model)
    assert result.exit_code == 2
    assert_one_sentence(result, "Read-only file system")


@pytest.mark.parametrize(
    "line, words",
    [
        ("denoise --nonsense", "--nonsense"),
        ("denoise a.wav --workers -1", "--workers"),
        ("karaoke a.wav --key high", "--key"),
        ("karaoke --volume", "--volume"),
        ("karaoke a.wav --from inf", "inf is no finite number"),
        ("karaoke a.wav --seconds -1", "--seconds"),
        ("denoise --live --output x --seconds nan", "--seconds"),
        ("bench step --seconds inf", "inf is no finite number"),
        ("bench step x y", "(x y); see `rtsep bench step --help`"),
        ("bench stepp", "'stepp'"),
        ("nonsense", "'nonsense'"),
        ("--nonsense", "see `rtsep --help`"),
    ],
)
def test_wrong_usage_is_one_sentence(line, words):
    result = rtsep(*line.split())
    assert result.exit_code == 2
    assert_one_sentence(result, words, "--help`")


def test_a_folder_with_sound_in_its_subfolders_only(here, model):
    Path("a/b").mkdir(parents=True)
    result = rtsep("denoise", "a", "--model", model)
    assert result.exit_code == 2
    assert_one_sentence(result, "no sound file in the folder a")
    assert "--recursive" not in result.stderr
    write("a/b/c.wav")
    assert_one_sentence(rtsep("denoise", "a", "--model", model), "in its subfolders are taken with --recursive")
    assert rtsep("denoise", "a", "--model", model, "--recursive").exit_code == 0


def test_what_is_wrong_with_live_sound_is_said_before_anything_is_made(here, model, monkeypatch):
    """No device, module or preset: here is no sound server to make them with."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here))
    monkeypatch.setattr("rtsep.live.routing.sound_server.pactl", lambda *_, **__: pytest.fail("the server was asked"))
    Path("file").write_text("")
    for line, words in (
        (f"denoise --virtual-mic --model {model} --slack 99 --save desk", "slack is 99"),
        (f"denoise --virtual-mic --model {model} --record file --save desk", "file cannot be recorded to"),
        (f"denoise --virtual-mic --model {model} --record file/a/b", "file/a/b cannot be recorded to"),
        ("karaoke --virtual-sink --model mid-side --slack 99", "slack is 99"),
        ("karaoke --capture --model mid-side --block 9", "block is 9"),
        ("karaoke --virtual-sink --model nothing", "'nothing'"),
        ("karaoke file --model mid-side --output file.wav", "write to a file with -o file.wav"),
        ("karaoke file --model mid-side --block -5", "block is -5"),
        (f"denoise --virtual-mic --model {model} --gate-hold 5", "add --gate DB"),
    ):
        result = rtsep(*line.split())
        assert result.exit_code == 2
        assert_one_sentence(result, words)
    assert names(here) == ["file"]


@pytest.mark.parametrize("workers", [1, 2])
def test_one_bad_file_does_not_stop_the_others(here, model, workers):
    write("a.wav")
    _text("b.wav")()
    write("c.wav")
    files = ("a.wav", "b.wav", "missing.wav", "c.wav")
    result = rtsep("denoise", *files, "--model", model, "--quiet", "--workers", workers)
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    *_, summary = result.stderr.splitlines()
    assert summary == "rtsep: 2 of 4 files failed: b.wav, missing.wav"
    assert len(result.stderr.splitlines()) == 3
    assert names(here) == ["a.denoised.wav", "a.wav", "b.wav", "c.denoised.wav", "c.wav"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_header_cut_in_the_middle_does_not_stop_the_others(here, model, workers):
    write("a.wav")
    soundfile.write("b.wav", noisy(16000, 1), 16000, format="RF64")
    Path("b.wav").write_bytes(Path("b.wav").read_bytes()[:20])
    write("c.wav")
    result = rtsep("denoise", "a.wav", "b.wav", "c.wav", "--model", model, "--quiet", "--workers", workers)
    assert result.exit_code == 2
    assert "b.wav ends before its sound does" in result.stderr
    assert names(here) == ["a.denoised.wav", "a.wav", "b.wav", "c.denoised.wav", "c.wav"]


@posix
def test_standard_input_that_fits_nowhere_is_one_sentence(here, model):
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    content = write("a.wav").read_bytes()
    result = spawn("denoise", "-", "-o", "b.wav", "--model", model, input=content, preexec_fn=limit)
    assert result.returncode == 1
    assert_one_sentence(result, "Standard input could not be kept", "TMPDIR")
    assert names(here) == ["a.wav"]


def test_where_a_report_goes_is_looked_at_before_anything_is_measured(here, model, monkeypatch):
    for name in ("step.measure_step", "throughput.measure_files", "live.measure_live"):
        monkeypatch.setattr(f"rtsep.report.{name}", lambda *_, **__: pytest.fail("it was measured first"))
    for verb in ("step", "files", "live"):
        for place, words in (("no/such.json", "there is no folder"), (".", "it is a folder")):
            result = rtsep("bench", verb, "--model", model, "--json", place)
            assert result.exit_code == 2
            assert_one_sentence(result, words)


@posix
def test_a_report_is_written_whole_or_not_at_all(here):
    import resource

    Path("report.json").write_text("old")
    os.symlink("report.json", "link.json")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(InputError, match=r"link\.json cannot be written"):
            write_text("x" * 2000, "link.json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert Path("report.json").read_text() == "old"
    write_text("new", "link.json")
    assert (Path("report.json").read_text(), Path("link.json").is_symlink()) == ("new", True)
    assert names(here) == ["link.json", "report.json"]
