"""How fast files go on one core: `rtsep denoise FILE` of each backend, in turns, in one run.

    python -m benchmarks.files [MODEL ...] [--seconds S] [--repeats N] [--json PATH]
    python -m benchmarks.files --batch [MODEL ...] [--workers N] [--json PATH]

A WAV file of speech in noise is read, enhanced and written, as the program does it, by the compiled backend (eight hops
in one product) and by onnxruntime (hop by hop). Told is audio a second of CPU time of the process, which works with one
thread; on an idle machine that is the wall clock's time too. Nothing here is a pass or a fail.

With --batch: what files of a second each cost beside one file as long as all, in CPU time; how many times as fast so
many workers are as one, by the wall clock, starts included, with files of minutes and with the small ones, for which
the program starts none; and the most memory that a process takes for a file, and for one ten times as long.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # read once, when the libraries below are loaded

import json  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Annotated, Any  # noqa: E402

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
import typer  # noqa: E402
from rich.console import Console  # noqa: E402

import rtsep  # noqa: E402
from benchmarks.limit import spread  # noqa: E402
from benchmarks.machine import environment  # noqa: E402
from rtsep.audio_io import batch as file_batch  # noqa: E402
from rtsep.audio_io.files import enhance_file  # noqa: E402
from rtsep.cli.shared import cores  # noqa: E402
from rtsep.errors import RtsepError  # noqa: E402
from rtsep.model import BACKENDS  # noqa: E402
from training.evaluation.evaluate import describe, write_json  # noqa: E402
from training.one_sentence import one_sentence  # noqa: E402

SMALL, SMALL_S = 60, 1.0  # files of so many seconds
SHORT_S, TIMES_AS_LONG = 10.0, 10  # for the memory
FILES_A_WORKER = 3
SHARED_S = 120.0  # length of the files that workers share
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


# Runs a program from a small process: what the system calls the most memory of a program is no less than its parent's.
_MEASURED = """
import json, resource, subprocess, sys, time
began = time.monotonic()
code = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([code, time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


@dataclass(frozen=True)
class Cost:
    """Of a run of the program: wall clock and CPU time in s, and the most memory that one of its processes took, MB."""

    wall: float
    cpu: float
    memory: float


def run_program(files: Sequence[Path], target: Path, model: str, workers: int = 1) -> Cost:
    """`rtsep denoise` with these files. Raises RtsepError when it fails."""
    command = [sys.executable, "-m", "rtsep", "denoise", "--model", model, "--workers", str(workers), "--overwrite"]
    command += ["-q", "-o", str(target), *map(str, files)]
    done = subprocess.run([sys.executable, "-c", _MEASURED, *command], stdout=subprocess.PIPE, text=True)
    code, *cost = json.loads(done.stdout)
    if code:
        raise RtsepError("The program failed; see above.")
    return Cost(*cost)


def measure_batch(name: str, workers: int, seconds: float, repeats: int) -> dict[str, Any]:
    """What `--batch` tells of one model. seconds: length of the files that several workers share."""
    model = rtsep.load(name, backend="compiled")
    spec, small_share, speed, extra, small_speed = model.spec, [], [], [], []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for sub in ("long", "out"):
            (folder / sub).mkdir()
        whole = sound_file(folder, spec.sample_rate, spec.channels, SMALL * SMALL_S)
        sound, rate = soundfile.read(whole, dtype="int16", always_2d=True)
        small = [folder / f"{number}.wav" for number in range(SMALL)]
        for path, piece in zip(small, np.split(sound, SMALL), strict=True):
            soundfile.write(path, piece, rate)
        short = sound_file(folder / "long", rate, spec.channels, SHORT_S).rename(folder / "short.wav")
        shared = [
            sound_file(folder / "long", rate, spec.channels, seconds).rename(folder / f"shared{number}.wav")
            for number in range(FILES_A_WORKER * workers)
        ]
        long = sound_file(folder / "long", rate, spec.channels, SHORT_S * TIMES_AS_LONG)
        for repeat in range(repeats + 1):
            times = []
            for files in ([whole], small):
                jobs = file_batch.plan([str(path) for path in files], str(folder / "out"))
                began = time.process_time()
                if file_batch.exit_code(file_batch.run(jobs, name, overwrite=True)):
                    raise RtsepError("A file failed.")
                times.append(time.process_time() - began)
            one, several = (run_program(shared, folder / "out", name, count) for count in (1, workers))
            alone, together = (run_program(small, folder / "out", name, count) for count in (1, workers))
            if repeat:  # the first one fills caches
                small_share.append(times[1] / times[0])
                speed.append(one.wall / several.wall)
                extra.append(several.cpu / one.cpu)
                small_speed.append(alone.wall / together.wall)
        memory = [run_program([path], folder / "out", name).memory for path in (short, long)]
    return {
        "model": describe(model),
        "small / long": spread(small_share),
        "workers": workers,
        "times as fast": spread(speed),
        "cpu of several / of one": spread(extra),
        "times as fast, small files": spread(small_speed),
        "memory MB": dict(zip((f"{SHORT_S:.0f} s", f"{SHORT_S * TIMES_AS_LONG:.0f} s"), memory, strict=True)),
    }


def main(
    models: Annotated[list[str] | None, typer.Argument(help="Shipped names or .onnx files.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, max=3600, help="Length of the file; 20, or 120.")] = None,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="How often all is measured.")] = 7,
    batch: Annotated[bool, typer.Option("--batch", help="Small files, workers and memory instead.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="For --batch; 0 is one a core.")] = 0,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write all numbers here.")] = None,
) -> None:
    """Measure how fast files go through MODELS with each backend."""
    with one_sentence():
        console, found = Console(), []
        seconds = seconds or (SHARED_S if batch else 20.0)
        if batch:
            for name in models or ["denoise", "denoise-small"]:
                found.append(measure_batch(name, workers or cores(), seconds, repeats))
                console.print({key: value for key, value in found[-1].items() if key != "model"})
            if json_path:
                values = {"format": 1, **environment(), "seconds": seconds, "repeats": repeats, "small": SMALL}
                write_json(json_path, {**values, "models": found})
            return
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
