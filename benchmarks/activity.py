"""How well the activity head hears a voice, and what the gate that it moves takes away.

    python -m benchmarks.activity --testset FOLDER [--model NAME ...] [--json PATH]

Hop by hop, streamed: the head's probability against what is there in the clean file, with no help from the future. A
hop holds speech where the clean file is less than 30 dB under its loudest hop (soft hops within 8 ms of such a one are
speech too), the definition that the head learned from. The gate is the default one at 20 dB. Pauses in which the file
is not silent count as pauses: test files have little silence.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soxr
import torch
import typer
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata

import rtsep
from benchmarks.machine import environment
from rtsep.engine.gate import Gated
from rtsep.engine.gate_settings import GateSettings
from rtsep.errors import InputError
from rtsep.model import Model, shipped
from training.evaluation.evaluate import Pair, describe, find_pairs, write_json
from training.losses.activity import active_hops
from training.one_sentence import one_sentence

GATE = GateSettings(floor=20.0)
HEADER = {
    "auc": "area under ROC",
    "hit": "speech hops detected",
    "false": "pause hops taken for speech",
    "lost_db": "gate: speech lost dB",
    "onset_db": "gate: first 30 ms of words lost dB",
    "quieter_db": "gate: pauses quieter dB",
}
ONSET_S, PAUSE_S = 0.03, 0.2  # the beginning of a word, after a pause of this length


def gate_levels(model: Model, pair: Pair) -> dict[str, np.ndarray]:
    """Hop by hop, arrays `[hops]`: `speech` (bool), `activity`, and the RMS after the stream `open` and `gated`."""
    clean, noisy, rate = pair.read()
    spec = model.spec
    clean, noisy = (soxr.resample(each, rate, spec.sample_rate) for each in (clean, noisy))
    hops = len(noisy) // spec.hop
    stream, gate = model.stream(block_multiple=spec.hop), Gated(model.stream(block_multiple=spec.hop), GATE)
    activity, levels = np.zeros(hops), np.zeros((2, hops))
    for index, block in enumerate(noisy[: hops * spec.hop].astype(np.float32).reshape(hops, -1)):
        levels[0, index] = np.sqrt(np.mean(np.square(stream.process(block))))
        activity[index] = stream.activity or 0.0
        levels[1, index] = np.sqrt(np.mean(np.square(gate.process(block))))
    voice = torch.from_numpy(clean[: hops * spec.hop] / (np.sqrt(np.mean(noisy**2)) + 1e-9)).float()
    speech = active_hops(voice[None, None], hops)[0, :, 0].numpy() > 0
    late = stream.latency // spec.hop  # the sound of a hop comes out so many hops later
    activity = activity[spec.lookahead // spec.hop :]  # and what is said of it, these hops later
    kept = slice(0, hops - late)
    opened, gated = levels[:, late:]
    return {"speech": speech[kept], "activity": activity[kept], "open": opened, "gated": gated}


def onsets(speech: np.ndarray, hop_s: float) -> np.ndarray:
    """Hops, bool, of the first 30 ms of speech after a pause of 0.2 s."""
    found = np.zeros(len(speech), bool)
    begins = np.flatnonzero(speech[1:] & ~speech[:-1]) + 1
    pause, length = round(PAUSE_S / hop_s), round(ONSET_S / hop_s)
    for begin in begins:
        if begin >= pause and not speech[begin - pause : begin].any():
            found[begin : begin + length] = True
    return found & speech


def measure(model: Model, pairs: Sequence[Pair]) -> dict[str, float]:
    """Over all hops of all pairs: see HEADER. What the gate takes of speech is energy, of pauses the mean of the dB."""
    hop_s = model.spec.hop / model.spec.sample_rate
    found = [gate_levels(model, pair) for pair in pairs]
    speech, activity, opened, gated = (
        np.concatenate([each[name] for each in found]) for name in ("speech", "activity", "open", "gated")
    )
    begins = np.concatenate([onsets(each["speech"], hop_s) for each in found])
    silent = ~speech
    ranks, count = rankdata(activity), int(speech.sum())
    area = (ranks[speech].sum() - count * (count + 1) / 2) / (count * (len(speech) - count))

    def taken(hops: np.ndarray) -> float:
        return float(10 * np.log10(np.sum(opened[hops] ** 2) / (np.sum(gated[hops] ** 2) + 1e-20)))

    return {
        "auc": float(area),
        "hit": float(np.mean(activity[speech] >= GATE.open)),
        "false": float(np.mean(activity[~speech] >= GATE.open)),
        "lost_db": taken(speech),
        "onset_db": taken(begins),
        "quieter_db": float(np.mean(20 * np.log10((opened[silent] + 1e-9) / (gated[silent] + 1e-9)))),
        "hops": len(speech),
        "speech_share": float(np.mean(speech)),
        "onsets": int(np.sum(np.diff(begins.astype(int)) == 1)),
    }


def cells(result: dict[str, Any]) -> list[str]:
    """One row in the order of HEADER."""
    shares = [f"{100 * result[name]:.1f} %" for name in ("hit", "false")]
    return [f"{result['auc']:.3f}", *shares, *(f"{result[name]:.2f}" for name in ("lost_db", "onset_db", "quieter_db"))]


def main(
    testset: Annotated[Path, typer.Option(help="Folder with clean/ and noisy/, or a folder of such folders.")],
    model: Annotated[list[str] | None, typer.Option(help="A shipped name or an .onnx file; may be repeated.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
) -> None:
    """Score the activity head of every shipped model that has one."""
    with one_sentence():
        named = model or [name for name in shipped() if rtsep.load(name).spec.target == "speech"]
        models = [rtsep.load(name) for name in named]
        for each in models:
            if not each.spec.activity:
                raise InputError(f"The model {each.spec.name} does not tell activity.")
        report: dict[str, Any] = {"format": 1, **environment(), "sets": {}}
        table = Table(title="activity and gate")
        for column in ("model", "set", *HEADER.values()):
            table.add_column(column)
        for name, pairs in find_pairs(testset).items():
            report["sets"][name] = []
            for each in models:
                result = measure(each, pairs)
                report["sets"][name].append({"model": describe(each), **result})
                table.add_row(each.spec.name, name, *cells(result))
        Console().print(table)
        if json_path:
            write_json(json_path, report)


if __name__ == "__main__":
    typer.run(main)
