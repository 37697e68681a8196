"""Whole signals: `enhance` for an array, `Enhancer` for a sound that comes in pieces and may be hours long.

`Enhancer` is what files are made with. Its output is aligned with its input and exactly as long:

>>> enhancer = Enhancer(model, sample_rate=44100, channels=2)
>>> for block in blocks:                        # [samples, channels] float32, any lengths
...     write(enhancer.process(block))          # what is ready by now, [samples, channels]; may be empty
>>> write(enhancer.flush())                     # the rest; then the enhancer is as new
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rtsep.engine.checks import checked_signal
from rtsep.errors import InputError
from rtsep.model import Model, SpectralModel, load
from rtsep.model_spec import MAX_CHANNELS, is_mono

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rtsep.engine.song_enhancer import SongEnhancer

BACKEND = "compiled"  # of whole signals, files and live sound
HOPS = 8  # computed at once: the weights are read once for all of them, and what they need fits into the cache
BLOCK = 1 << 16  # samples a call that enhance() makes; memory, not result, depends on it


def mono_sentence(model: Model) -> str:
    """Why a spatial baseline refuses sound whose channels are the same."""
    return (
        f"{model.spec.name} finds the voice by what differs between left and right, and this sound is mono; "
        "it cannot help, use a trained model."
    )


class Enhancer:
    """A whole signal in pieces, in constant memory: output aligned with the input, same rate, length and channels.

    Resampling, where the rate is not the model's, is soxr at high quality. ``strength`` mixes at the signal's own
    rate, so that what lies above the model's band comes back with the dry share.
    """

    def __init__(
        self,
        model: Model,
        sample_rate: int,
        channels: int = 1,
        strength: float | None = None,
        source: str | None = None,
    ) -> None:
        """sample_rate: Hz, 8000 to 192000. channels: 1 to 8. strength: dB or None, see Model.stream.

        source: which source to give; None is the model's target. Raises InputError for values outside these.
        """
        from rtsep.engine.stream_settings import check_channels, check_rate, gain_of

        self.model = model
        self.sample_rate, self.channels = check_rate(sample_rate), check_channels(channels, model.spec)
        self._gain = gain_of(strength)
        if source is not None and source not in model.spec.sources:
            raise InputError(f"{model.spec.name} has no source {source!r}; it has {', '.join(model.spec.sources)}.")
        if model.spatial and self.channels == 1:
            raise InputError(mono_sentence(model))
        self._row = model.spec.sources.index(source) if source else None
        self._stream: Any = model.stream(channels=self.channels, hops=HOPS)
        self._mid = self._side = 0.0
        self._start()

    def _start(self) -> None:
        from rtsep.engine.resample import WholeSignal

        own = self.model.spec.sample_rate
        self._inward = WholeSignal(self.sample_rate, own, self.channels)
        self._outward = WholeSignal(own, self.sample_rate, self.channels)
        self._taken = 0
        self._early = self._stream.latency  # samples of the stream that belong to the time before the signal
        self._dry = np.zeros((0, self.channels), np.float32)

    def process(self, block: NDArray[Any]) -> NDArray[np.float32]:
        """The next piece, [samples, channels] float32 or float64 of any length, to what is ready by now.

        Raises InputError for another shape or type, or samples that are not finite.
        """
        dry = checked_signal(block, self.channels, self._taken)
        self._taken += len(dry)
        if self.model.spatial:
            self._mid += float(np.sum(np.square(dry[:, 0] + dry[:, 1], dtype=np.float64)))
            self._side += float(np.sum(np.square(dry[:, 0] - dry[:, 1], dtype=np.float64)))
        self._dry = np.concatenate([self._dry, dry])
        return self._mixed(self._outward.process(self._through(self._inward.process(dry))))

    def flush(self) -> NDArray[np.float32]:
        """The samples still owed, [samples, channels]; then the enhancer is as new.

        Raises InputError when a spatial baseline has heard nothing but two channels that are the same.
        """
        nothing = np.zeros((0, self.channels), np.float32)
        last = self._through(self._inward.process(nothing, last=True))
        tail = self._stream.flush(sources=self._row is not None)
        tail = tail if self._row is None else tail[self._row]
        tail = tail.reshape(-1, self.channels)[self._early :]
        wet = self._outward.process(np.concatenate([last, tail]), last=True)
        # Two conversions may end a sample short or long; what is owed is what came in.
        missing = len(self._dry) - len(wet)
        result = self._mixed(np.pad(wet, ((0, max(0, missing)), (0, 0)))[: len(self._dry)])
        same = self._mid > 0 and is_mono(self._mid, self._side)
        self._mid = self._side = 0.0
        self._start()
        if same:
            raise InputError(mono_sentence(self.model))
        return result

    def reset(self) -> None:
        """Forget all sound, as if the enhancer were new; but a song heard in stereo is not mono after a jump in it."""
        self._stream.reset()
        self._start()

    def _through(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        wet = self._stream.process(block, sources=self._row is not None)
        wet = wet if self._row is None else wet[self._row]
        early = min(self._early, len(wet))
        self._early -= early
        return wet[early:]

    def _mixed(self, wet: NDArray[np.float32]) -> NDArray[np.float32]:
        wet = wet[: len(self._dry)]
        dry, self._dry = self._dry[: len(wet)], self._dry[len(wet) :]
        if self._gain in (0.0, 1.0):
            return dry if self._gain else wet
        return (1 - self._gain) * wet + np.float32(self._gain) * dry


def new_enhancer(
    model: Model, sample_rate: int, channels: int = 1, strength: float | None = None, source: str | None = None
) -> Enhancer | SongEnhancer:
    """The enhancer for the kind of model that it is; arguments and errors are Enhancer's."""
    if isinstance(model, SpectralModel):
        from rtsep.engine.song_enhancer import SongEnhancer

        return SongEnhancer(model, sample_rate, channels, strength, source)
    return Enhancer(model, sample_rate, channels, strength, source)


