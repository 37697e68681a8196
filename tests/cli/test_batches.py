"""Many files: what is there already, what stands in the way of one, folders, names, workers that end with us."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rtsep.audio_io import workers
from rtsep.audio_io.batch import Job, run
from rtsep.audio_io.plan import plan
from rtsep.engine.stream_settings import ASR_STRENGTH_DB
from tests.graphs import Network
from tests.program import assert_one_sentence, command, environment, names, posix, rtsep, spawn, write
from tests.recordings import identity_model, noisy

pytestmark = pytest.mark.long  # programs, started over and over


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"))


# What is there already


def test_what_was_there_is_no_failure_of_a_batch(here, model):
    for name in ("a.wav", "b.wav", "c.wav"):
        write(name)
    Path("a.denoised.wav").write_bytes(b"precious")
    Path("b.denoised.wav").write_bytes(b"precious")
    result = rtsep("denoise", "a.wav", "b.wav", "c.wav", "--model", model, "--json")
    assert result.exit_code == 0
    assert result.stderr.endswith("2 were there already; --overwrite makes them anew.\n")
    assert [one["existed"] for one in json.loads(result.stdout)] == [True, True, False]
    assert Path("a.denoised.wav").read_bytes() == b"precious"
    result = rtsep("denoise", "a.wav", "--model", model)  # who names one file is told
    assert result.exit_code == 2 and "already exists" in result.stderr
    result = rtsep("denoise", "a.wav", "--model", model, "--skip-existing")
    assert (result.exit_code, result.stderr) == (0, "1 was there already; --overwrite makes them anew.\n")
    assert rtsep("denoise", "a.wav", "b.wav", "--model", model, "--overwrite", "-q").exit_code == 0
    assert soundfile.info("a.denoised.wav").frames == 16000


# Folders and names


def test_a_folder_takes_what_works_when_named(here, model):
    Path("talks").mkdir()
    sound = noisy()
    kinds = {
        "a.aiff": "AIFF",
        "b.caf": "CAF",
        "c.au": "AU",
        "d.w64": "W64",
        "e.voc": "VOC",
        "f.rf64": "RF64",
        "g.snd": "AU",
    }
    for name, kind in kinds.items():
        soundfile.write(f"talks/{name}", sound, 16000, format=kind, subtype="PCM_16")
    Path("talks/notes.txt").write_text("no sound")
    result = rtsep("denoise", "talks", "-o", "talks", "--model", model, "-q")
    assert result.exit_code == 0, result.stderr
    assert len([name for name in names(here / "talks") if ".denoised." in name]) == len(kinds)


def test_subfolders_keep_their_places(here, model):
    for place in ("in/b.wav", "in/deep/er/a.wav", "in/.hidden/a.wav"):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        write(place)
    os.symlink("..", "in/deep/loop")
    Path("out").mkdir()
    result = rtsep("denoise", "in", "-r", "-o", "out", "--model", model, "-q")
    assert result.exit_code == 0, result.stderr
    made = sorted(str(path) for path in Path("out").rglob("*.wav"))
    assert made == ["out/b.denoised.wav", "out/deep/er/a.denoised.wav"]
    assert [job.source for job in plan(["in"])] == ["in/b.wav"]


def test_names_by_a_template(here, model):
    write("a.wav")
    assert rtsep("denoise", "a.wav", "--name", "clean {name}{ext}", "--model", model).exit_code == 0
    assert rtsep("denoise", "a.wav", "--name", "{name}-{mark}.flac", "--model", model).exit_code == 0
    assert names(here) == ["a-denoised.flac", "a.wav", "clean a.wav"]


@pytest.mark.parametrize(
    "template", ["", "clean.wav", "{name", "{0}{name}", "{name.real}", "../{name}", "{name}/x", "{other}"]
)
def test_a_template_that_is_none(here, model, template):
    write("a.wav")
    result = rtsep("denoise", "a.wav", "--name", template, "--model", model)
    assert result.exit_code == 2
    assert_one_sentence(result, "--name is")
    assert names(here) == ["a.wav"]


# One bad item never stops the others


def _long() -> str:
    soundfile.write(f"{'x' * 243}.wav", noisy(), 16000)
    return f"{'x' * 243}.wav"


def _loop() -> str:
    os.symlink("loop.wav", "loop.wav")
    return "loop.wav"


def _empty_folder() -> str:
    Path("empty").mkdir()
    return "empty"


def _not_text() -> str:
    name = "caf\udce9.wav"
    Path(name).write_bytes(b"not a sound, but long enough to look at" * 10)
    return name


BAD = {
    "empty name": (lambda: "", "One of the names is empty"),
    "name too long": (_long, "too long"),
    "loop of links": (_loop, "Too many levels of symbolic links"),
    "empty folder": (_empty_folder, "no sound file in the folder"),
    "zero byte": (lambda: "a\0b.wav", "zero byte"),
    "name that is no text": (_not_text, "is not a sound"),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_item_costs_itself_only(here, model, case, workers):
    write("good.wav")
    write("well.wav")
    make, words = BAD[case]
    bad = make()
    result = rtsep("denoise", "good.wav", bad, "well.wav", "--model", model, "-q", "--workers", workers)
    assert result.exit_code == 2, result.stderr
    assert words in result.stderr and "Traceback" not in result.stderr
    assert {"good.denoised.wav", "well.denoised.wav"} <= set(names(here))
    alone = rtsep("denoise", bad, "--model", model, "-q")
    assert alone.exit_code == 2
    assert_one_sentence(alone, words)


@posix
def test_a_folder_that_may_not_be_read_costs_itself_only(here, model):
    """As somebody who is not root, who may read everything."""
    if os.geteuid() == 0:
        for parent in (here, *here.parents[:3]):
            parent.chmod(0o755)
    write("good.wav")
    Path("locked").mkdir(mode=0)
    code = "import os\nfrom rtsep.audio_io.plan import plan\nos.geteuid() or os.setuid(65534)\n"
    code += "print([(j.source, j.problem) for j in plan(['good.wav', 'locked'])])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    Path("locked").chmod(0o700)
    assert done.stdout == "[('good.wav', None), ('locked', 'locked cannot be read: Permission denied.')]\n", done.stderr


@posix
@pytest.mark.parametrize(("closed", "workers"), [("<&-", 2), (">&-", 1), ("2>&-", 1), ("<&- >&- 2>&-", 2)])
def test_closed_standard_streams_are_no_matter(here, model, closed, workers):
    write("a.wav")
    write("b.wav")
    words = f"{sys.executable} -m rtsep denoise a.wav b.wav --model {model} --workers {workers} {closed}"
    done = subprocess.run(["sh", "-c", words], capture_output=True, env=environment(), timeout=300)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    for name in ("a", "b"):
        assert np.abs(soundfile.read(f"{name}.denoised.wav")[0]).max() > 0.01


@posix
def test_standard_input_that_is_closed_is_one_sentence(here, model):
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m rtsep denoise - --model {model} <&-"], capture_output=True, env=environment()
    )
    assert done.returncode == 2
    assert_one_sentence(done, "tandard input is")


def test_a_cut_file_is_written_and_counts_as_failed_unless_salvaged(here, model):
    write("good.wav")
    Path("cut.wav").write_bytes(write("whole.wav").read_bytes()[:20_044])
    result = rtsep("denoise", "cut.wav", "good.wav", "--model", model, "-q")
    assert result.exit_code == 1
    assert_one_sentence(result, "cut.wav is damaged or cut off after 0.6 s", "What there was is written", "--salvage")
    assert soundfile.info("cut.denoised.wav").frames == 10_000
    result = rtsep("denoise", "cut.wav", "good.wav", "--model", model, "-q", "--salvage", "--overwrite")
    assert (result.exit_code, result.stderr) == (0, "")
    told = rtsep("denoise", "cut.wav", "--model", model, "--salvage", "--overwrite", "--json")
    assert "cut off" in told.stderr and "cut off" in json.loads(told.stdout)[0]["damage"]


def test_floats_at_int16_scale_are_said(here, model):
    soundfile.write("loud.wav", noisy() * np.float32(32767), 16000, subtype="FLOAT")
    result = rtsep("denoise", "loud.wav", "--model", model)
    assert result.exit_code == 0
    assert "loud.wav goes up to" in result.stderr and "full scale is 1" in result.stderr


def test_control_characters_in_a_name_do_not_reach_the_terminal(here, model):
    write("a.wav").rename("a\x1b[31m.wav")
    result = rtsep("denoise", "a\x1b[31m.wav", "b\x1b[2J.wav", "--model", model)
    assert "\x1b" not in result.stderr and r"a\x1b[31m.denoised.wav" in result.stderr
    assert r"b\x1b[2J.wav does not exist" in result.stderr


# Workers


@pytest.fixture
def always(monkeypatch):
    """However little work there is, the workers are started."""
    monkeypatch.setattr(workers, "START_S", 0.0)


def test_too_little_work_starts_no_workers(tmp_path):
    """A megabyte of WAV is a fifth of a second of work; of FLAC, several times as much sound."""
    for name, size in (("small.wav", 1 << 20), ("long.wav", 100 << 20), ("long.flac", 20 << 20)):
        with open(tmp_path / name, "wb") as file:
            file.truncate(size)

    def worth(wanted: int, *names: str) -> int:
        return workers.worthwhile([Job(str(tmp_path / name), tmp_path / "out.wav") for name in names], wanted)

    assert worth(2, *["small.wav"] * 5) == worth(8, "missing.wav", "small.wav") == worth(8, "long.wav") == 1
    assert worth(2, *["small.wav"] * 20) == 2 and worth(4, *["small.wav"] * 20) == 4
    assert worth(8, "long.wav", "small.wav") == 2 and worth(4, *["long.flac"] * 4) == 4
    assert worth(1, *["long.wav"] * 9) == 1


def test_workers_need_no_semaphores(tmp_path, model, monkeypatch, always):
    """They live in /dev/shm, which may be missing or read-only."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("_multiprocessing.SemLock", refuse)
    jobs = [Job(str(write(str(tmp_path / f"{n}.wav"))), tmp_path / f"{n}.out.wav") for n in range(3)]
    assert [outcome.error for outcome in run(jobs, model, workers=2)] == [None] * 3


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no PYTHONSAFEPATH")
def test_workers_run_nothing_of_the_current_folder(here, model, monkeypatch, always):
    """A downloaded folder may hold a json.py."""
    for name in ("json", "threading", "numpy"):
        Path(f"{name}.py").write_text("import os\nos._exit(7)\n")
    jobs = [Job(str(write(f"{n}.wav")), Path(f"{n}.out.wav")) for n in range(2)]
    assert [outcome.error for outcome in run(jobs, model, workers=2)] == [None] * 2


