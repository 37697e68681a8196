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
import json
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

import rtsep
from benchmarks.cost import multiply_adds, parameters
from benchmarks.quality import measured
from rtsep.model import shipped
from training.evaluation import evaluate
from training.evaluation.evaluate import cell

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
CARDS = [file.with_suffix(".md") for file in sorted((ROOT / "rtsep" / "models").glob("*.onnx"))]  # of what ships
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "web.md", *CARDS)
PLACE = re.compile(r"(<!-- table (\w+)(?: ([\w-]+))? -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table: first column to the left, figures to the right."""
    titles = list(header)
    lines = [titles, ["---", *["--:"] * (len(titles) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def results(name: str) -> dict[str, Any]:
    """The committed result `name`.json; raises FileNotFoundError if its benchmark has not been run."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


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


def speed() -> str:
    """Time of one call and CPU of a second of audio, beside the peers; then offline files."""
    found = results("throughput")
    rows = []
    for entry in found["streams"]:
        times = [f"{entry[key]:.3f}" for key in ("frame_ms", "p50_ms", "p99_ms")]
        shares = [f"{100 * entry['median_share']:.1f} %", f"{100 * entry['p99_share']:.1f} %"]
        rows.append([entry["name"], *times, *shares, f"{entry['cpu_per_s']:.4f}"])
    header = ["one thread", "frame ms", "median ms", "p99 ms", "median of frame", "p99 of frame", "CPU s a second"]
    offline = found["offline"]
    return (
        markdown(header, rows)
        + f"\nFiles: {offline['times_real_time']:.0f} times real time on one core. "
        + f"Measured on {found['processor']}, {found['cores']} cores.\n"
    )


def limit() -> str:
    """The compiled step beside its bare products and onnxruntime, and the cost of each method, in one run."""
    found = results("limit")

    def told(value: dict[str, float], unit: str = "") -> str:
        return f"{value['median']:.2f}{unit} ({value['least']:.2f} to {value['most']:.2f})"

    ratios = list(found["models"][0]["ratios"])
    rows = [
        [f"{entry['model']['name']} {entry['model']['version']}", *(told(entry["ratios"][ratio]) for ratio in ratios)]
        for entry in found["models"]
    ]
    cost = [
        [entry["name"], told({key: 100 * share for key, share in entry["share_of_core"].items()}, " %")]
        for entry in sorted(found["peers"], key=lambda entry: entry["share_of_core"]["median"])
    ]
    return (
        markdown([f"median of {found['repeats']} (least to most)", *ratios], rows)
        + "\n"
        + markdown(["hop by hop, one thread", "of one core"], cost)
    )


def streams() -> str:
    """How many streams one core serves by one engine."""
    from benchmarks.streams import COLUMNS, cells

    found = results("streams")
    rows = [[f"{entry['model']['name']} {entry['model']['version']}", *cells(entry)] for entry in found["models"]]
    told = f"\nMeasured on {found['processor']} at a load average of {found['load']:.0f} on {found['cores']} cores.\n"
    return markdown([f"one core, median of {found['repeats']} (least to most)", *COLUMNS], rows) + told


def files() -> str:
    """How fast files go by each backend."""
    found = results("files")
    rows = []
    for entry in found["models"]:
        values = (*entry["times_real_time"].values(), entry["compiled / onnxruntime"])
        cells = [f"{value['median']:.1f} ({value['least']:.1f} to {value['most']:.1f})" for value in values]
        rows.append([f"{entry['model']['name']} {entry['model']['version']}", *cells])
    header = [*found["models"][0]["times_real_time"], "compiled / onnxruntime"]
    return markdown([f"times real time, median of {found['repeats']}", *header], rows) + _measured_on(found)


def _by_the_clock(text: str, machine: dict[str, Any]) -> str:
    """A figure by the wall clock, or, where most of that went to other programs, none."""
    return text if machine["load"] <= 2 * machine["cores"] else "machine busy"


def _measured_on(machine: dict[str, Any]) -> str:
    load, cores = machine["load"], machine["cores"]
    return f"\nMeasured on {machine['processor']} at a load average of {load:.0f} on {cores} cores.\n"


def latency() -> str:
    """What the probe of `rtsep bench step` measured."""
    step = results("step")
    rate, found = step["sample_rate"], step["latency"]
    rows = [
        [label, str(found[key]), f"{1000 * found[key] / rate:.2f}"]
        for label, key in (
            ("algorithmic latency", "algorithmic_samples"),
            ("`Stream.process`, blocks of any size", "stream_samples"),
            ("`Stream.process`, blocks of whole hops", "whole_hops_samples"),
        )
    ]
    return markdown([f"measured at {rate} Hz", "samples", "ms"], rows)


def live() -> str:
    """What `rtsep bench live` measured: the round trip, its parts, and blocks lost under four loads."""
    found = results("live")
    slack = f"slack, {found['slack']} blocks" if found["slack"] else "slack: none, inside the callback"
    parts, names = found["budget"]["parts_ms"], {"stream": "stream", "slack": slack}
    rows = [[names.get(name, name), f"{ms:.2f}"] for name, ms in parts.items()]
    rows.append(["**round trip**", f"**{found['budget']['round_trip_ms']:.2f}**"])
    rows.append(["of it added by rtsep", f"{found['budget']['added_ms']:.2f}"])
    loads = [
        [
            entry["load"],
            f"{100 * entry['lost_share']:.2f} %",
            f"{entry['compute_ms']['p99']:.2f}",
            *(
                f"{gaps['p99']:.2f} / {gaps['max']:.2f}"
                for gaps in (entry["gap_ms"], entry["empty_callback"]["gap_ms"])
            ),
        ]
        for entry in found["loads"]
    ]
    period, rate = found["server"]["period"], found["server"]["rate"]
    header = [f"{found['loads'][0]['seconds']:.0f} s each", "blocks lost", "compute p99 ms", "gap p99 / max ms"]
    return (
        markdown([f"JACK, {period} frames at {rate} Hz", "ms"], rows)
        + "\n"
        + markdown([*header, "empty callback's gap p99 / max ms"], loads)
    )


def slack() -> str:
    """What rtsep adds to the delay by slack and block, as `benchmarks.slack_delay` probed it."""
    found = results("slack_delay")
    rate = found["server"]["rate"]
    header = ["frames a block", *(f"slack {blocks}, ms" for blocks in found["slacks"])]
    cells = [[f"{row['period']}", *(f"{1000 * n / rate:.2f}" for n in row["added samples"])] for row in found["rows"]]
    return markdown(header, cells)


def _with(found: dict[str, Any]) -> str:
    """The server, and what else the machine was doing."""
    server, beside = found["server"], found["beside"]
    load = [f"{beside[key]:.0f}" for key in ("load average before", "load average after")]
    return (
        f"\nJACK, {server['period']} frames at {server['rate']} Hz, slack {server['slack']}; "
        f"beside it {beside['what']} (load average {' to '.join(load)} on {found['environment']['cores']} cores).\n"
    )


def soak() -> str:
    """Half an hour in real time, by what `benchmarks.soak` printed once a minute, of each model."""
    parts, cells = [], []
    for found in _of_each_model("soak"):
        rows, first = found["rows"], found["rows"][0]
        for row in [row for row in rows if row["seconds"] % 600 < 60 and row["seconds"] >= 600]:
            cells.append(
                [
                    f"{found['model']['name']} {found['model']['version']}",
                    f"{row['seconds'] / 60:.0f}",
                    f"{row['callbacks']}",
                    f"{row['late']} ({100 * row['late'] / row['callbacks']:.3f} %)",
                    f"{row['xruns']}",
                    f"{row['compute p99 ms']:.2f}",
                    f"{row['memory MB'] - first['memory MB']:+.1f}",
                ]
            )
        parts.append(_with(found))
    header = ["", "minutes", "blocks", "late", "xruns of the server", "compute p99 ms", "memory since minute 1, MB"]
    return markdown(header, cells) + "".join(dict.fromkeys(parts))


def freewheel() -> str:
    """Minutes of speech as fast as they go, every sample held against the offline result, of each model."""
    parts, cells = [], []
    for found in _of_each_model("freewheel"):
        rows, first = found["rows"], found["rows"][0]
        most = max(abs(row["memory MB"] - first["memory MB"]) for row in rows)
        cells.append(
            [
                f"{found['model']['name']} {found['model']['version']}",
                f"{sum(row['speech samples'] for row in rows) / found['server']['rate'] / 60:.0f}",
                f"{sum(row['samples'] for row in rows)}",
                f"{sum(row['differing'] for row in rows)}",
                f"{most:.1f}",
            ]
        )
        parts.append(_with(found))
    header = ["free-wheeling", "minutes of speech", "samples compared", "samples that differ", "memory within, MB"]
    return markdown(header, cells) + "".join(dict.fromkeys(parts))


def _of_each_model(name: str) -> list[dict[str, Any]]:
    """The results of a benchmark that was run with one model after the other: `name`.json, then `name`-MODEL.json."""
    return [results(file.stem) for file in (RESULTS / f"{name}.json", *sorted(RESULTS.glob(f"{name}-*.json")))]


def start() -> str:
    """How soon something happens."""
    found = results("start")
    machine, rows = found["environment"], []
    for name, values in found["runs"].items():
        memory = f"{values['memory']['median']:.0f}" if "memory" in values else ""
        cpu, wall = (
            f"{one['median']:.2f} ({one['least']:.2f} to {one['most']:.2f})"
            for one in (values["cpu_s"], values["wall_s"])
        )
        rows.append([name, cpu, _by_the_clock(wall, machine), memory])
    header = [f"median of {found['repeats']}", "CPU s", "wall clock s", "worker, MB"]
    return markdown(header, rows) + _measured_on(machine)


def batch() -> str:
    """Small files, workers, and memory."""
    found = results("files_batch")
    rows = []
    for entry in found["models"]:
        values = [entry[key] for key in ("small / long", "times as fast", "cpu of several / of one")]
        cells = [f"{value['median']:.2f} ({value['least']:.2f} to {value['most']:.2f})" for value in values]
        cells[1] = _by_the_clock(cells[1], found)
        memory = " / ".join(f"{value:.0f}" for value in entry["memory MB"].values())
        rows.append([f"{entry['model']['name']} {entry['model']['version']}", *cells, memory])
    count = found["models"][0]["workers"]
    header = [
        f"median of {found['repeats']}",
        f"{found['small']} files of 1 s / one file, CPU",
        f"{count} workers / one, speed",
        f"{count} workers / one, CPU",
        f"MB for a file of {' / '.join(found['models'][0]['memory MB'])}",
    ]
    return markdown(header, rows) + _measured_on(found)


def model(name: str) -> str:
    """What a shipped model is and was trained on, from the metadata inside its file."""
    spec = rtsep.load(name).spec
    recipe = yaml.safe_load(spec.recipe)
    amount, *corpora = spec.trained_on.splitlines()
    size, products = parameters(shipped()[name]) or 0, multiply_adds(shipped()[name]) or 0
    facts = [
        ["training audio", amount],
        ["seed", str(recipe["training"]["seed"])],
        ["parameters", f"{size / 1e6:.2f} M"],
        ["multiply-adds", f"{products * spec.sample_rate / spec.hop / 1e9:.3f} G a second"],
        ["weights", f"sha256 `{spec.weights_sha256[:16]}`"],
    ]
    # A licence may hold a comma: three fields, the last takes the rest.
    rows = [[kind_and_name, *rest.split(", ", 1)] for kind_and_name, rest in (line.split(", ", 1) for line in corpora)]
    return markdown(["version " + spec.version, ""], facts) + "\n" + markdown(["corpus", "length", "licence"], rows)


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


TABLES: dict[str, Callable[..., str]] = {
    "summary": summary,
    "quality": quality,
    "stability": stability,
    "speed": speed,
    "limit": limit,
    "streams": streams,
    "files": files,
    "batch": batch,
    "start": start,
    "latency": latency,
    "model": model,
    "live": live,
    "slack": slack,
    "soak": soak,
    "freewheel": freewheel,
}
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
