"""DistillMOS: a stub stands in for torchaudio, and the figures order what they should."""

from __future__ import annotations

import math
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from rtsep.errors import RtsepError
from training.evaluation import distillmos, speech_metrics

DATA = Path(__file__).parents[1] / "data"


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillmos, "installed", lambda: False)
    with pytest.raises(RtsepError, match="DistillMOS is not installed: pip install"):
        distillmos.DistillMOS()


@pytest.mark.skipif(not distillmos.installed(), reason="distillmos, xls-r-sqa or torch is not installed")
def test_figures_of_real_speech() -> None:
    judge = distillmos.DistillMOS()
    assert "torchaudio" not in sys.modules or find_spec("torchaudio")
    clean, rate = sf.read(DATA / "demo.clean.flac", dtype="float32")
    noisy, _ = sf.read(DATA / "demo.noisy.flac", dtype="float32")
    # What version 0.9.1 said of these files when this was written.
    assert judge(clean, rate)["distillmos"] == pytest.approx(3.4417, abs=0.01)
    assert judge(noisy, rate)["distillmos"] == pytest.approx(1.7889, abs=0.01)
    assert judge(0.1 * clean, rate)["distillmos"] == pytest.approx(3.4417, abs=0.01)  # the level does not count
    wide = speech_metrics.resample(clean, rate, 48_000)
    assert judge(wide, 48_000)["distillmos"] == pytest.approx(3.4417, abs=0.1)
    assert math.isnan(judge(np.zeros(0), rate)["distillmos"])