def test_where_no_process_can_be_started_this_one_works(tmp_path, model, monkeypatch, always):
    def refuse(*_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", refuse)
    jobs = [Job(str(write(str(tmp_path / f"{n}.wav"))), tmp_path / f"{n}.out.wav") for n in range(3)]
    assert [outcome.error for outcome in run(jobs, model, workers=2)] == [None] * 3


class Deadly:
    """What a bug in a decoder would do."""

    def __init__(self, model: object, rate: int, channels: int) -> None:
        self.rate = rate

    def process(self, block: np.ndarray) -> np.ndarray:
        if self.rate == 8000:
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    def flush(self) -> np.ndarray:
        return np.zeros((0, 1), np.float32)


@posix
def test_a_worker_that_dies_costs_one_file_only(tmp_path, model, always):
    jobs = []
    for n, rate in enumerate((16000, 8000, 16000, 8000, 16000, 16000)):
        write(str(tmp_path / f"{n}.wav"), rate=rate)
        jobs.append(Job(str(tmp_path / f"{n}.wav"), tmp_path / f"{n}.out.wav"))
    outcomes = run(jobs, model, workers=2, make=Deadly)
    assert [outcome.exit_code for outcome in outcomes] == [0, 1, 0, 1, 0, 0]
    assert outcomes[1].error == f"{jobs[1].source}: its worker process ended early."


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_kill_9_leaves_no_workers_and_nothing_half_written(here, model):
    for name in ("a.wav", "b.wav"):
        soundfile.write(name, np.zeros(3600 * 8000, np.int16), 8000)
    words = command("denoise", "a.wav", "b.wav", "--model", model, "--workers", "2")
    program = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(), start_new_session=True
    )
    try:
        _until(lambda: len([p for p in here.glob(".rtsep-*") if p.stat().st_size > 100_000]) == 2)
        program.kill()
        program.wait()
        _until(lambda: not _session(program.pid))
    finally:
        for process in _session(program.pid):
            os.kill(process, signal.SIGKILL)
    assert names(here) == ["a.wav", "b.wav"]


