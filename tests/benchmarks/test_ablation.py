"""The ablation queue: every cell can be built, one is run, recorded, and not run again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
import yaml
from typer.testing import CliRunner

pytest.importorskip("pesq")

from benchmarks import ablation, cell_cost
from benchmarks.ablation import CELLS, TABLES, plan, spread
from training.data.tools.pairs import write_pairs
from training.evaluation import evaluate
from training.network import Network
from training.recipe import parse_recipe, read_recipe

TINY = Path(__file__).parents[1] / "data" / "tiny" / "manifest.csv"
RECIPE = """
recipe_version: 3
name: tiny
target: speech
network: {analysis_window: 1024, filterbank: short, channels: 12, hidden: 16, dilations: [1, 2, 4]}
data: {rooms: 0, mix: {seconds: 1.28}}
losses:
  - {loss: snr, of: speech, weight: 0.1}
  - {loss: snr, of: noise, weight: 0.03}
  - {loss: compressed_spectrum, of: speech, weight: 8.0}
  - {loss: one_minus_estoi, of: speech, weight: 1.0}
training: {batch: 2, hours: 1, warmup_steps: 2}
"""


def run(*arguments: object):
    app = typer.Typer()
    app.command()(ablation.main)
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, [str(argument) for argument in arguments])


def row_of(output: str, label: str) -> str:
    """What stands beside `label` in a table."""
    return next(line for line in output.splitlines() if label in line).split(label)[1]


def test_every_cell_is_a_network_that_runs_and_differs() -> None:
    runs = plan(1, 6.0)
    assert [one.cell for one in runs] == list(CELLS)
    assert len({one.sha256 for one in runs}) == len(runs)
    assert {cell for cells in TABLES.values() for cell in cells.values()} == set(CELLS)
    for one in runs:
        assert one.recipe.training.hours == 6.0
        spec = one.recipe.network
        wave = torch.randn(1, spec.hop * 10)
        with torch.no_grad():
            assert Network(spec)(wave).shape == (1, len(spec.sources), spec.hop * 10)


def test_seeds_come_in_turn() -> None:
    runs = plan(2, 6.0)
    assert [one.seed for one in runs] == [0] * len(CELLS) + [1] * len(CELLS)
    assert runs[0].recipe.training.seed == 0 and runs[-1].recipe.training.seed == 1


def test_what_the_cells_cost(tmp_path: Path) -> None:
    """Products as they follow from the shape; the wider network takes longer; the tables show both."""
    recipes = {}
    for cell, channels in (("base", 4), ("one-mask", 160)):
        network = {"analysis_window": 256, "filterbank": "short", "sources": ["speech"]}
        network |= {"channels": channels, "hidden": 6 * channels // 4, "dilations": [1]}
        recipes[cell] = parse_recipe(yaml.safe_dump({"name": "tiny", "target": "speech", "network": network}))
    found = cell_cost.measure(recipes, 0.5, 5)
    features, masked = 96 + 129, 129
    bank = 2 * 96 * 256 + 2 * 129 * 256 + 2 * masked * 256
    assert found["base"]["macs_per_s"] == (bank + features * 4 + 2 * 4 * 6 + 4 * masked) * 375
    assert 0 < found["base"]["cpu_s_per_s"] < found["one-mask"]["cpu_s_per_s"]
    assert ablation.costs(tmp_path) == {}


def test_the_tables_show_the_cost_of_the_very_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {cell: CELLS[cell] for cell in ("base", "lambda-1", "window-8", "one-mask")}
    monkeypatch.setattr(ablation, "CELLS", few)
    recipe, results = tmp_path / "tiny.yaml", tmp_path / "results"
    recipe.write_text(RECIPE, encoding="utf-8")
    app = typer.Typer()
    app.command()(cell_cost.main)
    words = ["--seconds", "0.1", "--rounds", "1", "--results", str(results), "--recipe"]
    done = CliRunner().invoke(app, [*words, str(recipe)])
    assert done.exit_code == 0, done.output
    found = ablation.costs(results)
    runs = {run.cell: run for run in plan(1, 1.0, recipe)}
    assert ablation.shape(runs["base"].recipe) == ablation.shape(runs["lambda-1"].recipe)
    assert len(found) < len(runs) and set(found) == {ablation.shape(run.recipe) for run in runs.values()}
    cost = found[ablation.shape(runs["window-8"].recipe)]["cpu_s_per_s"]
    shown = run("--recipe", recipe, "--results", results)
    assert next(line for line in shown.output.splitlines() if line.split()[1:2] == ["8"]).split()[-2] == f"{cost:.4f}"
    # Another recipe, another network: what is known of this one says nothing of it.
    assert f"{cost:.4f}" not in run("--results", results).output
    refused = CliRunner().invoke(app, [*words, str(tmp_path / "no.yaml")])
    assert refused.exit_code == 2 and "no.yaml" in refused.output


def test_spread() -> None:
    assert spread([], "pesq_wb") == ""
    assert spread([1.5], "pesq_wb") == "1.50"
    assert spread([1.5, 1.7], "pesq_wb") == "1.60 ± 0.10"


def test_a_run_is_recorded_and_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    places = ["--recipe", recipe, "--work", tmp_path / "work", "--results", tmp_path / "results", "--seeds", 1]
    words = [*places, "--hours", 0.003, "--clips", 2, "--data", TINY, "--only", "sum-to-one"]
    empty = run(*words)
    assert empty.exit_code == 0
    assert not any(letter.isdigit() for letter in row_of(empty.output, "sum to one"))
    done = run(*words, "--run")
    assert done.exit_code == 0, done.output
    file = tmp_path / "results" / "0.003h" / "sum-to-one-0.json"
    result = json.loads(file.read_text())
    assert result["budget_hours"] == 0.003 and ablation.budgets(tmp_path / "results") == [0.003]
    assert result["clips"] == 2 and result["hours"] == pytest.approx(0.003, rel=0.3)
    assert 1.0 < result["scores"]["pesq_wb"]["mean"] < 4.64
    assert str(tmp_path) not in file.read_text()
    row = row_of(done.output, "sum to one")
    assert f"{result['scores']['si_sdr']['mean']:.2f}" in row

    monkeypatch.setattr(ablation, "perform", lambda *_: pytest.fail("it has been run"))
    again = run(*words, "--run")
    assert again.exit_code == 0 and row_of(again.output, "sum to one") == row
    # Another budget is another experiment: nothing to show for it yet, not even if its file were put there.
    other = run(*words, "--hours", 0.004)
    assert row_of(other.output, "sum to one") == row_of(empty.output, "sum to one")
    wrong = tmp_path / "results" / "0.004h" / file.name
    wrong.parent.mkdir()
    wrong.write_bytes(file.read_bytes())
    assert run(*words, "--hours", 0.004).output == other.output
    with pytest.raises(ValueError, match="different budgets"):
        ablation.tables([*plan(1, 1.0), *plan(1, 2.0)], tmp_path / "results")


def test_tables_of_documents() -> None:
    """What the documents take from results: the proxy's correlations, and the ablation as far as it is run."""
    from benchmarks.tables import TABLES as DOCUMENTED

    proxy = DOCUMENTED["pesq_proxy"]().splitlines()
    cells = [row.strip("| ").split(" | ") for row in proxy[2:]]
    found = {name: [float(figure) for figure in figures] for name, *figures in cells}
    assert found["noisy"][0] >= 500 and found["noisy"][1] >= 0.95
    assert found["enhanced"][0] >= 500 and found["enhanced"][1] >= 0.93
    text = DOCUMENTED["ablation"]()
    assert all(f"| {label} |" in text for cells in TABLES.values() for label in cells)
    # An option of the network that came later and is off must not cost the measured ones their costs.
    measured = ablation.costs(Path(ablation.__file__).parent / "results/ablation")
    assert {ablation.shape(run.recipe) for run in plan(1, 3.0)} <= measured.keys()


