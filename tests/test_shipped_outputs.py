"""The shipped models put out what they did when their weights were shipped, whatever has been rewritten since.

`data/shipped_outputs.npz` holds every 32nd sample of ten seconds of each model, made before version 0.2.0 by streaming
the demo recording in blocks of 441 samples at 48 kHz. Whoever ships new weights makes its line anew:
`python -m tests.test_shipped_outputs NAME`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

import rtsep

DATA = Path(__file__).parent / "data"
REFERENCE = DATA / "shipped_outputs.npz"
SECONDS, STRIDE, BLOCK = 10, 32, 441


def put_out(name: str) -> np.ndarray:
    """Ten seconds of the demo recording through a shipped model, tail included, float32 `[samples, (channels)]`."""
    model = rtsep.load(name)
    rate, channels = model.spec.sample_rate, model.spec.channels
    sound, own = soundfile.read(DATA / "demo.noisy.flac", dtype="float32")
    sound = soxr.resample(sound, own, rate)[: SECONDS * rate]
    if channels == 2:  # the voice away from the middle
        sound = np.stack([sound, np.roll(sound, 37) * 0.6], 1)
    sound = np.ascontiguousarray(sound, dtype=np.float32)
    stream = model.stream(channels=channels)
    blocks = [stream.process(sound[begin : begin + BLOCK]) for begin in range(0, len(sound), BLOCK)]
    return np.concatenate([*blocks, stream.flush()])


@pytest.mark.parametrize("name", ["denoise", "denoise-small", "denoise-ahead", "karaoke"])
def test_ten_seconds_are_what_they_were(name: str) -> None:
    expected = np.load(REFERENCE)[name]
    found = put_out(name)[::STRIDE]
    assert found.shape == expected.shape and np.abs(expected).max() > 0.05
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


if __name__ == "__main__":
    kept = dict(np.load(REFERENCE))
    np.savez_compressed(REFERENCE, **kept | {name: put_out(name)[::STRIDE] for name in sys.argv[1:]})
