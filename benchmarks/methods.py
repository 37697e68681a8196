"""Trains a small version of each method within one budget, and prints the comparisons that its paper makes.

    python -m benchmarks.methods [ROW ...] --run --data MANIFEST.csv [--dataset NAME=PATH ...] --hours 1

A row is a recipe of training/recipes/methods and changes to it. Every row hears as many hours of audio; each writes one
JSON, at once, and rows that have one with the same recipe are not trained again; a training that was stopped goes on.
Give all rows the same manifest and datasets: a result does not tell which it was made of. Scores are of the task's
valid examples, put through the exported model by `rtsep.separate`. What stands beside them is
what the paper reports on its own data: figures of different data can be compared in their direction alone, and where
ours goes the other way the table says so. Rows of instruments need stems of them: `python -m training.data.made_stems
OUT` makes some, for `--dataset manifest=OUT/manifest.csv`.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train", "bench")

import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import rtsep
from benchmarks.machine import environment
from benchmarks.method_scores import MEASURES, VOICES, score_examples
from rtsep.errors import InputError, RtsepError
from training.checkpoints import revision
from training.data.rows import gather_rows
from training.evaluation.evaluate import write_json
from training.export import export, load_checkpoint
from training.one_sentence import one_sentence
from training.recipe import Recipe, parse_recipe, read_recipe
from training.tasks import TASKS

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "training" / "recipes" / "methods"
RESULTS = Path(__file__).with_name("results") / "methods"
CLASSIFIER, CODEC = "event-classifier.pt", "codec-network.pt"  # in the work folder
console = Console(stderr=True)


@dataclass(frozen=True)
class Row:
    """A recipe, what is changed in it, and the tools that must have run before; WORK is the folder of runs.

    With a `shipped` model nothing is trained: it is scored on the examples of the recipe.
    """

    recipe: str
    changes: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    shipped: str = ""


def plain(*changes: str) -> Row:
    """Speech from noise, supervised, without the measure that the recipe ends with, or with another one."""
    return Row("measures", ("losses.quality_net speech=null", *changes))


# Two critics learn five times a step: as wide as in the recipe they take most of the time of an hour's run.
NARROW_CRITICS = tuple(f"losses.critic {source}.width=8" for source in ("speech", "noise"))

ROWS: dict[str, Row] = {
    "supervised-speech": plain(),
    "lstm": plain(*("network.separator=lstm", "network.layers=2", "network.hidden=160", "network.channels=96"),
                  "network.dilations=[1, 2, 4, 8, 16, 32, 64, 1, 2, 4, 8, 16, 32, 64]"),
    "unet": plain("network.separator=unet"),
    "attention": Row("attention"),
    "attention-real": Row("attention", ("network.masks=free",)),
    "free-filterbank": plain("network.filterbank=free", "training.filterbank_learning_rate_share=1"),
    "fixed-filterbank": plain("training.filterbank_learning_rate_share=0"),
    "gammatone": plain("network.filterbank=gammatone"),
    "pitch-frames": plain("network.pitch_frames=2"),
    "pesq-proxy": plain("losses+={loss: pesq_proxy, of: speech, weight: 0.2, from: 0.5}"),
    "metricgan": plain("losses+={loss: metricgan, of: speech, weight: 0.5, from: 0.5}"),
    "quality-net": Row("measures"),
    "black-box": plain("losses+={loss: black_box, of: speech, weight: 2.0, from: 0.5, every: 4}"),
    "codec": Row("codec", (f"losses.codec speech.file=WORK/{CODEC}",), ("codec_network",)),
    "open-unmix": Row("open-unmix"),
    "instrument-activity": Row("instrument-activity", ("network.activity_median=31",)),
    "instrument-activity-off": Row("instrument-activity", ("network.activity=false", "losses.activity=null")),
    "baseline": Row("weakly-informed", ("network.condition=''", "network.side_frames=0", "network.side_width=0")),
    "informed-constant": Row("weakly-informed", ("data.side=constant",)),
    "informed-activity": Row("weakly-informed"),
    "informed-moved": Row("weakly-informed", ("data.side_room=0.5",)),
    "informed-magnitude": Row("weakly-informed", ("data.side=magnitude", "network.side_width=17")),
    "supervised": Row("adversarial", ("data.unlabelled_share=0", *(f"losses.critic {name}=null" for name in
                                      ("speech", "noise")), "losses.additive=null")),
    "critic": Row("adversarial", ("losses.additive=null", *NARROW_CRITICS)),
    "critic-additive": Row("adversarial", NARROW_CRITICS),
    "two-speakers": Row("two-speakers"),
    "deep-clustering": Row("deep-clustering"),
    "one-and-rest": Row("one-and-rest"),
    "mixit": Row("mixit"),
    "mixit-supervised": Row("mixit", ("data.single_share=0.2",)),
    "query-by-class": Row("query-by-class"),
    "query-by-class-heard": Row("query-by-class", (f"data.classifier=WORK/{CLASSIFIER}",), ("event_classifier",)),
    "weak-labels": Row("weak-labels", (f"losses.classifier dog_bark rain sea_waves rooster.file=WORK/{CLASSIFIER}",),
                       ("event_classifier",)),
    "clean-targets": Row("noisy-targets", ("data.targets=clean",)),
    "noisy-targets": Row("noisy-targets"),
    "noise2noise": Row("noisy-targets", ("data.targets=noise2noise",)),
    "bootstrap": Row("noisy-targets", ("data.targets=bootstrap", "data.teacher=denoise-small")),
    "wind": Row("wind"),
    "wind-denoise": Row("wind", shipped="denoise"),
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Rows that a paper holds side by side, the first of them its baseline; `reported` are its figures by `measure`."""

    rows: tuple[str, ...]
    measures: tuple[str, ...]
    measure: str = ""
    reported: dict[str, float] = field(default_factory=dict)
    where: str = ""


