"""What each choice is worth: small runs of equal budget that differ in one thing, at least two seeds each.

    python -m benchmarks.ablation                               the tables, a cell empty until its runs are there
    python -m benchmarks.ablation --run --data MANIFEST.csv     the queue: trains, scores, and writes what is missing
        [--hours H] [--seeds N] [--only CELL ...]

The queue may be stopped and started at any time: a run that has its JSON is not run again unless its recipe has
changed, and one that was cut off goes on from its checkpoint. The budget is `--hours` of audio seen, so that a GPU and
a slow CPU fill the same table; each budget has a folder, benchmarks/results/ablation/HOURSh/CELL-SEED.json, and tables
of its own. Scores are of fixed pairs of the valid split, never of the test set: PESQ-WB, ESTOI and SI-SDR, streamed as
users run a model. What a cell costs is measured by `benchmarks.cell_cost`, for all cells at once.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train", "bench")

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.machine import environment
from rtsep.errors import InputError, RtsepError
from training.checkpoints import revision
from training.data.rows import gather_rows
from training.data.tools.pairs import write_pairs
from training.evaluation import evaluate
from training.export import export, load_checkpoint
from training.one_sentence import one_sentence
from training.recipe import Recipe, parse_recipe, read_recipe
from training.tasks.speech import SpeechTask

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "training" / "recipes" / "ablation.yaml"
RESULTS = Path(__file__).with_name("results") / "ablation"
COST = "cost.json"
MEASURES = ("pesq_wb", "estoi", "si_sdr")
COLUMNS = ("seeds", "PESQ-WB", "ESTOI", "SI-SDR dB", "GMAC/s", "CPU s per s")
SEEDS, HOURS = 2, 3.0
console = Console(stderr=True)

BASE = "base"  # K = 2, λ = 0.3, free masks alone, no proxy, analysis 1024, synthesis 256 (5.33 ms), AdamW


def synthesis(hop: int, analysis: int) -> list[str]:
    """Changes for a synthesis window of two hops; the analysis window must be whole hops, here close to 1024."""
    return [f"network.hop={hop}", f"network.synthesis_window={2 * hop}", f"network.analysis_window={analysis}"]


CELLS: dict[str, list[str]] = {
    BASE: [],
    "one-mask": ["network.sources=[speech]", "losses.snr noise=null"],
    "lambda-0.1": ["losses.snr noise.weight=0.01"],  # λ is its share of the weight of `snr speech`, 0.1
    "lambda-1": ["losses.snr noise.weight=0.1"],
    "sum-to-one": ["network.masks=sum_to_one"],
    "consistent": ["network.consistency=true"],
    "consistency-loss": ["losses+={loss: consistency, weight: 0.03}"],
    "pesq-proxy": ["losses+={loss: pesq_proxy, of: speech, weight: 0.05, from: 0.7}"],
    "metricgan": ["losses+={loss: metricgan, of: speech, weight: 0.3, from: 0.7}"],
    "analysis-256": ["network.analysis_window=256"],
    "analysis-512": ["network.analysis_window=512"],
    "analysis-2048": ["network.analysis_window=2048"],
    "short": ["network.filterbank=short"],
    "batch-norm": ["network.norm=batch"],
    "filters": ["network.filter_bins=20", "network.filter_frames=5"],
    "filterbank-slow": ["training.filterbank_learning_rate_share=0.05"],
    "filterbank-fixed": ["training.filterbank_learning_rate_share=0"],
    "muon": ["training.optimizer=muon"],
    "window-2": synthesis(48, 1056),
    "window-4": synthesis(96, 1056),
    "window-8": synthesis(192, 1152),
    "window-16": synthesis(384, 1152),
    "window-32": synthesis(768, 1536),
}

TABLES: dict[str, dict[str, str]] = {  # title -> label -> cell
    "Masks": {
        "K = 1": "one-mask",
        "K = 2, λ = 0.1": "lambda-0.1",
        "K = 2, λ = 0.3": BASE,
        "K = 2, λ = 1": "lambda-1",
        "K = 2, sum to one": "sum-to-one",
        "K = 2, made consistent": "consistent",
        "K = 2, consistency loss": "consistency-loss",
    },
    "Perceptual part": {"off": BASE, "PESQ proxy": "pesq-proxy", "MetricGAN": "metricgan"},
    "Analysis window, samples": {
        "256": "analysis-256",
        "512": "analysis-512",
        "1024": BASE,
        "2048": "analysis-2048",
    },
    "Filterbank": {
        "folded": BASE,
        "folded, learning rate a twentieth": "filterbank-slow",
        "folded, fixed": "filterbank-fixed",
        "not folded": "short",
    },
    "Normalisation": {"per frame": BASE, "batch, folded away": "batch-norm"},
    "Filters over frames": {"off": BASE, "on, 20 bins, 5 frames": "filters"},
    "Optimiser": {"AdamW": BASE, "Muon": "muon"},
    "Synthesis window, ms": {
        "2": "window-2",
        "4": "window-4",
        "5.33": BASE,
        "8": "window-8",
        "16": "window-16",
        "32": "window-32",
    },
}


@dataclass(frozen=True)
class Run:
    """One training: a cell, a seed, and the recipe that both make of the base recipe."""

    cell: str
    seed: int
    changes: tuple[str, ...]
    recipe: Recipe

    @property
    def name(self) -> str:
        return f"{self.cell}-{self.seed}"

    @property
    def hours(self) -> float:
        """The budget: audio to be seen."""
        return self.recipe.training.hours

    def result(self, results: Path) -> Path:
        """Where its JSON is, or will be: budgets never share a folder."""
        return results / f"{self.hours:g}h" / f"{self.name}.json"

    @property
    def sha256(self) -> str:
        """Of the recipe's text: names the folder it is trained in."""
        return hashlib.sha256(self.recipe.text.encode()).hexdigest()


