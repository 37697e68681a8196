"""DNSMOS P.835: what listeners would say of speech (`sig`), background (`bak`), the whole (`ovrl`); no clean twin.

Reddy, Gopal, Cutler, "DNSMOS P.835: A Non-Intrusive Perceptual Objective Speech Quality Metric to Evaluate Noise
Suppressors", ICASSP 2022, arXiv 2110.01763. The network is Microsoft's file `DNSMOS/sig_bak_ovr.onnx` of the
DNS-Challenge repository. It is not part of this project: Microsoft's package speechmos carries it, or the user points
to it. Only that file is taken from the package, whose code needs librosa. Windows, hops and maps are those of
`dnsmos_local.py` there, its rounding included, so that figures can be compared.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rtsep.errors import InputError
from training.evaluation.packaged import packaged_file
from training.evaluation.speech_metrics import resample

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

RATE = 16_000
WINDOW_S = 9.01
WINDOW = int(WINDOW_S * RATE)

#: measure -> (column title, decimals), as scores.MEASURES; predicted mean opinions, 1 to 5
MEASURES: dict[str, tuple[str, int]] = {
    "sig": ("DNSMOS SIG", 2),
    "bak": ("DNSMOS BAK", 2),
    "ovrl": ("DNSMOS OVRL", 2),
}
# From what the network puts out to the opinions, highest power first (dnsmos_local.py, not personalised).
_MAPS = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)
# The personalised network has the same name and shapes, but other maps: its figures would be wrong, not absent.
_PERSONALISED = "9e3a197449ca2177f0997afec3bd6b890117ce2f17b89d6eea7fa0d47272c81c"
HELP = "Microsoft's DNSMOS/sig_bak_ovr.onnx, instead of the one in the package speechmos."


def find() -> Path | None:
    """The network's file in the package speechmos; None where that is not installed."""
    return packaged_file("speechmos", "dnsmos_models/sig_bak_ovr.onnx")


class DNSMOS:
    """The measure, from its ONNX file. Raises InputError for a file that is not the network."""

    def __init__(self, file: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # `score_pairs` has a process for every core
        try:
            content = Path(file).read_bytes()
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no base class of their own
            raise InputError(
                f"{file} cannot be read as DNSMOS's sig_bak_ovr.onnx: {str(error).splitlines()[0]}"
            ) from None
        self.sha256 = hashlib.sha256(content).hexdigest()
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        shapes = [part.shape[1:] for part in (*inputs, *outputs)]
        if shapes != [[WINDOW], [3]] or self.sha256 == _PERSONALISED:
            raise InputError(f"{file} is not DNSMOS's P.835 network; use DNSMOS/sig_bak_ovr.onnx of the DNS-Challenge.")
        self.input = inputs[0].name

    def __call__(self, x: ArrayLike, rate: float) -> dict[str, float]:
        """`MEASURES` of x `[samples]` at `rate` Hz, means over windows; NaN when x is empty.

        Windows of 9.01 s every second; a shorter signal is doubled until it fills one. The level counts.
        """
        audio = resample(x, rate, RATE).astype(np.float32)
        if not len(audio):
            return dict.fromkeys(MEASURES, float("nan"))
        while len(audio) < WINDOW:
            audio = np.concatenate([audio, audio])
        # Both roundings as published: a last window that would just fit, or comes out a sample short, is left out.
        count = int(len(audio) // RATE - WINDOW_S) + 1
        windows = [audio[i * RATE : int((i + WINDOW_S) * RATE)] for i in range(count)]
        raw = [self.session.run(None, {self.input: w[None]})[0][0] for w in windows if len(w) == WINDOW]
        values = (np.polyval(power, column) for power, column in zip(_MAPS, np.array(raw, np.float64).T, strict=True))
        return {name: float(value.mean()) for name, value in zip(MEASURES, values, strict=True)}
