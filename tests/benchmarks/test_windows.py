"""The window curve shows the runs that there are, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from typer import Typer
from typer.testing import CliRunner

from benchmarks import ablation, cell_cost, windows

app = Typer()
app.command()(windows.main)


def record(cell: str, seed: int, pesq: float, folder: Path) -> None:
    """A result as the queue writes it, as far as the curve reads it."""
    run = next(run for run in ablation.plan(2, 3.0) if run.cell == cell and run.seed == seed)
    scores = {name: {"mean": pesq} for name in ablation.MEASURES}
    result = {"recipe": run.recipe.text, "budget_hours": 3.0, "scores": scores}
    file = run.result(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result), encoding="utf-8")


def test_the_curve_is_that_of_the_recorded_runs(tmp_path: Path) -> None:
    results = tmp_path / "results"
    asked = ["--hours", "3", "--results", str(results), "--out", str(tmp_path)]
    asked += ["--picture", str(tmp_path / "windows.svg")]
    nothing = CliRunner().invoke(app, asked)
    assert nothing.exit_code == 2 and "No run of the window curve" in nothing.output
    assert not (tmp_path / "windows.svg").exists()

    record("window-16", 0, 1.6, results)
    record("window-2", 0, 1.2, results)
    record("window-2", 1, 1.3, results)
    record("one-mask", 0, 1.9, results)  # not of the curve
    assert CliRunner().invoke(app, asked).exit_code == 0
    found = json.loads((tmp_path / "windows.json").read_text(encoding="utf-8"))
    assert [(point["window_ms"], point["seed"], point["pesq_wb"]) for point in found["points"]] == [
        (2.0, 0, 1.2),
        (2.0, 1, 1.3),
        (16.0, 0, 1.6),
    ]
    drawn = (tmp_path / "windows.svg").read_bytes()
    assert b"<svg" in drawn
    assert "macs_per_s" not in found["points"][0]
    cost = {"macs_per_s": 1e8, "cpu_s_per_s": 0.01}
    networks = [{**cell_cost.network_of(run.recipe), **cost} for run in ablation.plan(1, 3.0)]
    (results / ablation.COST).write_text(json.dumps({"networks": networks}))
    assert [point["macs_per_s"] for point in windows.points(2, 3.0, results)] == [1e8] * 3
    (results / ablation.COST).unlink()
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert (tmp_path / "windows.svg").read_bytes() == drawn
