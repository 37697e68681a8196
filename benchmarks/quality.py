"""Quality of the shipped model beside the noisy input and every peer that is installed, on one test set.

    python -m benchmarks.quality --testset FOLDER [--model M.onnx ...] [--distillmos] [--words] [--json PATH]

Every method is streamed frame by frame at full strength, its delay removed, scored at 16 kHz (PESQ-NB at 8 kHz).
DNSMOS P.835 is among the measures where the package speechmos is installed (or `--dnsmos` names its file);
`--distillmos` and `--words` ask further judges, see `training.evaluation.judges`.
Rows marked "cited" were not run here: they come from cited.json, only for the very files it was measured on.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("bench")

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import rtsep
from benchmarks.cost import parameters
from benchmarks.machine import environment
from benchmarks.peers import PEERS, Peer
from benchmarks.peers.gtcrn import GTCRN
from benchmarks.peers.peer import Run
from rtsep.model import shipped
from training.evaluation import distillmos, dnsmos, evaluate, judges, word_errors
from training.evaluation.evaluate import (
    Enhancer,
    Pair,
    Streamed,
    Untouched,
    cell,
    describe,
    find_pairs,
    score_pairs,
    summarise,
    write_json,
)
from training.one_sentence import one_sentence

MEASURES = ("pesq_wb", "pesq_nb", "stoi", "estoi", "si_sdr")
OPINION = "ovrl"  # beside them where DNSMOS has been measured
MORE = ("sig", "bak", "distillmos", "pes_quiet", "wer")  # in a table of their own, not in the documents
CITED = Path(__file__).with_name("cited.json")


@dataclass(frozen=True)
class Method:
    """One row: its facts (name, version, sample_rate in Hz, latency_ms, parameters) and what makes its enhancer."""

    facts: dict[str, Any]
    make: Callable[[], Enhancer]


def methods(models: Sequence[str], gtcrn: Path | None = None) -> Iterator[Method]:
    """Noisy input, shipped models that put out speech, the models asked for, installed peers, GTCRN's file if given."""
    yield Method({"name": "noisy", "latency_ms": 0.0}, Untouched)
    for model in dict.fromkeys([*shipped(), *models]):  # one that ships may be named too
        loaded = rtsep.load(model)
        if loaded.spec.target != "speech" and model not in models:
            continue  # karaoke has its own benchmark
        about = describe(loaded)
        facts = {
            **about,
            "name": f"rtsep {about['name']}" if model in shipped() else f"{about['name']} ({about['file']})",
        }
        facts |= {"latency_ms": about["algorithmic_latency_ms"], "parameters": parameters(loaded.path)}
        yield Method(facts, partial(Streamed, model))
    for peer in PEERS:
        if peer.installed() and not (gtcrn and peer is GTCRN):
            yield Method({"version": peer.version(), **_about(peer)}, partial(Run, peer))
    if gtcrn:
        GTCRN(str(gtcrn))  # refuse a wrong file before an hour of scoring, not after
        yield Method({"file": gtcrn.name, **_about(GTCRN)}, partial(Run, partial(GTCRN, str(gtcrn))))


def _about(peer: type[Peer]) -> dict[str, Any]:
    latency = peer.latency_ms()
    return {"name": peer.name, "sample_rate": peer.sample_rate, "latency_ms": latency, "parameters": peer.parameters}


