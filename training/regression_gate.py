"""Did a perceptual loss cost the signal? `python -m training.regression_gate CANDIDATE BASE PAIRS`.

A loss made of PESQ raises PESQ at the price of the signal (de Oliveira et al. 2024, arXiv 2406.03460). So a checkpoint
is accepted only if SI-SDR and ESTOI on the valid pairs (`training.data.tools.pairs`) do not fall by more than the
limits below the run without that loss, whatever PESQ says. Exit code 0: accepted, 1: refused.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("bench")

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from training.evaluation import evaluate
from training.one_sentence import one_sentence

LIMITS = {"si_sdr": 0.2, "estoi": 0.005}  # what may be lost: dB, share
SHOWN = ("si_sdr", "estoi", "pesq_wb")


def means(model: str, pairs: Sequence[evaluate.Pair]) -> dict[str, float]:
    """Mean of every measure over the pairs, the model streamed as users run it."""
    rows: list[dict[str, Any]] = evaluate.score_pairs(pairs, partial(evaluate.Streamed, model), label=Path(model).stem)
    return {measure: summary["mean"] for measure, summary in evaluate.summarise(rows).items()}


def lost(candidate: dict[str, float], base: dict[str, float]) -> list[str]:
    """The guarded measures that fell too far; one that is undefined counts as fallen."""
    return [measure for measure, limit in LIMITS.items() if not candidate[measure] >= base[measure] - limit]


def main(
    candidate: Annotated[str, typer.Argument(help="The model in question, an .onnx file.")],
    base: Annotated[str, typer.Argument(help="The model of the same run without the perceptual loss.")],
    pairs: Annotated[Path, typer.Argument(help="A folder of training.data.tools.pairs: clean/ and noisy/.")],
) -> None:
    """Compare two models on valid pairs; fail if the candidate has lost SI-SDR or ESTOI."""
    with one_sentence():
        clips = [pair for some in evaluate.find_pairs(pairs).values() for pair in some]
        scores = {model: means(model, clips) for model in (base, candidate)}
    fallen = lost(scores[candidate], scores[base])
    table = Table(title=f"{len(clips)} pairs")
    table.add_column("model")
    for measure in SHOWN:
        table.add_column(evaluate.speech_metrics.MEASURES[measure][0], justify="right")
    for label, model in (("base", base), ("candidate", candidate)):
        table.add_row(label, *(evaluate.cell(measure, scores[model][measure]) for measure in SHOWN))
    Console().print(table)
    if fallen:
        names = " and ".join(evaluate.speech_metrics.MEASURES[measure][0] for measure in fallen)
        typer.echo(f"Refused: {names} fell by more than the limit; lower the perceptual weight.", err=True)
        raise typer.Exit(1)
    typer.echo("Accepted.")


if __name__ == "__main__":
    typer.run(main)