def _until(condition, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _session(leader: int) -> list[int]:
    """Processes of a session, from /proc/PID/stat, without those that have ended."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            found.append(int(place.name))
    return found


def test_workers_that_may_be_used(here, model, monkeypatch):
    """0 is one a core, of those that this process may use."""
    from rtsep.cli.shared import cores

    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3}, raising=False)
    assert cores() == 1


# The wrong model


def test_a_model_for_songs_is_refused(here):
    write("a.wav")
    Network(sources=("accompaniment", "vocals"), channels=2).save(here / "songs.onnx", target="accompaniment")
    for options in ((), ("--virtual-mic",), ("--live", "--output", "nowhere")):
        files = () if options else ("a.wav",)
        result = rtsep("denoise", *files, "--model", "songs.onnx", *options)
        assert result.exit_code == 2
        assert_one_sentence(result, "keeps accompaniment, not speech")
    assert names(here) == ["a.wav", "songs.onnx"]


def test_a_model_for_files_is_refused_live(here):
    """What is left goes in again only when it has come out: this cannot run live, and the sentence says what can."""
    Network(sources=("one", "rest")).save(here / "voices.onnx", target="one")
    result = rtsep("denoise", "--live", "--output", "nowhere", "--model", "voices.onnx")
    assert result.exit_code == 2
    assert_one_sentence(result, "keeps one, not speech", "with `rtsep separate`")


def test_strength_in_other_words(here, model):
    write("a.wav")
    for number, strength in enumerate(("MAX", "inf", "Max")):
        result = rtsep("denoise", "a.wav", "-o", f"{number}.wav", "--strength", strength, "--model", model)
        assert result.exit_code == 0, result.stderr
    assert len({Path(f"{number}.wav").read_bytes() for number in range(3)}) == 1


def test_what_the_sound_is_for_chooses_the_strength(here, model):
    write("a.wav")
    for name, options in {
        "asr": ("--for", "asr"),
        "told": ("--strength", f"{ASR_STRENGTH_DB:g}"),
        "listening": ("--for", "listening"),
        "max": (),
    }.items():
        assert rtsep("denoise", "a.wav", "-o", f"{name}.wav", "--model", model, *options).exit_code == 0
    sounds = {name: Path(f"{name}.wav").read_bytes() for name in ("asr", "told", "listening", "max")}
    assert sounds["asr"] == sounds["told"] != sounds["listening"] == sounds["max"]
    for options, told in {
        ("--for", "music"): "--for is 'music'; it must be listening or asr.",
        ("--for", "asr", "--strength", "6"): "--for asr chooses the strength; leave out --strength, or --for.",
        ("--strength", ""): "--strength is ''; it must be max or a number of dB from 0 up.",  # of a script: "$unset"
        ("--model", ""): "The name of the model is empty; name a model or an .onnx file.",
    }.items():
        for live in ((), ("--virtual-mic",)):
            result = rtsep("denoise", *(() if live else ("a.wav", "-o", "b.wav")), *options, *live)
            assert result.exit_code == 2
            assert_one_sentence(result, told)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_one_sentence(here, model):
    write("a.wav")
    verbs = (("models",), ("models", "--json"), ("denoise", "a.wav", "--json", "-q", "--model", model))
    for words in (*verbs, ("--version",), ("--help",), ("denoise", "--help"), ("bench", "--help")):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(command(*words), stdout=full, stderr=subprocess.PIPE, env=environment())
        assert done.returncode == 1
        assert done.stderr.decode() == "rtsep: Standard output could not be written: No space left on device.\n"
    assert spawn("models").returncode == 0


def test_a_preset_of_a_microphone_serves_a_file_too(here, model, monkeypatch):
    """Its model, strength and gate; what it says about devices is for live sound."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here / "config"))
    from rtsep.live.presets import save_preset

    save_preset("studio", {"virtual_mic": True, "model": model, "strength": "0"})
    write("a.wav")
    result = rtsep("denoise", "a.wav", "--preset", "studio")
    assert result.exit_code == 0, result.stderr
    assert np.array_equal(soundfile.read("a.denoised.wav")[0], soundfile.read("a.wav")[0])
    told = f"{ASR_STRENGTH_DB:g}"
    for name, options in {"for": ("--preset", "studio", "--for", "asr"), "told": ("--strength", told)}.items():
        assert rtsep("denoise", "a.wav", "-o", f"{name}.wav", "--model", model, *options).exit_code == 0
    assert Path("for.wav").read_bytes() == Path("told.wav").read_bytes()
