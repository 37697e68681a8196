"""Side information in a file: a sequence of numbers, a frame a row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtsep.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_side(path: Path) -> NDArray[Any]:
    """[frames, width] float32 of a .npy, or of rows of numbers between commas; raises InputError for anything else."""
    import numpy as np

    try:
        if path.suffix.lower() == ".npy":
            found = np.load(path, allow_pickle=False)
        else:
            found = np.loadtxt(path, delimiter=",", ndmin=2)
        values = np.asarray(found, np.float32)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except (OSError, ValueError, EOFError):
        raise InputError(
            f"{path} holds no numbers; side information is a .npy or rows of numbers between commas."
        ) from None
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or not values.size:
        raise InputError(f"{path} has shape {list(values.shape)}; side information is [frames, width].")
    return values
