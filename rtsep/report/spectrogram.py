"""Spectrograms of one recording before and after, as a PNG. Needs matplotlib: ``pip install rtsep[report]``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import RtsepError

_FRAME_S = 0.032  # window of the transform
_RANGE_DB = 80.0


def spectrogram(sound: NDArray[np.float32], sample_rate: int) -> tuple[NDArray[np.float64], float]:
    """Levels in dB [bins, frames] of mono ``sound`` [samples], Hann windows of 32 ms; and the frame step in seconds.

    A full-scale sine reads 0 dB. A sound shorter than one window is padded with silence.
    """
    size = round(_FRAME_S * sample_rate)
    step = size // 4
    window = np.hanning(size)
    padded = np.pad(sound, (0, max(0, size - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::step] * window
    magnitude = np.abs(np.fft.rfft(frames)) * 2 / window.sum()
    return 20 * np.log10(np.maximum(magnitude.T, 1e-6)), step / sample_rate


def draw(
    sounds: Mapping[str, NDArray[np.float32]],
    sample_rate: int,
    target: Path,
    dots_per_inch: int = 110,
    colours: int | None = None,
    comment: str = "",
) -> None:
    """One spectrogram below the other, title to mono sound [samples], on one colour scale, into the PNG ``target``.

    The picture is 10 inches wide. ``colours`` (at most 256) makes the file a quarter as large; ``comment`` is kept
    inside it. Raises RtsepError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise RtsepError("Pictures need matplotlib; run `pip install matplotlib`.") from None
    # A Figure of our own, not pyplot: no display, no global state
    figure = Figure(figsize=(10, 3.2 * len(sounds)), layout="constrained")
    axes = figure.subplots(len(sounds), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    levels = {title: spectrogram(sound, sample_rate)[0] for title, sound in sounds.items()}
    top = max(float(level.max()) for level in levels.values())
    for axis, (title, level) in zip(axes, levels.items(), strict=True):
        seconds = len(sounds[title]) / sample_rate
        picture = axis.imshow(
            level,
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, sample_rate / 2000),
            vmin=top - _RANGE_DB,
            vmax=top,
            cmap="magma",
            interpolation="nearest",
        )
        axis.set_title(title)
        axis.set_ylabel("kHz")
    axes[-1].set_xlabel("seconds")
    figure.colorbar(picture, ax=list(axes), label="dB")
    figure.savefig(target, dpi=dots_per_inch, metadata={"Comment": comment})
    if colours:
        from PIL import Image, PngImagePlugin

        chunks = PngImagePlugin.PngInfo()
        chunks.add_text("Comment", comment)
        with Image.open(target) as whole:
            reduced = whole.convert("RGB").quantize(colours)
        reduced.save(target, optimize=True, pnginfo=chunks)
