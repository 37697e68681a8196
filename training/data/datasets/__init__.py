"""Public datasets as rows of recordings, one file a dataset: `--dataset NAME=PATH`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from training.data.datasets import (
    ccmixter,
    dns,
    dsd100,
    ikala,
    librimix,
    medleydb,
    musan,
    musdb18,
    slakh,
    stems,
    vctk,
    voicebank,
    wham,
)
from training.data.manifest import Row, read_manifest

DATASETS: dict[str, Callable[[Path], list[Row]]] = {
    "voicebank": voicebank.rows,
    "dns": dns.rows,
    "librimix": librimix.rows,
    "wham": wham.rows,
    "vctk": vctk.rows,
    "musan": musan.rows,
    "musdb18": musdb18.rows,
    "musdb18hq": musdb18.rows,
    "dsd100": dsd100.rows,
    "medleydb": medleydb.rows,
    "ikala": ikala.rows,
    "ccmixter": ccmixter.rows,
    "slakh": slakh.rows,
    "stems": stems.rows,
    "manifest": read_manifest,  # another one beside that of `--data`
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
    """At most `hours` of each kind and split, spread evenly over the rows: banks are held in memory, 350 MB an hour.

    The parts of a song stay together: they are kept, and counted, once.
    """
    kept: list[Row] = []
    groups: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        kind = "song" if row.song else row.kind
        groups.setdefault((kind, row.split), {}).setdefault(row.song or repr(row), []).append(row)
    for members in groups.values():
        share = min(1.0, hours * 3600 / max(sum(parts[0].seconds for parts in members.values()), 1e-9))
        # The n-th row stays where the running total of shares passes a whole number.
        for index, parts in enumerate(members.values()):
            if int((index + 1) * share) > int(index * share):
                kept += parts
    return kept
