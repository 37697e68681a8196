"""The benchmark of the PESQ proxy, on a handful of clips of the tiny manifest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("pesq")

from benchmarks import pesq_proxy
from training.data.manifest import read_manifest

TINY = Path(__file__).parents[1] / "data" / "tiny" / "manifest.csv"


def run(*arguments: object):
    app = typer.Typer()
    app.command()(pesq_proxy.main)
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, [str(argument) for argument in arguments])


def test_few_clips_and_their_json(tmp_path: Path) -> None:
    file = tmp_path / "results" / "proxy.json"
    done = run("--data", TINY, "--clips", 6, "--seconds", 2, "--json", file)
    assert done.exit_code == 0, done.output
    found = json.loads(file.read_text())
    assert found["regimes"]["noisy"]["clips"] == found["regimes"]["enhanced"]["clips"] == 6
    assert found["regimes"]["noisy"]["pearson"] > 0.95 and len(found["clips"]) == 12
    assert {clip["method"] for clip in found["clips"]} == {"noisy", "spectral subtraction", "Wiener"}
    assert "Spearman" in done.output and "Wiener" in done.output


def test_the_test_split_serves_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(pesq_proxy, "decode", lambda row: opened.append(row) or np.zeros(48000, np.int16))
    for kind in ("speech", "noise"):
        pesq_proxy.pick(read_manifest(TINY), kind, 100, np.random.default_rng(0))
    assert len(opened) == 7 and not [row for row in opened if row.split == "test"]


def test_a_manifest_without_speech_gets_one_sentence(tmp_path: Path) -> None:
    lines = TINY.read_text().splitlines()
    (tmp_path / "manifest.csv").write_text("\n".join([lines[0], *(line for line in lines if "noise" in line)]) + "\n")
    done = run("--data", tmp_path / "manifest.csv", "--clips", 3)
    assert done.exit_code == 2 and "no speech" in done.output


@pytest.mark.parametrize("method", [pesq_proxy.spectral_subtraction, pesq_proxy.wiener])
def test_classical_methods_remove_noise(method: pesq_proxy.Enhance) -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(32000).astype(np.float32) * 0.01
    tone = np.sin(np.arange(32000) * 0.3).astype(np.float32) * (np.arange(32000) > 16000)
    cleaned = method(noise + tone)
    assert cleaned.shape == tone.shape and cleaned.dtype == np.float32
    assert cleaned[2000:14000].std() < 0.5 * noise.std()
    assert np.abs(cleaned - tone)[18000:30000].std() < 0.1