SEPARATION = ("si_sdr", "si_sdri", "sdr", "sir", "sar")
MASKED = (*SEPARATION, "pes", "eps", "precision", "recall", "input_sdr", "binary_sdr")
QUALITY = ("pesq_wb", "estoi", "si_sdr", "si_sdri")
COMPARISONS: dict[str, Comparison] = {
    "Separators": Comparison(("supervised-speech", "lstm", "unet", "attention"), QUALITY),
    "Filterbanks": Comparison(("fixed-filterbank", "supervised-speech", "free-filterbank", "gammatone"), QUALITY),
    "Pitch": Comparison(("supervised-speech", "pitch-frames"), QUALITY),
    "Phase-aware outputs": Comparison(("attention-real", "attention"), QUALITY),
    "Measures as losses": Comparison(
        ("supervised-speech", "pesq-proxy", "metricgan", "quality-net", "black-box"), QUALITY
    ),
    "Codec approximation": Comparison(("supervised-speech", "codec"), QUALITY),
    "Songs": Comparison(
        ("open-unmix",),
        MASKED,
        *("sdr", {"open-unmix": 6.11}, "vocals of MUSDB18, where instrument activity has 6.46 (Hung & Lerch 2020)"),
    ),
    "Instruments (made stems)": Comparison(
        ("instrument-activity-off", "instrument-activity"),
        MASKED,
    ),
    "Weakly informed": Comparison(
        ("baseline", "informed-constant", "informed-activity", "informed-moved", "informed-magnitude"),
        ("sdr", "sir", "sar", "pes", "eps"),
        *("pes", {"baseline": -44.9, "informed-activity": -85.2}, "vocals of MUSDB18 (Schulze-Forster et al. 2019)"),
    ),
    "Adversarial, semi-supervised": Comparison(
        ("supervised", "critic", "critic-additive"),
        SEPARATION,
        *("sdr", {"supervised": 6.80, "critic": 7.28, "critic-additive": 7.47}, "vocals (Stoller et al. 2018)"),
    ),
    "Voices of one kind": Comparison(
        ("two-speakers", "deep-clustering", "one-and-rest"), ("si_sdr", "si_sdri", "counted")
    ),
    "Unknown number of voices": Comparison(
        ("one-and-rest",), tuple(f"{measure}_{voices}" for voices in VOICES for measure in ("si_sdr", "counted"))
    ),
    "MixIT": Comparison(("mixit", "mixit-supervised"), ("si_sdr", "si_sdri")),
    "Events": Comparison(("query-by-class", "query-by-class-heard", "weak-labels"), ("si_sdr", "si_sdri")),
    "Without clean speech": Comparison(("clean-targets", "noisy-targets", "noise2noise", "bootstrap"), QUALITY),
    "Wind": Comparison(("wind-denoise", "wind"), ("low_in_pauses", *QUALITY)),
}  # fmt: skip


