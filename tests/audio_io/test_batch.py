"""Many files at once: what goes where, in one process or several, and what stops them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import soundfile

import rtsep
from rtsep import InputError
from rtsep.audio_io import workers
from rtsep.audio_io.batch import Job, exit_code, plan, run
from rtsep.audio_io.files import Sink, Source, enhance_file
from tests.recordings import CLEAN, NOISY, identity_model, noisy


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return rtsep.load(identity_model(tmp_path_factory.mktemp("model")))


def test_plan_pairs_inputs_with_outputs(tmp_path):
    for name in ("a.wav", "b.MP3", "c.txt", "a.denoised.wav", ".rtsep-x.part.wav", "d.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    targets = [job.target_name for job in plan([str(tmp_path)])]
    assert targets == [str(tmp_path / f"{n}") for n in ("a.denoised.wav", "b.denoised.flac", "d.denoised.flac")]
    assert plan(["x/song.flac"], str(tmp_path)) == [Job("x/song.flac", tmp_path / "song.denoised.flac")]
    assert plan(["song.flac"], "other.wav") == [Job("song.flac", Path("other.wav"))]
    with pytest.raises(InputError, match="no sound file in the folder"):
        plan([str(tmp_path / "sub")])
    with pytest.raises(InputError, match="2 inputs need a folder"):
        plan(["a.wav", "b.wav"], "c.wav")
    with pytest.raises(InputError, match="does not exist"):
        plan(["a.wav"], str(tmp_path / "nowhere") + "/")


def test_two_inputs_never_write_the_same_output(tmp_path, model):
    soundfile.write(tmp_path / "a.mp3", noisy(), 16000)
    soundfile.write(tmp_path / "a.flac", noisy(), 16000)
    first, second = run(plan([str(tmp_path / "a.flac"), str(tmp_path / "a.mp3")]), str(model.path))
    assert first.error is None
    assert second.error is not None
    assert "choose another output" in second.error
    assert exit_code([first, second]) == 2


def test_an_output_that_is_another_input_is_refused(tmp_path, model):
    for name in ("a.wav", "a.denoised.wav"):
        soundfile.write(tmp_path / name, noisy(), 16000)
    before = (tmp_path / "a.denoised.wav").read_bytes()
    jobs = plan([str(tmp_path / "a.wav"), str(tmp_path / "a.denoised.wav")])
    first, second = run(jobs, str(model.path), overwrite=True)
    assert first.error is not None
    assert "an input too" in first.error
    assert second.error is None
    assert (tmp_path / "a.denoised.wav").read_bytes() == before


def test_a_file_named_twice_is_done_once(tmp_path, model):
    name = str(tmp_path / "a.wav")
    soundfile.write(name, noisy(), 16000)
    first, second = run(plan([name, name]), str(model.path))
    assert (first.error, second.exit_code) == (None, 2)


def test_a_wav_beyond_4_gb_becomes_rf64(tmp_path):
    soundfile.write(tmp_path / "in.flac", noisy(), 16000)
    with Source(tmp_path / "in.flac") as sound:
        sound.samples = 3 * 3600 * 192_000
        with Sink(tmp_path / "out.wav", sound) as sink:
            sink.write(noisy())
            sink.commit()
    assert soundfile.info(tmp_path / "out.wav").format == "RF64"


def test_workers_give_the_same_bits_as_one_process(tmp_path, model, monkeypatch):
    monkeypatch.setattr(workers, "START_S", 0.0)  # worth their start, however little there is
    jobs = [Job(str(path), tmp_path / f"{n}.{path.name}") for n in range(2) for path in (NOISY, CLEAN)]
    jobs.append(Job(str(tmp_path / "missing.wav"), tmp_path / "missing.out.wav"))
    heard = set()
    outcomes = run(jobs, str(model.path), workers=2, progress=lambda number, done, total: heard.add(number))
    assert [outcome.error is None for outcome in outcomes] == [True] * 4 + [False]
    assert heard == {0, 1, 2, 3}
    for outcome in outcomes[:4]:
        enhance_file(Path(outcome.job.source), tmp_path / "alone.flac", model, overwrite=True)
        assert outcome.job.target is not None
        assert outcome.job.target.read_bytes() == (tmp_path / "alone.flac").read_bytes()


def test_a_mistake_of_ours_costs_one_file_only(tmp_path, model, monkeypatch):
    def broken(source, *arguments):
        if source.name == "bad.flac":
            raise struct.error("unpack requires\na buffer.")
        return enhance_file(source, *arguments)

    monkeypatch.setattr("rtsep.audio_io.job.enhance_file", broken)
    jobs = [Job(str(tmp_path / "bad.flac"), tmp_path / "a.flac"), Job(str(CLEAN), tmp_path / "b.flac")]
    bad, good = run(jobs, str(model.path))
    assert bad.error == f"{tmp_path / 'bad.flac'} failed unexpectedly (error: unpack requires a buffer)."
    assert (bad.exit_code, good.error) == (1, None)


def test_what_progress_raises_stops_the_batch(tmp_path, model):
    def stop(number, done, total):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run([Job(str(CLEAN), tmp_path / "a.flac")], str(model.path), progress=stop)
    assert list(tmp_path.iterdir()) == []
