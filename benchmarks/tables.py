"""Writes the tables of README.md, of docs/ and of the model cards from the committed results.

    python -m benchmarks.tables [--check]

A document marks where a table goes with `<!-- table NAME -->` (or `<!-- table NAME MODEL -->`) and `<!-- end -->`; what
is between is replaced. So no figure is ever typed by hand, and `--check` (a test runs it) fails when a document and
the results differ.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("bench")

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

import rtsep
from benchmarks.cost import multiply_adds, parameters
from benchmarks.markdown import markdown, results
from benchmarks.quality import measured
from benchmarks.robustness import missed
from benchmarks.speed_tables import SPEED_TABLES
from rtsep.model import shipped
from training.evaluation import evaluate
from training.evaluation.evaluate import cell

ROOT = Path(__file__).parents[1]
CARDS = [file.with_suffix(".md") for file in sorted((ROOT / "rtsep" / "models").glob("*.onnx"))]  # of what ships
DOCUMENTS = (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("results", "methods", "web")), *CARDS)
PARTS = "(?:voice|tune|sound font|music): "  # of made songs, before the licence of each
PLACE = re.compile(r"(<!-- table (\w+)(?: ([\w-]+))? -->\n).*?(<!-- end -->)", re.DOTALL)


def quality() -> str:
    """Every method on both sets: means, with half the width of the 95 % bootstrap interval."""
    parts = []
    for name, found in results("quality")["sets"].items():
        shown = measured(found["measured"])
        rows = []
        for entry in found["measured"]:
            cells = []
            for measure in shown:
                score = entry["summary"][measure]
                half = cell(measure, (score["high"] - score["low"]) / 2)
                cells.append(f"{cell(measure, score['mean'])} ± {half}")
            bold = "**" if entry["method"].get("target") else ""
            rows.append([f"{bold}{entry['method']['name']}{bold}", f"{entry['method']['latency_ms']:.2f}", *cells])
        for entry in found["cited"]:
            cells = [cell(measure, entry["scores"].get(measure, math.nan)) for measure in shown]
            rows.append([f"{entry['name']} (cited)", f"{entry['latency_ms']:.2f}", *cells])
        header = [f"{name}, {found['measured'][0]['clips']} clips", "latency ms"]
        parts.append(markdown([*header, *(evaluate.MEASURES[measure][0] for measure in shown)], rows))
    return "\n".join(parts)


def summary() -> str:
    """README's one table: each method's latency, quality on both sets (means) and cost, as far as they are known."""
    sets = results("quality")["sets"]
    cost = {entry["name"]: entry["cpu_per_s"] for entry in results("throughput")["streams"]}
    measures = ("pesq_wb", "estoi", "si_sdr")
    rows: dict[str, list[str]] = {}
    for found in sets.values():
        for entry in found["measured"]:
            method, scores = entry["method"], {name: entry["summary"][name]["mean"] for name in measures}
            title = f"**{method['name']}**" if method.get("target") else method["name"]
            row = rows.setdefault(title, [f"{method['latency_ms']:.1f}", _share(cost.get(method["name"]))])
            row += [cell(name, scores[name]) for name in measures]
        for entry in found["cited"]:
            row = rows.setdefault(f"{entry['name']} (cited)", [f"{entry['latency_ms']:.1f}", ""])
            row += [cell(name, entry["scores"].get(name, math.nan)) for name in measures]
    titles = [f"{evaluate.MEASURES[name][0]}, {found}" for found in sets for name in measures]
    return markdown(["method", "latency ms", "of one core", *titles], ([name, *cells] for name, cells in rows.items()))


def _share(cpu_per_s: float | None) -> str:
    return "" if cpu_per_s is None else f"{100 * cpu_per_s:.1f} %"


def stability() -> str:
    """Scores of a long stream by pass of the same material, their slope, and how it differs from fresh streams."""
    from benchmarks.stability import signed  # needs scipy

    found = results("stability")
    rows = []
    for name, summary in found["summary"].items():
        noisy, stream = (summary["passes"][kind] for kind in ("noisy", "stream"))
        slopes = [signed(name, summary[key]) for key in ("slope", "slope_of_difference")]
        rows.append([evaluate.MEASURES[name][0], *(cell(name, mean) for mean in (noisy[0], *stream)), *slopes])
    ends = [found["minutes"] * i / found["passes"] for i in range(found["passes"] + 1)]
    spans = [f"min {begin:.1f} to {end:.1f}" for begin, end in itertools.pairwise(ends)]
    header = [f"{found['minutes']:g} minutes", "noisy", *spans, "slope a minute", "less that of fresh streams"]
    equal, count = found["equal"], len(found["rows"])
    rest = "" if equal == count else f"; the largest difference is {found['largest_difference']:.1e}"
    told = f"\n{equal} of {count} segments equal those of fresh streams to the bit{rest}.\n"
    return markdown(header, rows) + told


def model(name: str) -> str:
    """What a shipped model is and was trained on, from the metadata inside its file."""
    spec = rtsep.load(name).spec
    recipe = yaml.safe_load(spec.recipe)
    amount, *corpora = spec.trained_on.splitlines()
    size, products = parameters(shipped()[name]) or 0, multiply_adds(shipped()[name]) or 0
    facts = [
        ["training audio", amount],
        ["seed", str(recipe["training"]["seed"])],
        ["parameters, fixed ones too", f"{size / 1e6:.2f} M"],
        ["multiply-adds", f"{products * spec.sample_rate / spec.hop / 1e9:.3f} G a second"],
        ["weights", f"sha256 `{spec.weights_sha256[:16]}`"],
    ]
    return markdown(["version " + spec.version, ""], facts) + "\n" + _corpora(corpora)


def _corpora(lines: list[str]) -> str:
    """What a model was trained on, a row for each line; but songs that were made of parts, whose licences say "voice:
    MIT; tune: GPL-2", share one row for each kind, which names the licence of every part once."""
    rows: list[list[str]] = []
    made: dict[str, dict[str, int]] = {}
    for line in lines:
        name, length, licence = line.split(", ", 2)  # a licence may hold a comma
        if not re.match(PARTS, licence):
            rows.append([name, length, licence])
            continue
        minutes = made.setdefault(name, {})  # a run that went on with more of the same has said so twice
        minutes[licence] = max(minutes.get(licence, 0), int(length.removesuffix(" min")))
    for name, minutes in made.items():
        parts = {part for licence in minutes for part in re.split(f"; (?={PARTS})", licence)}
        rows.append([name, f"{sum(minutes.values())} min", "; ".join(sorted(parts, reverse=True))])
    return markdown(["corpus", "length", "licence"], sorted(rows))