def test_what_is_renamed_or_added_changes_no_hash() -> None:
    """These were computed by the first version, with keys of other names."""
    data = Path(__file__).parents[1] / "data"
    for path, changes, expected in (
        (data / "denoise-5.yaml", [], "4b106c69686037cf"),
        (data / "denoise-small-1.yaml", [], "4e40c613bc08ed76"),
        (data / "karaoke-6.yaml", [], "806f7cd34e8141e6"),
        (data / "karaoke-6.yaml", ["network.kernel=4", "network.max_lookahead_dilation=32"], "28619bc3f1bc25f7"),
    ):
        assert ablation.shape(read_recipe(path, changes)) == expected


def test_a_training_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    monkeypatch.setattr(ablation, "fixed_pairs", lambda *_: [])
    places = ["--recipe", recipe, "--work", tmp_path / "work", "--results", tmp_path / "results", "--seeds", 1]
    failed = run(*places, "--only", "base", "--run", "--data", tmp_path / "nothing.csv")
    assert failed.exit_code == 1 and "training of base-0 failed" in failed.output
    assert not (tmp_path / "results").exists()
    cold = run(*places, "--only", "base", "--run", "--data", TINY, "--hours", 0.001)
    assert cold.exit_code == 2 and "within the warm-up" in cold.output


@pytest.mark.parametrize("words, said", [(["--run"], "needs --data"), (["--only", "colour"], "no cell colour")])
def test_bad_calls_get_one_sentence(words: list[str], said: str) -> None:
    done = run(*words)
    assert done.exit_code == 2 and said in done.output


def test_queues_that_make_the_pairs_at_once_share_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    work = tmp_path / "work"
    work.mkdir()
    folders: list[Path] = []

    def make(*_: object) -> list[evaluate.Pair]:
        return ablation.fixed_pairs(TINY, work, recipe, None, 2)

    def while_another_is_quicker(parsed: object, mixer: object, out: Path, *rest: object) -> None:
        folders.append(out)
        if len(folders) == 1:
            make()
        write_pairs(parsed, mixer, out, *rest)  # type: ignore[arg-type]
        if len(folders) == 2 and out == folders[1]:
            (out / "winner").touch()

    monkeypatch.setattr(ablation, "write_pairs", while_another_is_quicker)
    pairs = make()
    assert len(pairs) == 2 and [path.name for path in work.iterdir()] == ["pairs-2"]
    assert (work / "pairs-2" / "winner").exists() and len(folders) == 2
    assert make() == pairs and len(folders) == 2
    # What is no such race is no success.
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(PermissionError):
        ablation.fixed_pairs(TINY, work, recipe, None, 1)
    assert [path.name for path in work.iterdir()] == ["pairs-2"]
