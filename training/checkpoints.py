"""Weights by their names, and the folder of a run: its last checkpoint, its best one, and who trains in it."""

from __future__ import annotations

import math
import pickle
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from rtsep.errors import InputError, RtsepError
from training.network import Network
from training.network.weight_names import stable_name


@contextmanager
def run_folder(run: Path) -> Iterator[None]:
    """Makes the folder of a run, and takes it away again if nothing came of it: an error before the first file."""
    run.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if {file.name for file in run.iterdir()} <= {".lock"}:
            (run / ".lock").unlink(missing_ok=True)
            run.rmdir()
        raise


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
def exclusive_lock(run: Path) -> Iterator[None]:
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


def read_last(run: Path, device: torch.device) -> dict[str, Any] | None:
    """The last checkpoint of a run, on `device`; None if there is none yet. Raises InputError if it cannot be read."""
    file = run / "checkpoint.pt"
    if not file.exists():
        return None
    try:
        state = torch.load(file, map_location=device, weights_only=True)
        missing = {"weights", "average", "optimizers", "step", "spent", "recipe", "trained_on"} - set(state)
    except (OSError, RuntimeError, EOFError, ValueError, TypeError, KeyError, pickle.UnpicklingError):
        missing = {"all"}
    if missing:
        best = " or go on from best.pt in another folder with --begin" if (run / "best.pt").exists() else ""
        raise InputError(f"{file} is cut or no checkpoint: put a copy of it back, remove it to begin anew,{best}.")
    return state


def save(file: Path, content: dict[str, Any]) -> None:
    """Writes beside, then renames: an interrupted run never loses its last good checkpoint.

    Raises RtsepError, and leaves no half file, where the disk does not take it.
    """
    partial = file.with_suffix(".partial")
    try:
        torch.save(content, partial)
        partial.replace(file)
    except (OSError, RuntimeError) as error:  # torch tells a full disk as a RuntimeError
        partial.unlink(missing_ok=True)
        raise RtsepError(
            f"{file} cannot be written ({_reason(error)}): make room and start the same command again; "
            "the checkpoint before it is kept."
        ) from None


def _reason(error: Exception) -> str:
    """In words; torch's own about a write that was cut short say nothing to anybody."""
    return (error.strerror if isinstance(error, OSError) else None) or "the disk takes no more"


def save_checkpoint(run: Path, content: dict[str, Any], loss: float, best: float) -> float:
    """Keeps `content` as `checkpoint.pt` and, if its valid `loss` lies below the `best` so far, as `best.pt` too.

    A run that learns its recordings by heart is best before its end. Returns the lowest loss, which the checkpoint also
    holds, as `best`; a loss that is not finite is never the best.
    """
    better = math.isfinite(loss) and loss < best
    best = loss if better else best
    save(run / "checkpoint.pt", content | {"best": best})
    if better:
        partial = run / "best.partial"
        try:
            shutil.copyfile(run / "checkpoint.pt", partial)
            partial.replace(run / "best.pt")
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise RtsepError(f"{run / 'best.pt'} cannot be written ({_reason(error)}): make room.") from None
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
