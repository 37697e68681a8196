"""Trains the classifier of sound events that the loss `classifier` and the task `events` listen through.

    python -m training.data.tools.event_classifier OUT.pt --data MANIFEST.csv

Rows whose note names an event (as ESC-10's do) are learnt from: the train split, and of it neither the test split nor
what is held out for validation, on which the accuracy is told.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor
from torch.nn import functional as F

from training.checkpoints import save
from training.data.clip_store import Bank, build_banks
from training.data.rows import gather_rows
from training.losses.event_classifier import EventClassifier
from training.one_sentence import one_sentence

RATE, SECONDS, BATCH = 48000, 2.56, 16


def clips(bank: Bank, classes: tuple[str, ...], seed: int, mixed: float = 0.5) -> Iterator[tuple[Tensor, Tensor]]:
    """Waveforms `[BATCH, samples]` and which classes are in each `[BATCH, classes]`, without end; some of two clips."""
    rng, size = np.random.default_rng(seed), round(SECONDS * bank.rate)
    labels = torch.eye(len(classes))[[classes.index(row.event) for row in bank.rows]]
    while True:
        picks = [bank.pick(rng, BATCH) for _ in range(2)]
        waves = [bank.cut(pick, size, rng, wrap=True) for pick in picks]
        gains = torch.from_numpy(10 ** (rng.uniform(-25, 0, (2, BATCH, 1)) / 20).astype(np.float32))
        gains[1] *= torch.from_numpy(rng.random((BATCH, 1)) < mixed)
        one, two = (
            wave * gain / (wave.square().mean(1, keepdim=True).sqrt() * 10 + 1e-4)
            for wave, gain in zip(waves, gains, strict=True)
        )
        there = [(gain > 0) * labels[pick] for gain, pick in zip(gains, picks, strict=True)]
        yield one + two, torch.maximum(there[0], there[1])


def fit(classifier: EventClassifier, batches: Iterator[tuple[Tensor, Tensor]], steps: int, rate: float = 2e-3) -> float:
    """Trains on clip labels for so many steps; returns the mean loss, nats a class, of the last tenth."""
    optimizer = torch.optim.AdamW(classifier.parameters(), rate)
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        waves, labels = next(batches)
        loss = F.binary_cross_entropy_with_logits(classifier.clip(waves), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses[-max(1, steps // 10) :]))


@torch.no_grad()
def accuracy(classifier: EventClassifier, bank: Bank, classes: tuple[str, ...], batches: int = 8) -> float:
    """Share of pieces of one clip whose class has the highest logit."""
    found = []
    for _, (waves, labels) in zip(range(batches), clips(bank, classes, 987654321, mixed=0.0), strict=False):
        found.append(classifier.clip(waves).argmax(1) == labels.argmax(1))
    return float(torch.cat(found).float().mean())


def main(
    out: Annotated[Path, typer.Argument(help="Where the classifier goes, a .pt file.")],
    data: Annotated[Path, typer.Option(help="A manifest.csv whose notes name events.")],
    steps: Annotated[int, typer.Option(min=1, help="Batches of 16 pieces of 2.56 s.")] = 1500,
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded recordings.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Train a classifier of the events in a manifest and tell its accuracy on what was held out."""
    with one_sentence():
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        rows = [row for row in gather_rows(data, [], []) if row.event]
        classes = tuple(sorted({row.event for row in rows if row.split == "train"}))
        if len(classes) < 2:
            raise ValueError(f"{data} has no notes that name two events at least, such as 001 - Dog bark.")
        known = [row for row in rows if row.event in classes]
        banks = {
            split: build_banks([row for row in known if row.split == split], {}, 0.0, cache).get(RATE)
            for split in ("train", "valid")
        }
        train, valid = banks["train"], banks["valid"]
        if train is None:
            raise ValueError(f"The events of {data} are shorter than half a second, or not of 48000 Hz.")
        classifier = EventClassifier(classes, RATE)
        loss = fit(classifier.train(), clips(train, classes, 0), steps)
        save(out, classifier.packed())
        right = f", {accuracy(classifier.eval(), valid, classes):.0%} of held-out pieces right" if valid else ""
        typer.echo(f"{out}: {len(classes)} classes, loss {loss:.3f}{right}")


if __name__ == "__main__":
    typer.run(main)
