"""The guard of perceptual training: accepts what kept the signal, refuses what did not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import soundfile
import typer
from typer.testing import CliRunner

pytest.importorskip("pesq")
pytest.importorskip("pystoi")

from tests.graphs import Network
from training import regression_gate

DEMO = Path(__file__).parents[1] / "data"


def test_limits() -> None:
    base = {"si_sdr": 10.0, "estoi": 0.8, "pesq_wb": 2.0}
    assert regression_gate.lost(base, base) == []
    assert regression_gate.lost({"si_sdr": 9.81, "estoi": 0.7951, "pesq_wb": 1.0}, base) == []
    assert regression_gate.lost({"si_sdr": 9.79, "estoi": 0.9, "pesq_wb": 4.0}, base) == ["si_sdr"]
    assert regression_gate.lost({"si_sdr": 12.0, "estoi": 0.7949, "pesq_wb": 4.0}, base) == ["estoi"]
    assert regression_gate.lost({"si_sdr": math.nan, "estoi": 0.8, "pesq_wb": 4.0}, base) == ["si_sdr"]


def test_a_model_that_spoils_the_signal_is_refused(tmp_path: Path) -> None:
    for part in ("clean", "noisy"):
        (tmp_path / "pairs" / part).mkdir(parents=True)
        sound, rate = soundfile.read(DEMO / f"demo.{part}.flac", start=16000, stop=48000)
        soundfile.write(tmp_path / "pairs" / part / "0_valid_mix_snr5.flac", sound, rate)
    good = Network(identity=True, sample_rate=16000).save(tmp_path / "good.onnx")
    bad = Network(sample_rate=16000).save(tmp_path / "bad.onnx")
    app = typer.Typer()
    app.command()(regression_gate.main)
    accepted = CliRunner().invoke(app, [str(good), str(good), str(tmp_path / "pairs")])
    assert accepted.exit_code == 0 and "Accepted" in accepted.output, accepted.output
    refused = CliRunner().invoke(app, [str(bad), str(good), str(tmp_path / "pairs")])
    assert refused.exit_code == 1 and "Refused: SI-SDR" in refused.output
    missing = CliRunner().invoke(app, [str(good), str(good), str(tmp_path / "nothing")])
    assert missing.exit_code == 2 and "no folder" in missing.output
