"""DistillMOS: one more predicted mean opinion (1 to 5) of how speech sounds, without its clean twin.

Stahl, Gamper, "Distillation and Pruning for Scalable Self-Supervised Representation-Based Speech Quality Assessment",
ICASSP 2025, arXiv 2502.05356. Network and weights are Microsoft's package distillmos (MIT), run with torch.

The package imports torchaudio, which not every machine has. Only its command line uses it (to read files and to
resample), so where torchaudio is missing an empty module of that name serves, and soxr resamples here in any case:
`pip install --no-deps distillmos xls-r-sqa` beside torch is enough.
"""

from __future__ import annotations

import contextlib
import io
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from rtsep.errors import RtsepError
from training.evaluation.speech_metrics import resample

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

RATE = 16_000

#: measure -> (column title, decimals), as speech_metrics.MEASURES
MEASURES: dict[str, tuple[str, int]] = {"distillmos": ("DistillMOS", 2)}
HELP = "Add DistillMOS, from the package distillmos (needs torch; slow)."


def installed() -> bool:
    """Whether the package, what it is built on, and torch are there."""
    return all(find_spec(name) for name in ("distillmos", "xls_r_sqa", "torch"))


class DistillMOS:
    """The measure. Raises RtsepError where its package is missing."""

    def __init__(self) -> None:
        if not installed():
            raise RtsepError("DistillMOS is not installed: pip install --no-deps distillmos xls-r-sqa (beside torch).")
        import torch

        torch.set_num_threads(1)  # `score_pairs` has a process for every core
        with _torchaudio(), contextlib.redirect_stdout(io.StringIO()):  # it prints a path
            from distillmos import ConvTransformerSQAModel

            self._network = ConvTransformerSQAModel().eval()

    def __call__(self, x: ArrayLike, rate: float) -> dict[str, float]:
        """`MEASURES` of x `[samples]` at `rate` Hz; NaN when x is empty.

        Mean over windows of 7.68 s at most 1 s apart, each scaled to its peak: the level does not count.
        """
        import torch

        audio = resample(x, rate, RATE).astype(np.float32)
        if not len(audio):
            return dict.fromkeys(MEASURES, float("nan"))
        with torch.inference_mode():
            return {"distillmos": float(self._network(torch.from_numpy(audio)[None]))}


@contextlib.contextmanager
def _torchaudio():
    """An empty module where torchaudio is missing, for the time of an import; nobody else gets to see it."""
    if find_spec("torchaudio"):
        yield
        return
    sys.modules["torchaudio"] = ModuleType("torchaudio")
    try:
        yield
    finally:
        del sys.modules["torchaudio"]