def recipe_of(name: str, hours: float, work: Path) -> Recipe:
    """The recipe of a row at a budget; the learning rate is warm after a tenth of its steps at the latest."""
    row = ROWS[name]
    file = RECIPES / f"{row.recipe}.yaml"
    changes = [each.replace("WORK", str(work)) for each in row.changes]
    usual = read_unchecked(file)
    steps = hours * 3600 / (usual.training.batch * usual.mix.seconds)
    warm = max(1, min(usual.training.warmup_steps, int(steps / 10)))
    return read_recipe(file, [f"training.hours={hours}", f"training.warmup_steps={warm}", *changes])


def read_unchecked(file: Path) -> Recipe:
    """A recipe that may need files which are still to be made."""
    return parse_recipe(file.read_text(encoding="utf-8"))


def place(name: str, hours: float, results: Path) -> Path:
    """Where the JSON of a row is, or will be: budgets never share a folder."""
    return results / f"{hours:g}h" / f"{name}.json"


def recorded(name: str, hours: float, results: Path) -> dict[str, Any] | None:
    """The result of a row at this budget; None if it has not been run as the row is today."""
    try:
        found: dict[str, Any] = json.loads(place(name, hours, results).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found if found.get("row") == stamp(name, hours) else None


def stamp(name: str, hours: float) -> str:
    """A short hash of what makes a row: its recipe's text, its changes and the budget."""
    row = ROWS[name]
    text = (RECIPES / f"{row.recipe}.yaml").read_text(encoding="utf-8")
    of_model = (rtsep.load(row.shipped).spec.weights_sha256,) if row.shipped else ()
    return hashlib.sha256(repr((text, row.changes, hours, *of_model)).encode()).hexdigest()[:16]


def prepare(row: Row, data: Path, work: Path, cache: Path | None) -> None:
    """Runs the tools that a row needs, once for all rows and budgets."""
    outs = {"event_classifier": CLASSIFIER, "codec_network": CODEC}
    for tool in row.tools:
        out = work / outs[tool]
        if not out.exists():
            run([sys.executable, "-m", f"training.data.tools.{tool}", out, "--data", data], cache, tool)


def run(words: list[Any], cache: Path | None, what: str) -> None:
    """A program of the workshop at the lowest priority; raises RtsepError if it fails."""
    told = ["nice", "-n", "19", *map(str, words), *(["--cache", str(cache)] if cache else [])]
    if subprocess.run(told, cwd=ROOT).returncode:
        raise RtsepError(f"{what} failed; what it said stands above.")


def perform(
    name: str, hours: float, data: Path, datasets: Sequence[str], work: Path, cache: Path | None, clips: int
) -> dict[str, Any]:
    """Trains one row (or goes on) on a manifest and `datasets`, each NAME=PATH, exports and scores it.

    Raises RtsepError if the training fails.
    """
    import torch

    work.mkdir(parents=True, exist_ok=True)
    prepare(ROWS[name], data, work, cache)
    recipe = recipe_of(name, hours, work)
    folder = work / f"{name}-{hours:g}h-{stamp(name, hours)}"
    folder.mkdir(exist_ok=True)
    asked = folder / "asked.yaml"
    asked.write_text(recipe.text, encoding="utf-8")
    if ROWS[name].shipped:
        model, about = rtsep.load(ROWS[name].shipped).path, {"model": ROWS[name].shipped}
    else:
        words = [sys.executable, "-m", "training.train", asked, "--run", folder, "--data", data, "--threads", "1"]
        words += [word for dataset in datasets for word in ("--dataset", dataset)]
        run(words, cache, f"The training of {name}")
        model, about = export(folder / "checkpoint.pt", folder / "model.onnx")[0], facts(folder / "checkpoint.pt")
    task = TASKS[recipe.task](recipe, gather_rows(data, [], [], datasets), cache, torch.device("cpu"))
    scores, count = score_examples(task, model, clips)
    return {
        "format": 1,
        **environment(),
        "name": name,
        "row": stamp(name, hours),
        "budget_hours": hours,
        "recipe": recipe.text.replace(str(work), "WORK"),
        "revision": revision(),
        **about,
        "examples": count,
        "scores": scores,
    }


def facts(checkpoint: Path) -> dict[str, Any]:
    """How long a row was trained, and what its network costs."""
    network, _, state = load_checkpoint(checkpoint)
    return {
        "steps": state["step"],
        "hours": state["hours"],
        "minutes": state["spent"] / 60,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "multiply_adds_per_hop": sum(network.products) / len(network.products),
    }


def absolute(dataset: str) -> str:
    """NAME=PATH with a path that means the same in another folder: training runs in the checkout."""
    name, equals, path = dataset.partition("=")
    return f"{name}{equals}{Path(path).expanduser().resolve()}" if path else dataset


def direction(comparison: Comparison, scores: dict[str, dict[str, float]], name: str) -> str:
    """Whether a row moved from the baseline as the paper says: empty where either is not known."""
    base, reported, measure = comparison.rows[0], comparison.reported, comparison.measure
    if name == base or name not in reported or base not in reported or name not in scores or base not in scores:
        return ""
    theirs, ours = reported[name] - reported[base], scores[name][measure] - scores[base][measure]
    if not math.isfinite(ours):
        return ""
    return "as reported" if theirs * ours > 0 else "differs in direction"


def cells(comparison: Comparison, hours: float, results: Path = RESULTS) -> list[list[str]]:
    """What has been run of a comparison, beside what the paper reports: titles of the columns, then a list a row."""
    done = {name: found for name in comparison.rows if (found := recorded(name, hours, results))}
    scores = {name: found["scores"] for name, found in done.items()}
    titles = ["row", *(MEASURES[measure][0] for measure in comparison.measures)]
    if comparison.reported:
        titles.append(f"{MEASURES[comparison.measure][0]} of {comparison.where}")
    compared = len(comparison.reported) > 1
    if compared:
        titles.append("direction")
    made = [titles]
    for name in comparison.rows:
        row = [name]
        for measure in comparison.measures:
            value = scores.get(name, {}).get(measure, math.nan)
            row.append(f"{value:.{MEASURES[measure][1]}f}" if value is not None and math.isfinite(value) else "")
        if comparison.reported:
            reported = comparison.reported.get(name)
            row.append("" if reported is None else f"{reported:g}")
        if compared:
            row.append(direction(comparison, scores, name))
        made.append(row)
    return made


def table(title: str, comparison: Comparison, hours: float, results: Path) -> Table:
    """The same for a terminal."""
    titles, *rows = cells(comparison, hours, results)
    drawn = Table(title=f"{title} ({hours:g} h of audio a row, valid examples)", title_justify="left")
    for name in titles:
        drawn.add_column(name, justify="left" if name in ("row", "direction") else "right", no_wrap=name == "row")
    for row in rows:
        drawn.add_row(*row)
    return drawn


def main(
    rows: Annotated[list[str] | None, typer.Argument(metavar="ROW...", help="All, if none is named.")] = None,
    run_them: Annotated[bool, typer.Option("--run", help="Train the rows that are missing.")] = False,
    data: Annotated[Path | None, typer.Option(help="A manifest.csv; needed to run.")] = None,
    dataset: Annotated[
        list[str], typer.Option(help="A dataset beside it, NAME=PATH as of training.train; may be said again.")
    ] = [],  # noqa: B006
    hours: Annotated[float, typer.Option(min=0.0005, help="Audio that each row hears: the budget.")] = 1.0,
    work: Annotated[Path, typer.Option(help="Folder of runs.")] = ROOT / "runs" / "methods",
    results: Annotated[Path, typer.Option(help="Folder of results, one JSON a row.")] = RESULTS,
    clips: Annotated[int, typer.Option(min=1, help="Valid examples that a row is scored on.")] = 32,
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded recordings and rooms.")] = None,
) -> None:
    """Print the comparisons of the methods; with --run, train what is missing first."""
    with one_sentence():
        wanted = rows or list(ROWS)
        if unknown := [name for name in wanted if name not in ROWS]:
            raise InputError(f"There is no row {unknown[0]}; the rows are {', '.join(ROWS)}.")
        if run_them and data is None:
            raise InputError("--run needs --data MANIFEST.csv.")
        datasets = [absolute(each) for each in dataset]
        for name in wanted:
            if run_them and data is not None and recorded(name, hours, results) is None:
                console.print(f"{name}: {hours:g} h of audio")
                found = perform(name, hours, data.resolve(), datasets, work.resolve(), cache, clips)
                place(name, hours, results).parent.mkdir(parents=True, exist_ok=True)
                write_json(place(name, hours, results), found)
        shown: Sequence[tuple[str, Comparison]] = [
            (title, each) for title, each in COMPARISONS.items() if set(each.rows) & set(wanted)
        ]
        for title, comparison in shown:
            Console().print(table(title, comparison, hours, results))


if __name__ == "__main__":
    typer.run(main)
