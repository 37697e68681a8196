"""The program end to end: real files in, real files out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.graphs import Network
from tests.program import assert_one_sentence, command, environment, names, posix, rtsep, spawn, write
from tests.recordings import identity_model, noisy


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"))


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
    broken = spawn("denoise", "-", "--model", model, input=b"RIFF" + sound[:1000])
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
    assert process.wait(90) == 0
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


def test_flags_take_no_value_in_help():
    for verb in ("denoise", "karaoke", "models", "devices", "doctor", "bench", "bench step", "bench live", ""):
        shown = rtsep(*verb.split(), "--help").stdout
        lines = [line for line in shown.splitlines() if "--help" not in line]  # which is typer's own
        assert "--" in shown and not any("bool" in line.lower() for line in lines), verb


def test_help_is_quick_and_imports_nothing_heavy():
    # Against the least that a program with a command, and sound in arrays, can be; byte code is compiled by the first.
    least = "import numpy, typer\nprogram = typer.Typer()\n@program.command()\ndef clean(file: str): ...\nprogram()"
    ours, theirs = (
        min(_seconds([sys.executable, *words, "--help"]) for _ in range(4))
        for words in (["-m", "rtsep"], ["-c", least])
    )
    assert ours < theirs
    heavy = ("torch", "onnxruntime", "numba", "numpy", "rich", "sounddevice", "soundfile")
    look = f"import sys, rtsep.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, env=environment())
    assert done.stdout.strip() == "[]"


def _seconds(command: list[str]) -> float:
    """Processor time where the system tells it, which other programs on the machine do not lengthen."""

    def clock() -> float:
        times = os.times()
        return times.children_user + times.children_system if os.name != "nt" else time.perf_counter()

    start = clock()
    subprocess.run(command, capture_output=True, env=environment(), timeout=300, check=True)
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
