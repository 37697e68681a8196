"""Weights by their names, and the folder of a run: its last checkpoint, its best one, and who trains in it."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from rtsep.errors import InputError
from training.network import Network
from training.network.weight_names import stable_name


def named_weights(network: Network) -> dict[str, Tensor]:
    """All weights, and the statistics of batch norms, by the names that checkpoints have for them."""
    return {stable_name(attribute): weight for attribute, weight in network.state_dict().items()}


def load_weights(network: Network, weights: Mapping[str, Tensor]) -> None:
    """Lays `weights` into `network`; they may be called as they ever were.

    Raises ValueError with one sentence if they are of another architecture.
    """
    attributes = {stable_name(attribute): attribute for attribute in network.state_dict()}
    named = renamed(weights)
    if attributes.keys() != named.keys():
        raise ValueError("The weights are of another architecture.")
    try:
        network.load_state_dict({attributes[name]: weight for name, weight in named.items()})
    except RuntimeError:  # torch lists every shape that differs
        raise ValueError("The weights are of another architecture.") from None


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`weights` by the names of today, whatever they were called when they were written."""
    return {stable_name(name): weight for name, weight in weights.items()}


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """While it lasts no other process trains in the folder `run`; raises InputError if one does."""
    lock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"Another process is training in {run}: wait for it, or use another folder.") from None
    try:
        yield
    finally:
        lock.release()


def save(file: Path, content: dict[str, Any]) -> None:
    """Writes beside, then renames: an interrupted run never loses its last good checkpoint."""
    partial = file.with_suffix(".partial")
    torch.save(content, partial)
    partial.replace(file)


def keep(run: Path, content: dict[str, Any], loss: float, best: float) -> float:
    """Keeps `content` as `checkpoint.pt` and, if its valid `loss` lies below the `best` so far, as `best.pt` too.

    A run that learns its recordings by heart is best before its end. Returns the lowest loss, which the checkpoint also
    holds, as `best`; a loss that is not finite is never the best.
    """
    better = math.isfinite(loss) and loss < best
    best = loss if better else best
    save(run / "checkpoint.pt", content | {"best": best})
    if better:
        partial = run / "best.partial"
        shutil.copyfile(run / "checkpoint.pt", partial)
        partial.replace(run / "best.pt")
    return best


def revision() -> str:
    """The git revision of the code, with + when the tree was changed; `unknown` outside a checkout."""
    here = Path(__file__).parent
    try:
        name, changes = (
            subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "."))
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + ("+" if changes else "")