def plan(seeds: int, hours: float, base: Path = RECIPE) -> list[Run]:
    """Every run, all cells of the first seed before the second: an interrupted queue leaves whole tables."""
    runs = []
    for seed in range(seeds):
        for cell, changes in CELLS.items():
            told = [f"training.hours={hours}", f"training.seed={seed}", *changes]
            runs.append(Run(cell, seed, tuple(told), read_recipe(base, told)))
    return runs


def recorded(run: Run, results: Path) -> dict[str, Any] | None:
    """The run's result, or None if it has not been run with this recipe.

    A result holds the whole recipe, which is migrated as it is read: what was measured stays so when keys are renamed.
    """
    try:
        found = json.loads(run.result(results).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if found.get("budget_hours") != run.hours or "recipe" not in found:
        return None
    return found if parse_recipe(found["recipe"]).same_as(run.recipe) else None


def budgets(results: Path) -> list[float]:
    """Hours of every budget that has a result, in order."""
    return sorted({float(file.parent.name[:-1]) for file in results.glob("*h/*.json")})


def check_budget(runs: Sequence[Run]) -> None:
    """InputError for a budget that ends before the learning rate is warm: its scores would say nothing."""
    for run in runs:
        spec = run.recipe.training
        steps = run.hours * 3600 / (spec.batch * run.recipe.mix.seconds)
        if steps <= spec.warmup_steps:
            warm = spec.warmup_steps * run.hours / steps
            raise InputError(
                f"{run.hours:g} h of audio are {steps:.0f} steps, all within the warm-up of {spec.warmup_steps}; "
                f"ask for several times {warm:.2g} --hours."
            )


def shape(recipe: Recipe) -> str:
    """A short hash of the network that a recipe describes: what a network costs depends on nothing else.

    Keys that are renamed, or that came later, change no hash.
    """
    return hashlib.sha256(json.dumps(recipe.network.canonical(), sort_keys=True).encode()).hexdigest()[:16]


def costs(results: Path) -> dict[str, dict[str, float]]:
    """`macs_per_s` and `cpu_s_per_s` by `shape`, as `benchmarks.cell_cost` measured them; empty if it has not.

    Each is kept beside the network's part of a recipe, which is migrated as it is read.
    """
    try:
        measured = json.loads((results / COST).read_text(encoding="utf-8"))["networks"]
    except FileNotFoundError:
        return {}
    found = {}
    for each in measured:
        about = {"name": "cost", "target": "speech", "recipe_version": each["recipe_version"]}
        recipe = parse_recipe(yaml.safe_dump(about | {"network": each["network"]}))
        found[shape(recipe)] = {key: each[key] for key in ("macs_per_s", "cpu_s_per_s")}
    return found


def fixed_pairs(data: Path, work: Path, base: Path, cache: Path | None, count: int) -> list[evaluate.Pair]:
    """The pairs of the valid split that every run is scored on, made once by the base recipe.

    Of queues that make them at the same time the first to be done wins: the others throw theirs away.
    """
    folder = work / f"pairs-{count}"
    if not folder.exists():
        recipe = replace(read_recipe(base), rooms=0)
        rows = gather_rows(data, [], [])
        mixer = SpeechTask.build_mixer(recipe, rows, "valid", cache, 20201, torch.device("cpu"))
        with tempfile.TemporaryDirectory(prefix="partial-", dir=work, ignore_cleanup_errors=True) as partial_folder:
            write_pairs(recipe, mixer, Path(partial_folder, "pairs"), count, 6.0)
            try:
                Path(partial_folder, "pairs").rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    return next(iter(evaluate.find_pairs(folder).values()))


def perform(run: Run, data: Path, work: Path, pairs: Sequence[evaluate.Pair], cache: Path | None) -> dict[str, Any]:
    """Trains (or goes on), exports and scores one run. Raises RtsepError if the training fails."""
    folder = work / f"{run.name}-{run.sha256[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "asked.yaml"
    recipe.write_text(run.recipe.text, encoding="utf-8")
    words = [sys.executable, "-m", "training.train", recipe, "--run", folder, "--data", data]
    words += ["--cache", cache] if cache else []
    if subprocess.run([str(word) for word in words], cwd=ROOT).returncode:
        raise RtsepError(f"The training of {run.name} failed; what it said stands above, its folder is {folder}.")
    model = export(folder / "checkpoint.pt", folder / "model.onnx")[0]
    network, _, state = load_checkpoint(folder / "checkpoint.pt")
    rows = evaluate.score_pairs(pairs, partial(evaluate.Streamed, str(model)), label=run.name)
    summary = evaluate.summarise(rows)
    return {
        "format": 1,
        **environment(),
        "cell": run.cell,
        "seed": run.seed,
        "budget_hours": run.hours,
        "changes": list(run.changes),
        "recipe": run.recipe.text,
        "revision": revision(),
        "steps": state["step"],
        "hours": state["hours"],
        "minutes": state["spent"] / 60,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "clips": len(rows),
        "scores": {measure: summary[measure] for measure in MEASURES},
    }


def queue(
    runs: Sequence[Run], data: Path, work: Path, results: Path, base: Path, cache: Path | None, clips: int
) -> Iterator[tuple[Run, dict[str, Any]]]:
    """Performs what is missing, in order, and writes each result as soon as it is there."""
    missing = [run for run in runs if recorded(run, results) is None]
    if not missing:
        return
    check_budget(missing)
    work.mkdir(parents=True, exist_ok=True)
    pairs = fixed_pairs(data, work, base, cache, clips)
    for number, run in enumerate(missing):
        console.print(f"{run.name}: {number + 1} of {len(missing)} runs to do")
        result = perform(run, data, work, pairs, cache)
        run.result(results).parent.mkdir(parents=True, exist_ok=True)
        evaluate.write_json(run.result(results), result)
        yield run, result


def spread(values: Sequence[float], measure: str) -> str:
    """Mean over seeds ± half the range, or an empty cell."""
    if not values:
        return ""
    half = (max(values) - min(values)) / 2
    mean = evaluate.cell(measure, sum(values) / len(values))
    return mean if len(values) == 1 else f"{mean} ± {evaluate.cell(measure, half)}"


def tables(runs: Sequence[Run], results: Path) -> dict[str, list[list[str]]]:
    """Rows of COLUMNS, a table a question, in the order of TABLES; what has not been run is left empty.

    Raises ValueError if the runs are of more than one budget.
    """
    if len({run.hours for run in runs}) > 1:
        raise ValueError("Runs of different budgets cannot share a table.")
    found: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        if (result := recorded(run, results)) is not None:
            found.setdefault(run.cell, []).append(result)
    shapes, known = {run.cell: shape(run.recipe) for run in runs}, costs(results)
    drawn: dict[str, list[list[str]]] = {}
    for title, cells in TABLES.items():
        rows = drawn.setdefault(title, [])
        for label, cell in cells.items():
            done = found.get(cell, [])
            scores = [spread([one["scores"][measure]["mean"] for one in done], measure) for measure in MEASURES]
            cost = known.get(shapes.get(cell, ""))
            spent = [f"{cost['macs_per_s'] / 1e9:.3f}", f"{cost['cpu_s_per_s']:.4f}"] if cost else ["", ""]
            rows.append([label, str(len(done) or ""), *scores, *spent])
    return drawn


def main(
    run: Annotated[bool, typer.Option("--run", help="Perform the runs that are missing.")] = False,
    data: Annotated[Path | None, typer.Option(help="A manifest.csv; needed to run.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds a cell.")] = SEEDS,
    hours: Annotated[float, typer.Option(min=0.001, help="Audio that each run sees: the budget.")] = HOURS,
    only: Annotated[list[str] | None, typer.Option(help="Only this cell; may be repeated.")] = None,
    recipe: Annotated[Path, typer.Option(help="The recipe that every run starts from.")] = RECIPE,
    work: Annotated[Path, typer.Option(help="Folder for runs and pairs.")] = ROOT / "runs" / "ablation",
    results: Annotated[Path, typer.Option(help="Folder of the results, one JSON a run.")] = RESULTS,
    clips: Annotated[int, typer.Option(min=1, help="Pairs of 6 s that every run is scored on.")] = 40,
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded recordings and rooms.")] = None,
) -> None:
    """Print the ablation tables; with --run, fill them first."""
    with one_sentence():
        if unknown := set(only or []) - set(CELLS):
            raise InputError(f"There is no cell {sorted(unknown)[0]}; the cells are {', '.join(CELLS)}.")
        if run and data is None:
            raise InputError("--run needs --data MANIFEST.csv.")
        try:
            runs = [one for one in plan(seeds, hours, recipe) if not only or one.cell in only]
        except (OSError, ValueError) as error:
            raise InputError(str(error)) from None
        if run and data is not None:
            for done, _ in queue(runs, data, work, results, recipe, cache, clips):
                console.print(f"{done.name}: done")
        for title, rows in tables(runs, results).items():
            table = Table(title=f"{title} (small net, {hours:g} h of audio, valid pairs)", title_justify="left")
            table.add_column(title, no_wrap=True)
            for column in COLUMNS:
                table.add_column(column, justify="right")
            for row in rows:
                table.add_row(*row)
            Console().print(table)


if __name__ == "__main__":
    typer.run(main)