def fingerprint(pairs: Sequence[Pair]) -> str:
    """sha256 over the names and bytes of a set's files: cited rows hold for these bytes and no others."""
    found = hashlib.sha256()
    for pair in sorted(pairs, key=lambda pair: pair.name):
        for path in (pair.clean, pair.noisy):
            found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def cited(pairs: Sequence[Pair], results: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Rows of cited.json that were measured on exactly these files: facts and the means under `scores`.

    What is among the `results` needs no citing.
    """
    here = {result["method"]["name"] for result in results}
    content = json.loads(CITED.read_text())
    mine = fingerprint(pairs)
    sets = [name for name, sha in content["sets"].items() if sha == mine]
    rows = [row for row in content["rows"] if row["name"] not in here]
    return [{**row, "scores": row["scores"][name]} for name in sets for row in rows]


def _facts(facts: dict[str, Any]) -> list[str]:
    rate, count = facts.get("sample_rate"), facts.get("parameters")
    size = "-" if count is None else f"{count / 1e6:.2f}M" if count >= 1e6 else f"{count / 1e3:.0f}k"
    return [f"{rate / 1000:g}" if rate else "-", f"{facts['latency_ms']:.2f}", size]


def measured(results: Sequence[dict[str, Any]]) -> list[str]:
    """MEASURES, and DNSMOS OVRL if every result has it: the columns of the documents."""
    return [*MEASURES, *_held((OPINION,), results)]


def _held(names: Sequence[str], results: Sequence[dict[str, Any]]) -> list[str]:
    return [name for name in names if all(name in result["summary"] for result in results)]


def _mean(result: dict[str, Any], measure: str) -> str:
    s = result["summary"][measure]
    missing = "" if s["n"] == result["clips"] else f" ({s['n']} clips)"
    return f"{cell(measure, s['mean'])} [dim]±{cell(measure, (s['high'] - s['low']) / 2)}[/dim]{missing}"


def further_table(name: str, results: Sequence[dict[str, Any]]) -> Table:
    """Methods down, MORE measures across: opinions, what is left in pauses, word errors."""
    table = Table(title=f"{name}: further measures")
    table.add_column("method")
    shown = _held(MORE, results)
    for measure in shown:
        table.add_column(evaluate.MEASURES[measure][0], justify="right")
    for result in results:
        table.add_row(result["method"]["name"], *(_mean(result, measure) for measure in shown))
    return table


def quality_table(name: str, results: Sequence[dict[str, Any]], pairs: Sequence[Pair]) -> Table:
    """Methods down, measures across, with half the width of the 95 % interval; then cited and missing peers."""
    table = Table(title=f"{name}, {len(pairs)} clips")
    table.add_column("method")
    shown = measured(results)
    for title in ("kHz", "latency ms", "parameters", *(evaluate.MEASURES[m][0] for m in shown), "CPU s per s"):
        table.add_column(title, justify="right")
    for result in results:
        cells = [_mean(result, measure) for measure in shown]
        cpu = result["cpu_per_s"]
        table.add_row(result["method"]["name"], *_facts(result["method"]), *cells, f"{cpu:.4f}" if cpu else "-")
    table.add_section()
    for row in cited(pairs, results):
        cells = [cell(measure, row["scores"].get(measure, math.nan)) for measure in shown]
        table.add_row(f"{row['name']} (cited, not run here)", *_facts(row), *cells, "-", style="dim")
    for peer in PEERS:
        if not peer.installed():
            table.add_row(f"{peer.name} (not installed: {peer.install()})", style="dim")
    return table


def measure(method: Method, pairs: Sequence[Pair], workers: int, choice: judges.Choice) -> dict[str, Any]:
    """Facts, summary, every clip, and CPU seconds per second of audio of one method on one set."""
    rows = score_pairs(pairs, method.make, workers, f"{pairs[0].set}: {method.facts['name']}", choice)
    cpu = sum(row["cpu_s"] for row in rows) / sum(row["seconds"] for row in rows)
    return {"method": method.facts, "cpu_per_s": cpu, "clips": len(rows), "summary": summarise(rows), "rows": rows}


def main(
    testset: Annotated[Path, typer.Option(help="Folder with clean/ and noisy/, or a folder of such folders.")],
    model: Annotated[list[str] | None, typer.Option(help="One more model to score; may be repeated.")] = None,
    gtcrn: Annotated[Path | None, typer.Option(help="GTCRN's published stream/onnx_models/gtcrn_simple.onnx.")] = None,
    opinion: Annotated[Path | None, typer.Option("--dnsmos", help=dnsmos.HELP)] = None,
    distill: Annotated[bool, typer.Option("--distillmos", help=distillmos.HELP)] = False,
    words: Annotated[bool, typer.Option("--words", help=word_errors.HELP)] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes to score with.")] = 1,
) -> None:
    """Print the quality table of every method on TESTSET."""
    with one_sentence():
        sets = find_pairs(testset)
        chosen = list(methods(model or [], gtcrn))
        absent = [peer.name for peer in PEERS if not peer.installed()]
        choice = judges.choose(opinion, distill, words)
        report: dict[str, Any] = {"format": 1, **environment(), "not_installed": absent, "sets": {}}
        report |= judges.panel(choice).about
        console = Console()
        if not any(method.facts.get("target") == "speech" for method in chosen):
            console.print("No model that puts out speech is shipped; give one with --model.")
        for name, pairs in sets.items():
            results = [measure(method, pairs, workers, choice) for method in chosen]
            console.print(quality_table(name, results, pairs))
            console.print(further_table(name, results))
            report["sets"][name] = {"sha256": fingerprint(pairs), "measured": results, "cited": cited(pairs, results)}
        if json_path:
            write_json(json_path, report)


if __name__ == "__main__":
    typer.run(main)
