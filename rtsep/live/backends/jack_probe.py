"""A probe through a running system, from a process of its own, and where it comes out."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import RtsepError
from rtsep.live.engine.processes import child_command


def probe(
    sound: NDArray[np.float32], target: str, source: str, *options: str, patience: float = 60.0
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Play ``sound`` [samples] into the JACK port ``target``, recording the port ``source``; "-" is the probe's own.

    Gives the recording, sample beside sample, and rate, period and xruns. Raises RtsepError when that fails, or takes
    ``patience`` seconds longer than the sound.
    """
    with tempfile.TemporaryDirectory() as folder:
        played, recorded = Path(folder) / "played.npy", Path(folder) / "recorded.npy"
        np.save(played, sound)
        arguments = (str(played), str(recorded), target, source, *options)
        command = child_command("rtsep.live.backends.jack_client", *arguments)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=len(sound) / 48000 + patience)
        except subprocess.TimeoutExpired:
            raise RtsepError("The probe did not come back; the JACK server may have stopped.") from None
        if done.returncode:
            raise RtsepError(f"The probe failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}.")
        return np.load(recorded), json.loads(done.stdout.splitlines()[-1])


def delay_of(sound: NDArray[np.float32], recording: NDArray[np.float32], most: int = 1 << 15) -> int:
    """Samples by which ``sound`` comes later in ``recording``: the peak of their cross-correlation."""
    size = 1 << (len(sound) + len(recording) - 1).bit_length()
    spectrum = np.fft.rfft(recording, size) * np.conj(np.fft.rfft(sound, size))
    return int(np.argmax(np.abs(np.fft.irfft(spectrum, size)[:most])))
