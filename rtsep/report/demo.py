"""The demonstration behind `make demo`: a noisy recording, what rtsep makes of it, a picture and the figures.

    python -m rtsep.report.demo NOISY CLEAN FOLDER [--model M] [--picture FILE.png]

CLEAN, the same recording without the noise, only tells where the speech pauses; the model never sees it.
`--picture` is for the documents (`make picture`): one more picture, small, that says inside which model made it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import RtsepError
from rtsep.report.machine import machine
from rtsep.report.text import machine_lines

_FRAME_S = 0.020
_BELOW_DB = 40.0  # a frame this far below the loudest one is a pause
_MARGIN = 5  # frames on either side of a pause that do not count, where words die away


def speech_pauses(clean: NDArray[np.float32], sample_rate: int) -> NDArray[np.bool_]:
    """Which samples [samples] of mono ``clean`` lie in a pause of the speech, at least 100 ms away from it."""
    size = round(_FRAME_S * sample_rate)
    frames = clean[: len(clean) // size * size].reshape(-1, size)
    power = np.mean(frames.astype(np.float64) ** 2, axis=1)
    speech = power > np.max(power) * 10 ** (-_BELOW_DB / 10)
    near = np.convolve(speech, np.ones(2 * _MARGIN + 1), "same") > 0
    pauses = np.zeros(len(clean), np.bool_)
    pauses[: len(near) * size] = np.repeat(~near, size)
    return pauses


def level(sound: NDArray[np.float32]) -> float:
    """RMS of ``sound`` in dB re full scale; silence is -120."""
    return float(10 * np.log10(max(float(np.mean(sound.astype(np.float64) ** 2)), 1e-12)))


def demonstrate(
    noisy: Path, clean: Path, folder: Path, model_name: str = "denoise", small: Path | None = None
) -> list[str]:
    """Write the clean WAV and the PNG into ``folder`` (and a small PNG to ``small``); return the lines to print.

    Raises InputError or RtsepError.
    """
    import soundfile

    from rtsep.audio_io.files import enhance_file
    from rtsep.engine.enhance import BACKEND
    from rtsep.model import load
    from rtsep.report.spectrogram import draw
    from rtsep.report.step import measure_compute, probe_latency

    folder.mkdir(parents=True, exist_ok=True)
    model = load(model_name, BACKEND)
    before_wav, after_wav, picture = folder / "noisy.wav", folder / "clean.wav", folder / "spectrogram.png"
    before, rate = soundfile.read(noisy, dtype="float32")
    reference, _ = soundfile.read(clean, dtype="float32")
    soundfile.write(before_wav, before, rate, subtype="PCM_16")
    enhance_file(before_wav, after_wav, model, overwrite=True)
    start = time.perf_counter()
    report = enhance_file(before_wav, after_wav, model, overwrite=True)  # the first run also loads and compiles
    took = time.perf_counter() - start
    after, _ = soundfile.read(after_wav, dtype="float32")
    draw({f"before: {noisy.name}": before, f"after: {after_wav.name}": after}, rate, picture)
    if small:
        made_by = f"{model.spec.name} {model.spec.version}, weights {model.spec.weights_sha256}"
        draw({"before": before, "after": after}, rate, small, dots_per_inch=72, colours=32, comment=made_by)

    pauses = speech_pauses(reference, rate)
    noise_before, noise_after = level(before[pauses]), level(after[pauses])
    samples = probe_latency(model) + 1
    compute = measure_compute(model, 10.0)
    median, p99 = (compute["percent_of_hop"][name] for name in ("p50", "p99"))
    return [
        f"heard        {before_wav} ({report.seconds:.1f} s at {rate} Hz)",
        f"wrote        {after_wav}",
        f"drew         {picture}",
        f"latency      {1000 * samples / model.spec.sample_rate:.2f} ms algorithmic "
        f"({samples} samples at {model.spec.sample_rate} Hz, measured by a probe)",
        f"stream       real-time factor {compute['real_time_factor']:.3f} on one thread; computing a hop takes "
        f"{median:.1f} % (median) and {p99:.1f} % (p99) of its {compute['hop_us'] / 1000:.2f} ms",
        f"file         {report.seconds / took:.1f} times real time, reading and writing included",
        f"noise        in speech pauses {noise_before:.1f} dBFS before, {noise_after:.1f} dBFS after: "
        f"{noise_before - noise_after:.1f} dB less ({pauses.sum() / rate:.1f} s of pauses)",
        *machine_lines(machine()),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m rtsep.report.demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("noisy", type=Path)
    parser.add_argument("clean", type=Path, help="only tells where the speech pauses")
    parser.add_argument("folder", type=Path, help="where the WAVs and the picture go")
    parser.add_argument("--model", default="denoise")
    parser.add_argument("--picture", type=Path, help="a small picture for the documents")
    arguments = parser.parse_args()
    try:
        lines = demonstrate(
            arguments.noisy, arguments.clean, arguments.folder, arguments.model, small=arguments.picture
        )
    except RtsepError as error:
        sys.exit(f"rtsep: {error}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
