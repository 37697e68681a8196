"""Public datasets as rows of recordings, one file a dataset: `--dataset NAME=PATH`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from training.data.datasets import dns, librimix, musan, vctk, voicebank, wham
from training.data.manifest import Row

DATASETS: dict[str, Callable[[Path], list[Row]]] = {
    "voicebank": voicebank.rows,
    "dns": dns.rows,
    "librimix": librimix.rows,
    "wham": wham.rows,
    "vctk": vctk.rows,
    "musan": musan.rows,
}


def read_dataset(text: str, hours: float = 20.0) -> list[Row]:
    """Rows of the dataset that `NAME=PATH` names, at most `hours` of each kind and split.

    Raises ValueError for another form or name, FileNotFoundError if its files are missing; both say what to do.
    """
    name, _, path = text.partition("=")
    if name not in DATASETS or not path:
        raise ValueError(f"--dataset takes NAME=PATH with NAME one of {', '.join(DATASETS)}, not {text!r}.")
    return thin(DATASETS[name](Path(path).expanduser()), hours)


def thin(rows: Sequence[Row], hours: float) -> list[Row]:
    """At most `hours` of each kind and split, spread evenly over the rows: banks are held in memory, 350 MB an hour."""
    kept: list[Row] = []
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.kind, row.split), []).append(row)
    for members in groups.values():
        share = min(1.0, hours * 3600 / max(sum(row.seconds for row in members), 1e-9))
        # The n-th row stays where the running total of shares passes a whole number.
        kept += [row for index, row in enumerate(members) if int((index + 1) * share) > int(index * share)]
    return kept
