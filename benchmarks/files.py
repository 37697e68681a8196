"""How fast files go on one core: `rtsep denoise FILE` of each backend, in turns, in one run.

    python -m benchmarks.files [MODEL ...] [--seconds S] [--repeats N] [--json PATH]

A WAV file of speech in noise is read, enhanced and written, as the program does it, by the compiled backend (eight hops
in one product) and by onnxruntime (hop by hop). Told is audio a second of CPU time of the process, which works with one
thread; on an idle machine that is the wall clock's time too. Nothing here is a pass or a fail.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # read once, when the libraries below are loaded

import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Annotated, Any  # noqa: E402

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
import typer  # noqa: E402
from rich.console import Console  # noqa: E402

import rtsep  # noqa: E402
from benchmarks.limit import spread  # noqa: E402
from benchmarks.machine import environment  # noqa: E402
from rtsep.audio_io.files import enhance_file  # noqa: E402
from rtsep.model import BACKENDS  # noqa: E402
from training.evaluation.evaluate import describe, write_json  # noqa: E402
from training.one_sentence import one_sentence  # noqa: E402

SPEECH = Path(__file__).parents[1] / "tests" / "data" / "demo.noisy.flac"


def sound_file(folder: Path, rate: int, channels: int, seconds: float) -> Path:
    """A 16-bit WAV file of the demo recording, over and over, at a rate."""
    import soxr

    speech, own = soundfile.read(SPEECH, dtype="float32")
    sound = np.resize(soxr.resample(speech, own, rate), round(seconds * rate))
    path = folder / "speech.wav"
    soundfile.write(path, np.stack([sound, 0.6 * np.roll(sound, 37)], 1)[:, :channels], rate)
    return path


def measure(name: str, seconds: float, repeats: int) -> dict[str, Any]:
    """Times real time of each backend, and how many times one is as fast as the other."""
    models = {backend: rtsep.load(name, backend=backend) for backend in BACKENDS}
    spec = models["compiled"].spec
    speeds: dict[str, list[float]] = {backend: [] for backend in models}
    with tempfile.TemporaryDirectory() as folder:
        source = sound_file(Path(folder), spec.sample_rate, spec.channels, seconds)
        for _ in range(repeats):
            for backend, model in models.items():
                target = Path(folder) / f"{backend}.wav"
                began = time.process_time()
                enhance_file(source, target, model, overwrite=True)
                speeds[backend].append(seconds / (time.process_time() - began))
    ratio = [a / b for a, b in zip(speeds["compiled"], speeds["onnxruntime"], strict=True)]
    told = {backend: spread(values) for backend, values in speeds.items()}
    return {"model": describe(models["compiled"]), "times_real_time": told, "compiled / onnxruntime": spread(ratio)}


def main(
    models: Annotated[list[str] | None, typer.Argument(help="Shipped names or .onnx files.")] = None,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Length of the file.")] = 20.0,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="How often all is measured.")] = 7,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
) -> None:
    """Measure how fast files go through MODELS with each backend."""
    with one_sentence():
        console, found = Console(), []
        for name in models or ["denoise", "denoise-small", "karaoke"]:
            found.append(measure(name, seconds, repeats))
            speeds = {backend: f"{value['median']:.1f}" for backend, value in found[-1]["times_real_time"].items()}
            title = f"{found[-1]['model']['name']} {found[-1]['model']['version']}"
            console.print(f"{title}, times real time on one core: {speeds}")
        if json_path:
            write_json(
                json_path, {"format": 1, **environment(), "seconds": seconds, "repeats": repeats, "models": found}
            )


if __name__ == "__main__":
    typer.run(main)
