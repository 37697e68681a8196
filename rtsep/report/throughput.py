"""`rtsep bench files`: how fast recordings are cleaned, file to file, on one core."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rtsep.audio_io.files import enhance_file
from rtsep.model import Model
from rtsep.report.machine import machine


def measure_files(model: Model, paths: Sequence[Path], repeat: int = 3) -> dict[str, Any]:
    """Reading, resampling, the model, writing: seconds of sound a second, the best of ``repeat`` runs for each file.

    Runs in this process, on one thread; ``core_share`` is processor time over wall time, to show that it was one core.
    Without ``paths``, a minute of seeded noise at the model's rate is the recording: cost does not depend on content.
    Raises InputError when a file cannot be read.
    """
    results = []
    with tempfile.TemporaryDirectory(prefix="rtsep-") as folder:
        paths = paths or [_noise(Path(folder) / "noise.wav", model.spec.sample_rate)]
        for path in paths:
            # the first, short run loads what is loaded lazily
            runs = []
            for number in range(repeat + 1):
                wall, cpu = time.perf_counter(), time.process_time()
                report = enhance_file(path, Path(folder) / "out.wav", model, overwrite=True)
                took = time.perf_counter() - wall
                if number:
                    runs.append((took, (time.process_time() - cpu) / took))
            took, share = min(runs)
            results.append(
                {
                    "file": path.name,
                    "sample_rate": report.sample_rate,
                    "channels": report.channels,
                    "seconds": report.seconds,
                    "took_seconds": took,
                    "times_real_time": report.seconds / took,
                    "core_share": share,
                }
            )
    return {"model": model.spec.name, "version": model.spec.version, "files": results, "machine": machine()}


def _noise(path: Path, rate: int, seconds: int = 60) -> Path:
    import numpy as np
    import soundfile

    soundfile.write(path, 0.03 * np.random.default_rng(1).standard_normal(seconds * rate), rate)
    return path