def pesq_proxy() -> str:
    """How the training's PESQ proxy correlates with the real one."""
    keys = ("pearson", "spearman", "mean_error", "max_error")
    rows = [
        [name, str(found["clips"]), *(f"{found[key]:.3f}" for key in keys)]
        for name, found in results("pesq_proxy")["regimes"].items()
    ]
    return markdown(["clips of", "clips", "Pearson", "Spearman", "mean error", "largest error"], rows)


def ablation() -> str:
    """Every table of the ablation, budget by budget, cells empty where nothing has been run."""
    from benchmarks.ablation import COLUMNS, HOURS, RESULTS, SEEDS, budgets, plan, tables  # needs torch

    parts = []
    for hours in budgets(RESULTS) or [HOURS]:
        for title, rows in tables(plan(SEEDS, hours), RESULTS).items():
            parts.append(markdown([f"{title} ({hours:g} h of audio a run)", *COLUMNS], rows))
    return "\n".join(parts)


def methods() -> str:
    """Every comparison of the methods, cells empty where nothing has been run."""
    from benchmarks.methods import COMPARISONS, cells  # needs torch

    parts = []
    for title, comparison in COMPARISONS.items():
        (_, *titles), *rows = cells(comparison, 1.0)
        parts.append(markdown([title, *titles], rows))
    return "\n".join(parts)


def activity() -> str:
    """How well the shipped models' heads hear a voice, and what the gate takes."""
    from benchmarks.activity import HEADER, cells  # needs torch

    rows = [
        [f"{entry['model']['name']}, {name}", *cells(entry)]
        for name, entries in results("activity")["sets"].items()
        for entry in entries
    ]
    return markdown(["streamed, gate of 20 dB", *HEADER.values()], rows)


def karaoke(name: str = "karaoke") -> str:
    """Every method on the songs of the karaoke benchmark, as `name`.json has it; bold is what is trained."""
    from benchmarks.karaoke import HEADER, cells

    found = results(name)
    rows = []
    for entry in found["results"]:
        bold = "**" if entry["kind"] == "model" else ""
        rows.append([f"{bold}{entry['name']}{bold}", *cells(entry)])
    seconds = sum(song["seconds"] for song in found["songs"])
    songs = [song["name"] for song in found["songs"]]
    names = ", ".join(songs) if len(songs) < 4 else f"{len(songs)} songs"
    return markdown([f"{names}, {seconds:.0f} s", *HEADER], rows)


