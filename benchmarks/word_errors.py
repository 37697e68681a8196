"""Word errors of a recogniser behind the denoiser, by strength: what a preset for speech recognition rests on.

    python -m benchmarks.word_errors --testset FOLDER [--model NAME] [--strength max --strength 9] [--json PATH]

Whisper tiny.en hears the clean, the noisy and the enhanced files (see `training.evaluation.word_errors`); what it
hears in the clean file is the reference. English pairs only; by default those of 5 dB and above, where words are left
to lose. Every difference to the noisy input is over the same clips, with its 95 % bootstrap interval.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("bench")

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

import rtsep
from benchmarks.machine import environment
from rtsep.errors import InputError
from rtsep.live.choices import parse_strength
from training.evaluation.evaluate import Pair, Streamed, describe, find_pairs, write_json
from training.evaluation.speech_metrics import bootstrap
from training.evaluation.word_errors import WordErrors
from training.one_sentence import one_sentence

STRENGTHS = ["max", "12", "9", "6"]  # what the preset for speech recognition is chosen among
Interval = tuple[float, float, float]


def transcribe_pairs(pairs: Sequence[Pair], model: str, strengths: Sequence[str]) -> list[dict[str, Any]]:
    """One row a pair: its name, snr, words in the reference, and errors in % of the noisy file and by strength."""
    measure = WordErrors()
    streams = {strength: Streamed(model, parse_strength(strength)) for strength in strengths}
    rows = []
    for pair in track(pairs, "listening", console=Console(stderr=True), transient=True):
        clean, noisy, rate = pair.read()
        heard = measure(clean, rate, noisy, rate)
        errors = {"noisy": heard["wer"]}
        for strength, stream in streams.items():
            enhanced = stream(noisy, rate)
            errors[strength] = measure(clean, rate, enhanced.audio, enhanced.rate)["wer"]
        rows.append({"name": pair.name, "snr": pair.snr, "words": heard["words"], "errors": errors})
    return rows


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Interval]]:
    """By method: errors over all words, and how many more than in the noisy input, both in % with their intervals."""
    words = [row["words"] for row in rows]
    found = {name: np.array([row["errors"][name] for row in rows]) for name in rows[0]["errors"]}
    return {
        name: {
            "errors": bootstrap(errors, weights=words),
            "more_than_noisy": bootstrap(errors - found["noisy"], weights=words),
        }
        for name, errors in found.items()
    }


def main(
    testset: Annotated[Path, typer.Option(help="Folder with clean/ and noisy/, English speech.")],
    model: Annotated[str, typer.Option(help="An .onnx file, or the name of a shipped model.")] = "denoise",
    strength: Annotated[list[str], typer.Option(help="In dB, or max; may be repeated.")] = STRENGTHS,
    snr: Annotated[float, typer.Option(help="Pairs below this, in dB, are left out.")] = 5.0,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
) -> None:
    """Print the table of word errors on TESTSET."""
    with one_sentence():
        pairs = [pair for some in find_pairs(testset).values() for pair in some]
        pairs = [pair for pair in pairs if pair.snr is not None and pair.snr >= snr]
        if not pairs:
            raise InputError(f"{testset} has no pair named with an SNR of {snr:g} dB or more.")
        about = describe(rtsep.load(model))
        rows = transcribe_pairs(pairs, model, strength)
        summary = summarise(rows)
        total = sum(row["words"] for row in rows)
        what = f"{len(rows)} clips of {snr:g} dB and above, {total:g} words"
        table = Table(title=f"{about['name']} {about['version']}, {what}")
        for title in ("strength", "word errors %", "more than noisy"):
            table.add_column(title, justify="left" if title == "strength" else "right")
        for name, values in summary.items():
            cells = (f"{mean:.1f} [dim]\\[{low:.1f}, {high:.1f}][/dim]" for mean, low, high in values.values())
            table.add_row(name, *cells)
        Console().print(table)
        if json_path:
            write_json(json_path, {"format": 1, **environment(), "model": about, "summary": summary, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
