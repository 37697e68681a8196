"""The recordings that a run may use: rows of manifests, folders and datasets, without those of the test split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.data.datasets import read_dataset
from training.data.manifest import Row, read_manifest, scan_folder


def gather_rows(
    data: Path | None, speech: list[Path], noise: list[Path], datasets: Sequence[str] = (), hours: float = 20.0
) -> list[Row]:
    """Rows of the manifest, the plain folders and the datasets (`NAME=PATH`), without those of the test split."""
    rows = read_manifest(data) if data else []
    # A folder may hold what the manifest keeps for testing.
    hidden = {row.path.resolve() for row in rows if row.split == "test"}
    rows += [row for folder in speech for row in scan_folder(folder, "speech", hidden=hidden)]
    rows += [row for folder in noise for row in scan_folder(folder, "noise", hidden=hidden)]
    rows += [row for dataset in datasets for row in read_dataset(dataset, hours)]
    return [row for row in rows if row.split != "test"]
