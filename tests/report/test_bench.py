"""The measurements: what they say must be true of the stream they were made with."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import rtsep
from rtsep import RtsepError
from rtsep.cli import app
from rtsep.report.demo import demonstrate, level, speech_pauses
from rtsep.report.spectrogram import spectrogram
from rtsep.report.step import measure_compute, probe_latency, probe_reach
from tests.graphs import Network
from tests.recordings import CLEAN, NOISY, identity_model, random_model


@pytest.fixture(scope="module")
def random(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model"))


SIZES = [
    {},
    {"hop": 128, "analysis_window": 512, "synthesis_window": 256},
    {"hop": 24, "analysis_window": 96, "synthesis_window": 72, "lookahead": 5},
    {"hop": 32, "analysis_window": 32, "synthesis_window": 32, "sample_rate": 16000},
]


@pytest.mark.parametrize("sizes", SIZES)
def test_the_probe_agrees_with_the_stream_to_the_sample(tmp_path, sizes):
    model = rtsep.load(Network(**sizes).save(tmp_path / "m.onnx"))
    latency = probe_latency(model)
    assert latency == model.stream().latency == model.spec.algorithmic_latency - 1
    assert probe_reach(model) == latency
    hop = model.spec.hop
    assert probe_latency(model, hop) == model.stream(block_multiple=hop).latency == latency + 1 - hop


class _Late:
    """A model whose streams come ``late`` samples later than they say, and hear ``early`` samples too soon."""

    def __init__(self, model, late=0, gain=1.0):
        self.spec, self.path, self._model, self._late, self._gain = model.spec, model.path, model, late, gain

    def stream(self, **options):
        inner, late, gain = self._model.stream(**options), self._late, self._gain

        class Stream:
            latency = inner.latency
            _held = np.zeros(late, np.float32)

            def process(self, block):
                out = np.concatenate([self._held, gain * inner.process(block)])
                self._held = out[len(block) :]
                return out[: len(block)]

        return Stream()


def test_the_probe_finds_a_stream_that_is_later_than_it_says(random):
    model = rtsep.load(random)
    assert probe_latency(_Late(model, 3)) == model.stream().latency + 3
    with pytest.raises(RtsepError, match="did not come out"):
        probe_latency(_Late(model, gain=0.5))


def test_the_probe_finds_a_stream_that_hears_the_future(random):
    model = rtsep.load(random)

    class Oracle(_Late):
        def stream(self, **options):
            inner = super().stream(**options)
            process = inner.process
            inner.process = lambda sound: np.roll(process(sound), -1)
            return inner

    with pytest.raises(RtsepError, match="which comes later"):
        probe_reach(Oracle(model))


def test_compute_is_in_order_and_adds_up(random):
    compute = measure_compute(rtsep.load(random), 2.0)
    values = list(compute["microseconds"].values())
    assert values == sorted(values)
    assert values[0] > 0
    assert compute["hops"] == 1000  # the least number, for p99.9
    assert compute["hop_us"] == pytest.approx(128 / 48000 * 1e6)
    assert compute["percent_of_hop"]["p50"] == pytest.approx(100 * values[0] / compute["hop_us"])
    assert 0.2 * values[0] < compute["real_time_factor"] * compute["hop_us"] <= values[-1]
    assert (compute["over_budget_share"] > 0) == (values[-1] > compute["hop_us"])


def test_bench_step_prints_and_writes_json(tmp_path, random):
    target = tmp_path / "step.json"
    result = CliRunner().invoke(app, ["bench", "step", "--model", random, "--seconds", "1", "--json", str(target)])
    assert result.exit_code == 0, result.output
    assert "255 samples =  5.312 ms" in result.stdout
    assert "256 samples =  5.333 ms" in result.stdout
    assert "p99.9" in result.stdout
    written = json.loads(target.read_text())
    assert written["latency"]["algorithmic_samples"] == 256
    assert written["latency"]["whole_hops_samples"] == 128
    cold = written["cold_start"]
    assert cold["total_ms"] > cold["import_ms"] + cold["load_ms"] + cold["stream_ms"]
    assert written["machine"]["versions"]["rtsep"] == rtsep.__version__


def test_bench_files_needs_no_file(random):
    result = CliRunner().invoke(app, ["bench", "files", "--model", random, "--repeat", "1", "--json", "-"])
    (entry,) = json.loads(result.stdout)["files"]
    assert entry["seconds"] == 60.0 and entry["times_real_time"] > 0


def test_bench_files_prints_json_alone(tmp_path, random):
    arguments = ["bench", "files", str(NOISY), "--model", random, "--repeat", "1", "--json", "-"]
    result = CliRunner().invoke(app, arguments)
    (entry,) = json.loads(result.stdout)["files"]
    assert (entry["seconds"], entry["sample_rate"]) == (11.0, 16000)
    assert entry["times_real_time"] == pytest.approx(11.0 / entry["took_seconds"])


def test_bench_of_what_is_no_file_or_model(tmp_path, random):
    for arguments in (
        ["files", str(tmp_path / "none.wav"), "--model", random],
        ["step", "--model", str(NOISY)],
        ["step", "--model", random, "--seconds", "0.1", "--json", str(tmp_path / "no" / "x.json")],
    ):
        result = CliRunner().invoke(app, ["bench", *arguments])
        assert result.exit_code == 2
        assert result.stderr.startswith("rtsep: ")
        assert result.stderr.count("\n") == 1


def test_pauses_are_where_nobody_speaks():
    clean, rate = soundfile.read(CLEAN, dtype="float32")
    pauses = speech_pauses(clean, rate)
    # see ATTRIBUTION.md for where the voices are
    assert pauses[: int(0.9 * rate)].all()
    assert pauses[int(5.2 * rate) : int(5.9 * rate)].all()
    assert level(clean[pauses]) < level(clean[~pauses]) - 40
    assert level(np.zeros(10, np.float32)) == -120
    assert level(np.full(10, 0.1, np.float32)) == pytest.approx(-20, abs=1e-4)


def test_a_full_scale_sine_reads_0_db():
    rate = 16000
    sine = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)
    levels, step = spectrogram(sine, rate)
    assert step == 0.008
    assert levels.max() == pytest.approx(0, abs=0.1)
    assert np.argmax(levels[:, 50]) == round(1000 * 0.032)


def test_the_demo(tmp_path):
    pytest.importorskip("matplotlib")
    lines = demonstrate(NOISY, CLEAN, tmp_path / "demo", identity_model(tmp_path))
    assert (tmp_path / "demo" / "spectrogram.png").read_bytes().startswith(b"\x89PNG")
    assert soundfile.info(tmp_path / "demo" / "clean.wav").frames == soundfile.info(NOISY).frames
    text = "\n".join(lines)
    assert "5.33 ms algorithmic" in text
    assert ": 0.0 dB less" in text  # this model hands its input through
