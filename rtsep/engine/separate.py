"""Every source of a whole signal: `separate` for an array, `Separation` for a sound that comes in pieces.

Models that put out `one` source and the `rest` are run again on the rest, until nothing is left in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rtsep.engine.checks import checked_signal
from rtsep.engine.enhance import BACKEND, BLOCK, mono_sentence
from rtsep.errors import InputError
from rtsep.model import Model, load

if TYPE_CHECKING:
    from numpy.typing import NDArray

ONE_AND_REST = ("one", "rest")
MOST = 8  # sources that are taken out of a recording one after the other
LEFT_SHARE = 0.02  # of the hops in which the rest must be active for there to be another source
LEFT_DB = -25.0  # energy of the rest under the recording's, below which nothing is left, where activity is not known


class Separation:
    """A whole signal in pieces to every source, in constant memory; aligned with the input, same rate and length.

    ``active`` is the share of the hops so far in which each source was active, [sources], None if the model does not
    say; ``heard`` and ``made`` [sources] are the energies of what came in and went out.
    """

    def __init__(
        self, model: Model, sample_rate: int, channels: int = 1, condition: NDArray[Any] | str | None = None
    ) -> None:
        """See Model.stream. Raises InputError for values outside its ranges."""
        from rtsep.engine.resample import WholeSignal
        from rtsep.engine.stream_settings import check_channels, check_rate

        self.model, spec = model, model.spec
        self.sample_rate, self.channels = check_rate(sample_rate), check_channels(channels, spec)
        if model.spatial and self.channels == 1:
            raise InputError(mono_sentence(model))
        self._stream = model.stream(channels=self.channels, condition=condition)
        self._inward = WholeSignal(self.sample_rate, spec.sample_rate, self.channels)
        self._outward = [WholeSignal(spec.sample_rate, self.sample_rate, self.channels) for _ in spec.sources]
        self._early = self._stream.latency  # samples of the stream that belong to the time before the signal
        self._taken = self._given = 0
        self._active, self._hops = np.zeros(len(spec.sources)), 0
        self.heard, self.made = 0.0, np.zeros(len(spec.sources))

    @property
    def active(self) -> NDArray[np.float64] | None:
        return self._active / self._hops if self._hops else None

    def process(self, block: NDArray[Any]) -> NDArray[np.float32]:
        """The next piece [samples, channels] to what is ready, [sources, samples, channels]; see Enhancer.process."""
        sound = checked_signal(block, self.channels, self._taken)
        self._taken += len(sound)
        self.heard += float(np.sum(np.square(sound, dtype=np.float64)))
        return self._out(self._through(self._inward.process(sound)))

    def flush(self) -> NDArray[np.float32]:
        """The samples still owed, [sources, samples, channels]; nothing may follow."""
        last = self._through(self._inward.process(np.zeros((0, self.channels), np.float32), last=True))
        tail = self._stream.flush(sources=True).reshape(len(self._outward), -1, self.channels)
        wet = np.concatenate([last, tail[:, self._early :]], axis=1)
        return self._out(wet, last=True)

    def _through(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        made = []
        for at in range(0, len(sound), self.model.spec.hop):  # a hop at a time, for its activity
            made.append(self._stream.process(sound[at : at + self.model.spec.hop], sources=True))
            now = self._stream.activities
            if now is not None:
                self._active += now > 0.5
                self._hops += 1
        empty = np.zeros((len(self._outward), 0, self.channels), np.float32)
        wet = np.concatenate([empty, *(each.reshape(len(self._outward), -1, self.channels) for each in made)], axis=1)
        early = min(self._early, wet.shape[1])
        self._early -= early
        return wet[:, early:]

    def _out(self, wet: NDArray[np.float32], last: bool = False) -> NDArray[np.float32]:
        made = np.stack([way.process(each, last=last) for way, each in zip(self._outward, wet, strict=True)])
        owed = self._taken - self._given
        if last and made.shape[1] < owed:  # two conversions may end a sample short
            made = np.pad(made, ((0, 0), (0, owed - made.shape[1]), (0, 0)))
        made = made[:, :owed]
        self._given += made.shape[1]
        self.made += np.sum(np.square(made, dtype=np.float64), axis=(1, 2))
        return made


def something_left(run: Separation, whole: float) -> bool:
    """Whether a finished pass of a model of one source and the rest left another source in the rest.

    By the share of hops in which the rest was active; where that is not known by its energy beside ``whole``, that of
    the recording.
    """
    if run.made[1] == 0:
        return False
    if run.active is not None:
        return bool(run.active[1] > LEFT_SHARE)
    return bool(run.made[1] > whole * 10 ** (LEFT_DB / 10))


def separate(
    x: NDArray[Any],
    sample_rate: int,
    model: Model | str | Path = "denoise",
    condition: NDArray[Any] | str | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Every source in a whole signal.

    Args:
        x: float32 (or float64) [samples] or [samples, channels], 1 to 8 channels, full scale 1.
        sample_rate: of x, Hz, 8000 to 192000.
        model: from `load`, or what `load` takes.
        condition: what the model is told, see `Model.stream`.

    Returns:
        Sources by name, float32 of x's shape, aligned with it. A model of one source and the rest is run again on the
        rest, and gives as many as it found, ``source-1``, ``source-2``, ….

    Raises:
        InputError: x has another shape or type, or samples that are not finite.
    """
    signal = np.asarray(x)
    if signal.ndim not in (1, 2):
        raise InputError(f"x has shape {list(signal.shape)}; it must be [samples] or [samples, channels].")
    rows = signal[:, None] if signal.ndim == 1 else signal
    found = load(model, BACKEND) if not isinstance(model, Model) else model
    if found.spec.sources != ONE_AND_REST:
        made, _ = _whole(found, sample_rate, rows, condition)
        return {name: each.reshape(signal.shape) for name, each in zip(found.spec.sources, made, strict=True)}
    sources, left, whole = {}, rows, None
    for number in range(1, MOST + 1):
        (one, left), run = _whole(found, sample_rate, left, condition)
        sources[f"source-{number}"] = one.reshape(signal.shape)
        whole = run.heard if whole is None else whole
        if not something_left(run, whole):
            break
    return sources


def _whole(
    model: Model, sample_rate: int, rows: NDArray[Any], condition: NDArray[Any] | str | None
) -> tuple[NDArray[np.float32], Separation]:
    run = Separation(model, sample_rate, rows.shape[1], condition)
    pieces = [run.process(rows[at : at + BLOCK]) for at in range(0, len(rows), BLOCK)]
    return np.concatenate([*pieces, run.flush()], axis=1), run