def enhance(
    x: NDArray[Any], sample_rate: int, model: Model | str | Path = "denoise", strength: float | None = None
) -> NDArray[np.float32]:
    """The model's target in a whole signal.

    Args:
        x: float32 (or float64) [samples] or [samples, channels], 1 to 8 channels, full scale 1.
        sample_rate: of x, Hz, 8000 to 192000; another rate than the model's is converted there and back (soxr).
        model: from `load`, or what `load` takes; a model that is loaded here has the compiled backend.
        strength: most attenuation in dB; None is no limit, 0 gives x back.

    Returns:
        float32 of x's shape, aligned with it to the sample.

    Raises:
        InputError: x has another shape or type, or samples that are not finite.
    """
    try:
        x = np.asarray(x)
    except ValueError:
        raise InputError("x is no array: its channels are not as long as each other.") from None
    if x.ndim not in (1, 2):
        raise InputError(f"x has shape {list(x.shape)}; it must be [samples] or [samples, channels].")
    if x.ndim == 2 and not 1 <= x.shape[1] <= MAX_CHANNELS:
        hint = " (it looks like channels first: hand over x.T)" if 1 <= x.shape[0] <= MAX_CHANNELS else ""
        raise InputError(f"x has shape {list(x.shape)}; it must be [samples, 1 to {MAX_CHANNELS} channels]{hint}.")
    signal = x[:, None] if x.ndim == 1 else x
    signal = checked_signal(signal, signal.shape[1])
    loaded = model if isinstance(model, Model) else load(model, BACKEND)
    enhancer = new_enhancer(loaded, sample_rate, signal.shape[1], strength)
    pieces = [enhancer.process(signal[at : at + BLOCK]) for at in range(0, len(signal), BLOCK)]
    return np.concatenate([*pieces, enhancer.flush()]).reshape(x.shape)
