"""Stream: blocks of any size in, the same number of samples out, after a constant latency.

Every sample has one absolute position; what is put out at a position is a function of the samples before it alone.
So the output cannot depend on how the input was cut into blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from rtsep.engine import stream_words as words
from rtsep.engine.inference import Step
from rtsep.engine.ramp import RAMP_S, Ramp
from rtsep.engine.resample import Converter
from rtsep.engine.stream_settings import check_channels, check_rate, condition_of, gain_of, whole
from rtsep.errors import InputError
from rtsep.model_spec import ModelSpec

WARM_UP = 8  # the first runs of a graph take several times as long as the rest


def latency_of(spec: ModelSpec, inward: Converter, outward: Converter, grain: int) -> int:
    """Smallest constant delay, in samples at the stream's rate, at which every output is complete in time.

    ``grain`` divides every block. Nothing but integers: just before hop h is complete, when the wait is longest, the
    frames of h-1 hops have arrived. Delays repeat after ``up`` hops, so these are looked at and no others.
    """
    hops = np.arange(1, inward.up + 1, dtype=np.int64)
    before = (((hops * spec.hop - 1) * inward.down) // inward.up + inward.after) // grain * grain
    complete = hops * spec.hop - spec.algorithmic_latency - outward.after
    return int((before + (-complete * outward.up) // outward.down).max())


def _ring(length: int) -> int:
    return 1 << max(1, (length - 1).bit_length())


class Stream:
    """A running sound on its way through a model. Made by ``Model.stream``; belongs to one thread."""

    def __init__(
        self,
        spec: ModelSpec,
        new_step: Callable[[], Step],
        sample_rate: int | None = None,
        channels: int = 1,
        strength: float | None = None,
        block_multiple: int = 1,
        hops: int = 1,
        condition: NDArray[Any] | str | None = None,
    ) -> None:
        """See Model.stream; ``new_step`` makes what makes the frames, one for each group of ``spec.channels``.

        hops: how many of a long block may go through the steps at once, as far as these can do it.
        """
        self.spec = spec
        self.sample_rate = rate = spec.sample_rate if sample_rate is None else check_rate(sample_rate)
        self.channels = check_channels(channels, spec)
        if not whole(block_multiple) or block_multiple < 1:
            raise InputError(f"block_multiple is {block_multiple}; it must be a whole number from 1 up.")
        if block_multiple > 1 and rate != spec.sample_rate:
            raise InputError(f"block_multiple needs the model's own rate of {spec.sample_rate} Hz, not {rate} Hz.")
        self.block_multiple = int(block_multiple)
        self._inward, self._outward = Converter(rate, spec.sample_rate), Converter(spec.sample_rate, rate)
        self._grain = math.gcd(self.block_multiple, spec.hop)
        self._latency = latency_of(spec, self._inward, self._outward, self._grain)

        self._gain = np.zeros(4)
        self._gain[:2] = gain_of(strength)
        self._strength = strength
        self._condition = Ramp(condition_of(condition, spec))
        self._steps: list[Any] = [new_step() for _ in range(max(1, self.channels // spec.channels))]
        together = 1 if spec.condition else hops  # a condition may change with every hop
        self._together = min(together, *(getattr(step, "hops", 1) for step in self._steps))  # see SeveralHops
        self._allocate()
        words.load()
        for _ in range(max(WARM_UP, 2 * spec.slow_rate)):  # every branch of a graph that has some
            for step in self._steps:
                step.step(self._windows[0, : spec.channels])
        self._check_frames()
        self.reset()

    def _check_frames(self) -> None:
        """Raises TypeError when what a step makes is not what compiled code may read, see `_add`."""
        for step in self._steps:
            made = [step.step(self._windows[0, : self.spec.channels])]
            if self._together > 1 and hasattr(step, "many"):
                made += step.many(self._windows[:, : self.spec.channels])
            for frames in made:
                if frames.dtype != np.float32 or not frames.flags.c_contiguous:
                    kind = f"{frames.dtype}{'' if frames.flags.c_contiguous else ', not contiguous'}"
                    raise TypeError(
                        f"The frames of {type(step).__name__} are {kind}; a stream needs contiguous float32."
                    )

    def _allocate(self) -> None:
        spec, inward, outward = self.spec, self._inward, self._outward
        rows = max(self.channels, spec.channels)
        self._chunk = chunk = inward.span(self._together * spec.hop) - inward.table.shape[1]
        fed = chunk * inward.up // inward.down + spec.hop + 2  # samples at the model's rate ahead of the last hop
        kept = (chunk + self.latency) * inward.up // inward.down + outward.table.shape[1] + fed

        def zeros(*shape: int) -> NDArray[np.float32]:
            return np.zeros(shape, np.float32)

        self._stages = {np.dtype(kind): np.zeros((chunk, self.channels), kind) for kind in (np.float32, np.float64)}
        self._input = zeros(self.channels, _ring(chunk + max(self.latency, inward.table.shape[1]) + 2))
        self._heard = zeros(rows, _ring(spec.analysis_window + fed))
        self._windows = zeros(self._together, rows, spec.analysis_window)
        self._made = zeros(len(spec.sources), rows, _ring(kept + spec.algorithmic_latency))
        self._wet = zeros(rows, chunk)
        self._mixed = zeros(chunk, self.channels)
        self._scratch = zeros(max(inward.span(fed), outward.span(chunk)) + 2)
        self._doubled = rows > self.channels
        stage, wide_stage = self._stages.values()
        numbers = {
            **{words.CHANNELS: self.channels, words.ROWS: rows, words.CHUNK: chunk},
            **{words.INPUT_LENGTH: self._input.shape[1], words.HEARD_LENGTH: self._heard.shape[1]},
            **{words.MADE_LENGTH: self._made.shape[2], words.SCRATCH_LENGTH: len(self._scratch)},
        }
        arrays = {
            **{words.STAGE: stage, words.WIDE_STAGE: wide_stage, words.INPUT: self._input, words.HEARD: self._heard},
            **{words.MADE: self._made, words.SCRATCH: self._scratch, words.WET: self._wet, words.MIXED: self._mixed},
            words.GAIN: self._gain,
        }
        context = self._words = words.context(words.WORDS, numbers, arrays)
        context[words.INWARD : words.OUTWARD], context[words.OUTWARD :] = inward.words(), outward.words()
        self._context, self._windows_at = int(context.ctypes.data), int(self._windows.ctypes.data)

    def __reduce__(self) -> NoReturn:
        """A running sound is in one place; its model pickles."""
        raise TypeError(f"A stream of {self.spec.name} cannot be pickled; pickle its model, and make a stream of it.")

    def __repr__(self) -> str:
        return f"<Stream of {self.spec.name}: {self.sample_rate} Hz, {self.channels} channels, latency {self.latency}>"

    @property
    def latency(self) -> int:
        """Samples at the stream's rate from a sample's way in to the same sample's way out; constant."""
        return self._latency

    @property
    def grain(self) -> int:
        """Samples in the smallest block that the promise of ``block_multiple`` and the hop have in common."""
        return self._grain

    @property
    def until_hop(self) -> int:
        """Samples still to come until the next hop is complete; ``activity`` is then a new one."""
        return self._inward.needed((self._hops + 1) * self.spec.hop) - self._taken

    @property
    def strength(self) -> float | None:
        """Most attenuation in dB; None is no limit, 0 the delayed input. Setting it ramps from the next sample on."""
        return self._strength

    @strength.setter
    def strength(self, value: float | None) -> None:
        aim, length = gain_of(value), max(1, round(RAMP_S * self.sample_rate))
        self._strength = value
        if aim != self._gain[1]:
            self._gain[1:] = aim, (aim - self._gain[0]) / length, length

    @property
    def condition(self) -> NDArray[np.float32] | None:
        """Side information of a model that takes some, [condition] float32; None for all others.

        Set to an array, the name of one of ``spec.classes``, or None for nothing known, it ramps from the next hop on.
        """
        return self._condition.aim.copy() if self.spec.condition else None

    @condition.setter
    def condition(self, value: NDArray[Any] | str | None) -> None:
        self._condition.set(condition_of(value, self.spec), -(-round(RAMP_S * self.spec.sample_rate) // self.spec.hop))

    @property
    def activity(self) -> float | None:
        """Probability that the target was active in the newest hop (the most of all channels), if the model says.

        Of a model that looks ahead, in the hop that was made last.
        """
        newest = [step.activity[self.spec.target_index] for step in self._steps if step.activity is not None]
        return float(max(newest)) if newest else None

    @property
    def activities(self) -> NDArray[np.float32] | None:
        """As ``activity``, of every source, [sources] float32."""
        newest = [step.activity for step in self._steps if step.activity is not None]
        return np.max(newest, axis=0) if newest else None

    def reset(self) -> None:
        """Forget all sound, as if the stream were new; strength and condition stay, without a ramp."""
        for step in self._steps:
            step.reset()
        for memory in (self._input, self._heard, self._windows, self._made):
            memory[:] = 0
        self._gain[0], self._gain[2:] = self._gain[1], 0
        self._condition.finish()
        self._taken = self._fed = self._hops = 0

    def process(
        self, block: NDArray[Any], out: NDArray[np.float32] | None = None, sources: bool = False
    ) -> NDArray[np.float32]:
        """Put ``block`` in, get as many samples out, ``latency`` samples late.

        Args:
            block: float32 or float64, [samples] for one channel or [samples, channels]; full scale is 1. Samples that
                are not finite count as zero, the rest is clamped to +-8.
            out: where to put the result (float32, may be ``block`` itself); nothing is allocated then.
            sources: give every source, [sources] + block's shape, without strength, instead of the target.

        Raises InputError for another shape or type, or a block that breaks the promise of ``block_multiple``;
        the stream is then as before.
        """
        block = self._checked(block)
        shape = (len(self.spec.sources), *block.shape) if sources else block.shape
        if out is None:
            out = np.empty(shape, np.float32)
        elif not isinstance(out, np.ndarray):
            raise InputError(f"out is a {type(out).__name__}; it must be a writable float32 array.")
        elif out.shape != shape or out.dtype != np.float32 or not out.flags.writeable:
            kind = f"{out.dtype} {list(out.shape)}" + ("" if out.flags.writeable else " read-only")
            raise InputError(f"out is {kind}; this block needs writable float32 {list(shape)}.")
        elif _overlap(block, out):
            raise InputError("out shares a part of the block's memory; it must be the block itself, or apart from it.")
        places = out if sources else out[None]
        if block.ndim == 1:
            self._run(block[:, None], places[..., None], sources)
        else:
            self._run(block, places, sources)
        return out

    def flush(self, sources: bool = False) -> NDArray[np.float32]:
        """The last ``latency`` samples, as if silence followed, shaped as by ``process``; then the stream is as new."""
        length = -(-self.latency // self._grain) * self._grain
        silence = np.zeros((length, self.channels), np.float32)
        tail = np.empty((len(self.spec.sources) if sources else 1, length, self.channels), np.float32)
        self._run(silence, tail, sources)
        self.reset()
        tail = tail[:, : self.latency, 0] if self.channels == 1 else tail[:, : self.latency]
        return tail if sources else tail[0]

    def _checked(self, block: NDArray[Any]) -> NDArray[Any]:
        block = np.asarray(block)
        if block.dtype not in self._stages:
            raise InputError(f"The block is {block.dtype}; convert it to float32 with full scale at 1.")
        if block.shape[1:] != (self.channels,) and not (block.ndim == self.channels == 1):
            wanted = "[samples]" if self.channels == 1 else f"[samples, {self.channels}]"
            turned = " (transpose it)" if block.ndim == 2 and block.shape[0] == self.channels else ""
            raise InputError(f"The block has shape {list(block.shape)}; this stream takes {wanted}{turned}.")
        self.check_length(len(block))
        return block

    def check_length(self, samples: int) -> None:
        """Raises InputError for a block that breaks the promise of ``block_multiple``."""
        if samples % self.block_multiple:
            raise InputError(
                f"The block has {samples} samples, but block_multiple promised multiples of {self.block_multiple}."
            )

    def _run(self, block: NDArray[Any], places: NDArray[np.float32], sources: bool) -> None:
        """``block`` [samples, channels] in, ``places`` [sources or 1, samples, channels] out, some hops at a time."""
        done = 0
        while done < len(block):
            count = self._take(block[done:])
            self._listen()
            self._emit(count, places[:, done : done + count], sources)
            done += count

    def _take(self, block: NDArray[Any]) -> int:
        """Take the beginning of ``block``, as much as goes at once; how much that is."""
        stage = self._stages[block.dtype]
        until = self._inward.needed((self._hops + self._together) * self.spec.hop) - self._taken
        count = min(len(block), self._chunk, until)
        stage[:count] = block[:count]
        words.take_block(self._context, block.dtype.itemsize == 8, count, self._taken)
        self._taken += count
        return count

    def _listen(self) -> None:
        """Bring what was taken to the model's rate, and run the hops that it completes."""
        while (waiting := self._convert()) > 0:
            self._run_hops(min(waiting, self._together))

    def _convert(self) -> int:
        """Bring what was taken to the model's rate; how many hops are complete and have not been run."""
        ready = self._inward.ready(self._taken)
        if ready > self._fed:
            words.bring_in(self._context, self._fed, ready - self._fed)
            self._fed = ready
        return self._fed // self.spec.hop - self._hops

    def _run_hops(self, count: int) -> None:
        """Run the next ``count`` hops; one by one or together, they are the same bits."""
        spec = self.spec
        end = (self._hops + 1) * spec.hop
        words.copy_windows(self._context, self._windows_at, spec.analysis_window, count, spec.hop, end)
        if spec.condition:
            now = self._condition.next()
            for step in self._steps:
                step.condition[:] = now
        for index, step in enumerate(self._steps):
            row = index * spec.channels
            windows = self._windows[:count, row : row + spec.channels]
            several = step.many(windows) if count > 1 else step.step(windows[0])[None]
            self._add(several, 0, row, end - spec.algorithmic_latency)
        self._hops += count

    def _add(self, frames: NDArray[np.float32], source: int, row: int, begin: int) -> None:
        """Add frames [hops, sources, channels, width], each C-contiguous, to what was made, from ``begin`` on.

        source, row: where the first source and channel go.
        """
        hops, sources, channels, width = frames.shape
        place = frames.ctypes.data, frames.strides[0], hops, min(self.spec.hop, width)
        words.add_frames(self._context, source, sources, *place, channels, width, row, begin)

    def _emit(self, count: int, places: NDArray[np.float32], sources: bool) -> None:
        """Put the newest ``count`` outputs into ``places`` [sources or 1, count, channels]."""
        wet = self._wet
        first = self._taken - count - self.latency
        for place, source in enumerate(range(len(self._made)) if sources else (self.spec.target_index,)):
            words.bring_out(self._context, source, first, count)
            if self._doubled:  # one channel went in as several: their mean comes out
                for row in wet[1:]:
                    wet[0] += row
                wet[0] /= len(wet)
            if sources:
                places[place] = wet[: self.channels, :count].T
        # With sources=True the mix is not asked for, but a ramp of the strength goes on.
        words.mix_out(self._context, first, count)
        if not sources:
            places[0] = self._mixed[:count]


def _overlap(block: NDArray[Any], out: NDArray[np.float32]) -> bool:
    """Whether writing ``out`` would change what of ``block`` is still to be read."""
    if not np.may_share_memory(block, out):  # cheap, and nearly always the answer
        return False
    same = block.ctypes.data == out.ctypes.data and block.strides == out.strides and block.dtype == out.dtype
    return not same and np.shares_memory(block, out)
