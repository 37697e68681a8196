"""The program end to end: real files in, real files out, and one sentence for everything that can go wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from rtsep.cli import app
from rtsep.cli.shared import write_text
from rtsep.errors import InputError
from tests.graphs import Network
from tests.recordings import identity_model, noisy

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and limits")
HOME = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rtsep(*arguments: object):
    """Run the program in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "rtsep", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HOME)}


def spawn(*arguments: object, **options):
    """Run the program in a process of its own."""
    return subprocess.run(command(*arguments), capture_output=True, env=environment(), timeout=60, **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(name: str, seconds: float = 1.0, rate: int = 16000) -> Path:
    soundfile.write(name, noisy(rate, 1, seconds), rate)
    return Path(name)


def assert_one_sentence(result, *words: str) -> None:
    """stderr is one line, starts with the program's name, ends a sentence, names what is wrong; nothing on stdout."""
    said = result.stderr if isinstance(result.stderr, str) else result.stderr.decode()
    assert "Traceback" not in said
    assert said.count("\n") == 1, said
    assert said.startswith("rtsep: ")
    assert said.endswith(".\n")
    for word in words:
        assert word in said
    assert not result.stdout


# What works


def test_denoise_writes_beside_the_input(here, model):
    before = write("talk.wav").read_bytes()
    result = rtsep("denoise", "talk.wav", "--model", model)
    assert result.exit_code == 0, result.stderr
    assert "talk.denoised.wav" in result.stderr
    assert not result.stdout
    assert names(here) == ["talk.denoised.wav", "talk.wav"]
    assert soundfile.info("talk.denoised.wav").frames == 16000
    assert Path("talk.wav").read_bytes() == before


def test_strength_limits_the_attenuation(here):
    # This model gives all of its input to the noise, and exact silence as speech.
    silence = Network(hop=128, analysis_window=512, synthesis_window=256, identity=True, sources=("noise", "speech"))
    silence.save(here / "silence.onnx", target="speech")
    write("talk.wav", 2.0)
    for strength, gain in (("max", 0.0), ("12", 10 ** (-12 / 20)), ("0", 1.0)):
        options = ("-o", f"{strength}.wav", "--strength", strength, "--model", "silence.onnx")
        assert rtsep("denoise", "talk.wav", *options).exit_code == 0
        got, _ = soundfile.read(f"{strength}.wav")
        assert np.allclose(got, gain * noisy(16000, 1, 2.0)[:, 0], atol=1 / 32768)


def test_a_folder_stands_for_its_files_and_json_tells_what_was_done(here, model):
    Path("talks").mkdir()
    Path("clean").mkdir()
    write("talks/a.wav")
    write("talks/b.flac", rate=44100)
    Path("talks/notes.txt").write_text("hello")
    result = rtsep("denoise", "talks", "-o", "clean", "--json", "--quiet", "--model", model)
    assert result.exit_code == 0
    assert result.stderr == ""
    first, second = json.loads(result.stdout)
    assert (first["input"], first["output"]) == ("talks/a.wav", "clean/a.denoised.wav")
    assert (second["sample_rate"], second["samples"], second["error"]) == (44100, 44100, None)
    assert names(here / "clean") == ["a.denoised.wav", "b.denoised.flac"]


def test_standard_input_to_standard_output(here, model):
    sound = write("talk.wav").read_bytes()
    result = spawn("denoise", "-", "--model", model, input=sound)
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""
    assert names(here) == ["talk.wav"]
    Path("out.wav").write_bytes(result.stdout)
    assert soundfile.info("out.wav").frames == 16000
    assert len(result.stdout) == len(sound)
    broken = spawn("denoise", "-", "--model", model, input=sound[:1000])
    assert broken.returncode == 2
    assert_one_sentence(broken, "standard input")


@posix
@pytest.mark.parametrize("quiet", [False, True])
def test_progress_is_drawn_on_a_terminal_unless_quiet(here, model, quiet):
    import pty

    soundfile.write("long.wav", np.zeros(100 * 8000, np.int16), 8000)
    ours, theirs = pty.openpty()
    options = ("--model", model, *(("--quiet",) if quiet else ()))
    process = subprocess.Popen(
        command("denoise", "long.wav", *options),
        stderr=theirs,
        env={**environment(), "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # the other end was closed
        pass
    assert process.wait(30) == 0
    if quiet:
        assert shown == b""
    else:
        assert b"long.wav" in shown
        assert b"%" in shown
        assert b"0:00:0" in shown  # the time left


@pytest.mark.parametrize(("verb", "word"), [((), "denoise"), (("denoise",), "--strength"), (("bench",), "step")])
def test_nothing_to_do_is_a_question_for_help(here, verb, word):
    result = rtsep(*verb)
    assert result.exit_code == 0
    assert word in result.stdout


def test_help_is_quick_and_imports_nothing_heavy():
    assert spawn("--help").returncode == 0  # byte code is compiled now
    assert min(_help_seconds() for _ in range(3)) < 0.5
    heavy = ("torch", "onnxruntime", "numba", "sounddevice", "soundfile")
    look = f"import sys, rtsep.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, env=environment())
    assert done.stdout.strip() == "[]"


def _help_seconds() -> float:
    """Processor time where the system tells it, which other programs on the machine do not lengthen."""

    def clock() -> float:
        times = os.times()
        return times.children_user + times.children_system if os.name != "nt" else time.perf_counter()

    start = clock()
    spawn("--help")
    return clock() - start


def test_version():
    from rtsep import __version__

    assert rtsep("--version").stdout == f"rtsep {__version__}\n"


def test_models_lists_what_the_metadata_say(here, model):
    result = rtsep("models", model, "--json")
    (described,) = json.loads(result.stdout)
    assert (described["target"], described["sample_rate"], described["licence"]) == ("speech", 48000, "MIT")
    assert described["algorithmic_latency_ms"] == pytest.approx(16 / 3)
    assert described["megabytes"] == os.path.getsize(model) / 1e6
    assert "5.33" in rtsep("models", model).stdout


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


def _link() -> None:
    write("a.wav")
    Path("b.wav").symlink_to("a.wav")


BAD = {
    "missing file": (_nothing, "bad.wav", "bad.wav does not exist"),
    "empty file": (_text("bad.wav", ""), "bad.wav", "bad.wav is empty"),
    "text as wav": (_text("bad.wav"), "bad.wav", "bad.wav is not a sound file"),
    "text as mp3": (_text("bad.mp3"), "bad.mp3", "bad.mp3"),
    "text": (_text("bad.txt"), "bad.txt", "bad.txt"),
    "truncated wav": (_cut("bad.wav"), "bad.wav", "bad.wav ends before its sound"),
    "truncated flac": (_cut("bad.flac"), "bad.flac", "bad.flac is damaged or cut off"),
    "truncated mp3": (_cut("bad.mp3"), "bad.mp3", "bad.mp3 ends before its sound"),
    "truncated ogg": (_cut("bad.ogg"), "bad.ogg", "bad.ogg"),
    "no samples": (_shape(16000, 1), "bad.wav", None),
    "NaN": (_samples(np.nan), "bad.wav", "not a number"),
    "Inf": (_samples(np.inf), "bad.wav", "not a number"),
    "rate too low": (_shape(7999, 1), "bad.wav", "7999"),
    "rate too high": (_shape(192001, 1), "bad.wav", "192001"),
    "too many channels": (_shape(16000, 9), "bad.wav", "9"),
    "existing output": (_existing, "a.wav -o b.wav", "b.wav already exists; pass --overwrite"),
    "output is input": (_existing, "a.wav -o a.wav --overwrite", "is the input itself"),
    "output links to input": (_link, "a.wav -o b.wav --overwrite", "is the input itself"),
    "output is a device": (_existing, "a.wav -o dev.wav --overwrite", "not an ordinary file"),
    "folder missing": (_existing, "a.wav -o nowhere/c.wav", "nowhere does not exist"),
    "a pipe": (lambda: os.mkfifo("bad.wav"), "bad.wav", "bad.wav is not an ordinary file"),
    "a folder": (lambda: Path("bad.wav").mkdir(), "bad.wav", "no sound file in the folder bad.wav"),
    "mp3 out": (_existing, "a.wav -o c.mp3", "choose another suffix"),
    "opus at 44.1 kHz": (lambda: write("a.wav", rate=44100), "a.wav -o c.opus", "cannot hold"),
    "strength in words": (_existing, "a.wav -o c.wav --strength strong", "--strength is 'strong'"),
    "negative strength": (_existing, "a.wav -o c.wav --strength=-3", "--strength is '-3'"),
    "json and sound": (_existing, "a.wav -o - --json", "standard output"),
    "unknown model": (_existing, "a.wav -o c.wav --model nothing", "'nothing'"),
    "model missing": (_existing, "a.wav -o c.wav --model bad.onnx", "bad.onnx cannot be read"),
    "text as model": (_text("bad.onnx"), "a.wav --model bad.onnx", "bad.onnx is not an ONNX model"),
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


def test_wrong_usage_is_no_traceback():
    for arguments in (("denoise", "--nonsense"), ("nonsense",), ("denoise", "a.wav", "--workers", "-1")):
        result = rtsep(*arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.stderr


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


# What fails half way


@posix
def test_a_limit_on_file_size_leaves_nothing(here, model):
    import resource

    write("a.wav", 5.0, 48000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for target in ("b.wav", "b.flac", "b.ogg"):
        assert rtsep("denoise", "a.wav", "-o", target, "--model", model).exit_code == 0
        size = Path(target).stat().st_size
        Path(target).unlink()
        for room in (size // 2, size - 1):  # the last byte is only missed when the file is closed
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
            try:
                result = rtsep("denoise", "a.wav", "-o", target, "--model", model)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert result.exit_code == 1, (target, room, size)
            assert_one_sentence(result, target)
            assert names(here) == ["a.wav"]


@posix
def test_a_full_disk_leaves_nothing(here, model):
    Path("small").mkdir()
    mounted = shutil.which("mount") and os.geteuid() == 0
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", "small"]
    if not mounted or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        write("a.wav", 10.0, 48000)
        for target in ("b.wav", "b.flac", "b.ogg"):
            sound = soundfile.read("a.wav")[0]
            if target == "b.ogg":  # compresses too well to fill the disk in ten seconds
                soundfile.write("a.wav", np.tile(sound, 6), 48000)
            result = rtsep("denoise", "a.wav", "-o", f"small/{target}", "--model", model)
            assert result.exit_code == 1
            assert_one_sentence(result, "disk is full")
            assert names(here / "small") == []
    finally:
        subprocess.run(["umount", "small"], check=True)


@posix
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_half_way_leaves_nothing(here, model, workers, kind):
    for name in ("a.wav", "b.wav")[:workers]:
        soundfile.write(name, np.zeros(1800 * 8000, np.int16), 8000)
    files = names(here)
    process = subprocess.Popen(
        command("denoise", *files, "--model", model, "--workers", workers),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,  # a group of its own, all of which Ctrl-C reaches
    )
    try:
        deadline = time.monotonic() + 30
        while not any(path.stat().st_size > 100_000 for path in here.glob(".rtsep-*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, kind) if kind == signal.SIGINT else process.send_signal(kind)
        stdout, stderr = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert stderr.decode() == "rtsep: Stopped; nothing half-written was left behind.\n"
    assert not stdout
    assert names(here) == files


def test_whoever_reads_standard_output_may_go_away(tmp_path):
    from tests.recordings import identity_model

    model = identity_model(tmp_path)
    write(str(tmp_path / "long.wav"), seconds=30.0)
    program = subprocess.Popen(
        command("denoise", tmp_path / "long.wav", "-o", "-", "--model", model),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert program.stdout is not None and program.stderr is not None
    program.stdout.read(100)
    program.stdout.close()
    said = program.stderr.read().decode()
    assert program.wait(60) == 1
    assert "went away" in said and "Traceback" not in said and "disk" not in said
