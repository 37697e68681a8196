"""Could other tools teach? Scores of each, and of the plain mean of their outputs, on one set of pairs.

    python -m benchmarks.teachers --testset FOLDER [--model NAME] [--json PATH]

Every tool is streamed frame by frame, its delay removed, its output brought to 16 kHz, so that all are aligned to the
sample and a mean of them is one. A mean that scores above each of its parts is a target worth learning from.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("bench")

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.machine import environment
from benchmarks.peers import DTLN, GTCRN, DeepFilterNet3
from benchmarks.peers.peer import Run
from rtsep.errors import InputError
from training.evaluation import dnsmos
from training.evaluation.evaluate import MEASURES, Enhancer, Pair, Streamed, cell, find_pairs, write_json
from training.evaluation.speech_metrics import WIDE_RATE, bootstrap, pesq_wb, resample, si_sdr, stoi
from training.one_sentence import one_sentence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Signal = NDArray[np.float64]

TEACHERS = (DTLN, GTCRN, DeepFilterNet3)


def outputs(noisy: Signal, rate: int, tools: Mapping[str, Enhancer]) -> dict[str, Signal]:
    """The noisy input, what every tool makes of it, and the means of all and of all but the first, at 16 kHz."""
    wide = resample(noisy, rate, WIDE_RATE)
    found = {}
    for name, tool in tools.items():
        enhanced = tool(noisy.astype(np.float32), rate)
        audio = resample(enhanced.audio, enhanced.rate, WIDE_RATE)[: len(wide)]
        found[name] = np.pad(audio, (0, len(wide) - len(audio)))
    means = {}
    for some in (list(found), list(found)[1:]):
        means[f"mean of {' + '.join(some)}"] = np.mean([found[name] for name in some], axis=0)
    return {"noisy": wide, **found, **means}


def score(clean: Signal, estimate: Signal, opinion: dnsmos.DNSMOS | None) -> dict[str, float]:
    """SI-SDR, ESTOI, PESQ-WB and DNSMOS of two signals `[samples]` at 16 kHz."""
    values = {
        "pesq_wb": pesq_wb(clean, estimate, WIDE_RATE),
        "estoi": stoi(clean, estimate, WIDE_RATE, extended=True),
        "si_sdr": si_sdr(clean, estimate),
    }
    return values | (opinion(estimate, WIDE_RATE) if opinion else {})


def score_pairs(pairs: Sequence[Pair], tools: Mapping[str, Enhancer]) -> dict[str, list[dict[str, Any]]]:
    """Rows by method."""
    file = dnsmos.find()
    opinion = dnsmos.DNSMOS(file) if file else None
    rows: dict[str, list[dict[str, Any]]] = {}
    for pair in track(pairs, "scoring", console=Console(stderr=True), transient=True):
        clean, noisy, rate = pair.read()
        reference = resample(clean, rate, WIDE_RATE)
        for name, audio in outputs(noisy.astype(np.float64), rate, tools).items():
            rows.setdefault(name, []).append({"name": pair.name, "snr": pair.snr, **score(reference, audio, opinion)})
    return rows


def main(
    testset: Annotated[Path, typer.Option(help="Folder with clean/ and noisy/, or a folder of such folders.")],
    model: Annotated[str, typer.Option(help="An .onnx file, or the name of a shipped model.")] = "denoise",
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
) -> None:
    """Print the scores of MODEL, of every teacher, and of their means."""
    with one_sentence():
        for teacher in TEACHERS:
            if not teacher.installed():
                raise InputError(f"{teacher.name} is not installed: {teacher.install()}.")
        tools: dict[str, Enhancer] = {model: Streamed(model)}
        tools |= {teacher.name: Run(partial(teacher)) for teacher in TEACHERS}
        report: dict[str, Any] = {"format": 1, **environment(), "sets": {}}
        for title, pairs in find_pairs(testset).items():
            rows = score_pairs(pairs, tools)
            shown = [measure for measure in MEASURES if measure in rows["noisy"][0]]
            table = Table(title=f"{title}, {len(pairs)} clips, 16 kHz")
            table.add_column("method")
            for measure in shown:
                table.add_column(MEASURES[measure][0], justify="right")
            summary = {}
            for name, found in rows.items():
                summary[name] = {measure: bootstrap([row[measure] for row in found]) for measure in shown}
                table.add_row(name, *(cell(measure, summary[name][measure][0]) for measure in shown))
            Console().print(table)
            report["sets"][title] = {"summary": summary, "rows": rows}
        if json_path:
            write_json(json_path, report)


if __name__ == "__main__":
    typer.run(main)