def robustness(name: str = "robustness") -> str:
    """What each model makes of speech that is unlike most: every cell, and whether it passes its bar; then peers."""
    found = results(name)
    parts = [markdown(["cells that miss the bar", "of", "missed", "by ESTOI of what is heard"], _missed(found))]
    for entry in found["models"]:
        rows = []
        for row in entry["cells"]:
            passed = {True: "passed", False: "**missed**", None: ""}[row["passed"]]
            if row["passed"] is False and row["heard_passed"]:
                passed = "**missed**, but in what is heard"
            if "missing" in row:
                rows.append([row["cell"], "", "", "", "", f"not run: {row['missing']}"])
            elif "level_change" in row:
                rows.append([row["cell"], "", f"level {row['level_change']:+.1f}", "", "", passed])
            else:
                change = f"{row['si_sdr_in']:.1f} → {row['si_sdr_out']:.1f}"
                words, heard = (f"{row[f'{e}_in']:.3f} → {row[f'{e}_out']:.3f}" for e in ("estoi", "heard_estoi"))
                rows.append([row["cell"], f"{row['clean_si_sdr']:.1f}", change, words, heard, passed])
        title = f"{entry['model']['name']} {entry['model']['version']}"
        parts.append(
            markdown([title, "clean speech dB", "noisy speech dB", "its ESTOI", "of what is heard", "bar"], rows)
        )
    return "\n".join(parts)


def _missed(found: dict[str, Any]) -> list[list[str]]:
    models = [(f"**{entry['model']['name']} {entry['model']['version']}**", entry) for entry in found["models"]]
    peers = [(f"{entry['name']} {entry['version']}", entry) for entry in found.get("peers", [])]
    if ideal := found.get("ideal_masks"):
        peers.append((f"ideal masks, {ideal['window'] / ideal['sample_rate'] * 1e3:.2f} ms", ideal))
    rows = []
    for name, entry in models + peers:
        (count, asked), (heard, _) = missed(entry["cells"]), missed(entry["cells"], "heard_passed")
        rows.append([name, str(asked), str(count), str(heard)])
    return rows


def word_errors() -> str:
    """What a recogniser mistakes behind each strength."""
    found = results("word_errors")
    rows = []
    for name, values in found["summary"].items():
        shown = (f"{mean:.1f} ({low:.1f} to {high:.1f})" for mean, low, high in values.values())
        rows.append([name, *shown])
    clips, words = len(found["rows"]), sum(row["words"] for row in found["rows"])
    model = f"{found['model']['name']} {found['model']['version']}"
    return markdown([f"{model}, {clips} clips, {words:g} words", "word errors %", "more than noisy"], rows)


def web() -> str:
    """What a quantum costs in a browser, beside ONNX Runtime on its own."""
    found = results("web")
    rows = [
        [
            name,
            f"{one['worklet_ms']:.2f}",
            f"{one['page_ms']['p50']:.2f} / {one['page_ms']['p99']:.2f}",
            f"{one['without_browser_ms']['p50']:.2f} / {one['without_browser_ms']['p99']:.2f}",
        ]
        for name, one in found["models"].items()
    ]
    budget = next(iter(found["models"].values()))["budget_ms"]
    header = (
        f"ms for a quantum of {budget:.2f} ms",
        "worklet, mean",
        "page, p50 / p99",
        "without a browser, p50 / p99",
    )
    return markdown(header, rows)


TABLES: dict[str, Callable[..., str]] = {"summary": summary, "quality": quality, "stability": stability, "model": model}
TABLES |= SPEED_TABLES
TABLES |= {"word_errors": word_errors, "robustness": robustness, "methods": methods}
TABLES |= {"activity": activity, "karaoke": karaoke, "pesq_proxy": pesq_proxy, "ablation": ablation, "web": web}


def render(text: str) -> str:
    """The document with every marked table made anew."""

    def table(place: re.Match[str]) -> str:
        _, name, about, _ = place.groups()
        return f"{place[1]}\n{TABLES[name](about) if about else TABLES[name]()}\n{place[4]}"

    return PLACE.sub(table, text)


def main(
    check: Annotated[bool, typer.Option(help="Change nothing; fail if a document is out of date.")] = False,
) -> None:
    """Bring the tables of README.md, docs/ and the model cards up to date with benchmarks/results."""
    stale = []
    for file in DOCUMENTS:
        text = file.read_text(encoding="utf-8")
        fresh = render(text)
        if fresh != text:
            stale.append(file.name)
            if not check:
                file.write_text(fresh, encoding="utf-8")
    if check and stale:
        typer.echo(f"Out of date: {', '.join(stale)}. Run `python -m benchmarks.tables`.", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
