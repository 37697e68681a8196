"""Native steps: one hop as a C function, which compiled code calls without Python and without the GIL.

The function is ``int32 step(int64 context, float32 *input, float32 *output)``. It takes a hop of sound, [hop, channels]
interleaved, and gives as many samples of the target: those of a ``Stream`` that is given whole hops and has no
strength. It returns 0; or, when something went wrong, another number, and gives silence.

``FramedStep`` is one: it does what a Stream does around the network. The network is a C function too,
``int64 frames(int64 context)``, which makes ``frames`` of ``window``, and returns 0 when it could.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numba import carray, types
from numpy.typing import NDArray

from rtsep.engine.framing import overlap_add, push, take
from rtsep.engine.native.calls import call, call_step, pointer
from rtsep.engine.numba_cache import c_function, compiled
from rtsep.engine.stream import WARM_UP, check_channels
from rtsep.model_spec import ModelSpec

WELL, FAILED, NOT_FINITE = 0, 1, 2  # what a step returns
Floats = NDArray[np.float32]
_INT = np.int64
_STEP_SIGNATURE = types.int32(types.int64, types.CPointer(types.float32), types.CPointer(types.float32))

_CONTEXT = np.dtype(
    [
        ("hops", _INT),  # since the last reset
        ("hop", _INT),
        ("latency", _INT),  # algorithmic, samples
        ("channels", _INT),  # of the sound
        ("rows", _INT),  # channels that the networks have, together
        ("width", _INT),  # channels of one network
        ("sources", _INT),
        ("target", _INT),
        ("analysis_window", _INT),
        ("synthesis_window", _INT),
        ("heard_length", _INT),
        ("made_length", _INT),
        ("heard", _INT),  # addresses of arrays
        ("window", _INT),
        ("made", _INT),
        ("networks", _INT),  # address of _NETWORK records
    ],
    align=True,
)
_NETWORK = np.dtype(
    [
        ("function", _INT),
        ("context", _INT),
        ("frames", _INT),  # addresses
    ],
    align=True,
)


class NativeStep(Protocol):
    """Owns all memory of the C function: keep it as long as somebody may call.

    address, context: the function, and its first argument. hop: samples. channels: of the sound. activity: see Stream.
    """

    @property
    def address(self) -> int: ...

    @property
    def context(self) -> int: ...

    @property
    def hop(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def activity(self) -> float | None: ...

    def reset(self) -> None:
        """Forget all sound. Nobody may be calling meanwhile."""


class Frames(Protocol):
    """The network: a C function (see the module), its memory, and its first state.

    frames: [sources, channels, synthesis_window], what it makes. activity: [sources], or None.
    """

    function: int
    context: int
    frames: Floats
    activity: Floats | None

    def reset(self) -> None:
        """Forget all sound."""


def _framed(address, source, target):
    """A hop; see the module."""
    step = carray(pointer(address), (1,), _CONTEXT)[0]
    hop, channels, rows, width = step.hop, step.channels, step.rows, step.width
    heard = carray(pointer(step.heard), (rows, step.heard_length), np.float32)
    window = carray(pointer(step.window), (rows, step.analysis_window), np.float32)
    made = carray(pointer(step.made), (step.sources, rows, step.made_length), np.float32)
    out = carray(target, (hop, channels), np.float32)
    mask = made.shape[2] - 1
    begin = step.hops * hop
    end = begin + hop
    step.hops += 1
    take(carray(source, (hop, channels), np.float32), hop, heard, heard.shape[1] - 1, begin)
    push(heard, heard.shape[1] - 1, end, window)
    networks = carray(pointer(step.networks), (rows // width,), _NETWORK)
    code = WELL
    first = end - step.latency
    for index in range(networks.shape[0]):
        network = networks[index]
        if call(network.function, (network.context,)) != 0:
            code = FAILED
        frames = carray(pointer(network.frames), (step.sources, width, step.synthesis_window), np.float32)
        overlap_add(frames, first, hop, made, mask, index * width)
    for i in range(hop):
        for channel in range(channels):
            value = made[step.target, channel, (first + i) & mask]
            if rows > channels:  # one channel went in as several: their mean comes out
                for row in range(1, rows):
                    value += made[step.target, row, (first + i) & mask]
                value = np.float32(value / np.float32(rows))
            if not np.isfinite(value):
                code = max(code, NOT_FINITE)
            out[i, channel] = value
    if code != WELL:
        for i in range(hop):
            for channel in range(channels):
                out[i, channel] = 0.0
    return code


@compiled("int64(int64, int64, float32[:,::1], float32[:,::1], int64)")
def _run(address, context, sound, out, hop):
    """Whole hops of ``sound`` [samples, channels] to ``out``; how many went wrong."""
    wrong = 0
    for begin in range(0, sound.shape[0] - hop + 1, hop):
        code = call_step(address, context, sound[begin:].ctypes.data, out[begin:].ctypes.data)
        if code != 0:
            wrong += 1
    return wrong


def process(step: NativeStep, sound: Floats) -> tuple[Floats, int]:
    """Whole hops of ``sound``, [samples, channels] float32: as many samples of the target, and how many went wrong."""
    sound = np.ascontiguousarray(sound)
    out = np.zeros_like(sound)
    return out, int(_run(step.address, step.context, sound, out, step.hop))


def ring_length(samples: int) -> int:
    """The power of two that holds ``samples``."""
    return 1 << max(1, (samples - 1).bit_length())


class FramedStep:
    """A NativeStep around networks: one for each group of the model's channels."""

    def __init__(self, spec: ModelSpec, new_frames: Callable[[Floats], Frames], channels: int = 1) -> None:
        """new_frames: makes a network on a window, [model's channels, analysis_window], that is filled for it.

        Raises InputError when the model cannot run on so many channels.
        """
        self.channels, self.hop = check_channels(channels, spec), spec.hop
        self._target = spec.target_index
        rows = max(self.channels, spec.channels)
        self._heard = np.zeros((rows, ring_length(spec.analysis_window + spec.hop)), np.float32)
        self._window = np.zeros((rows, spec.analysis_window), np.float32)
        length = ring_length(spec.algorithmic_latency + spec.synthesis_window)
        self._made = np.zeros((len(spec.sources), rows, length), np.float32)
        groups = range(0, rows, spec.channels)
        self._networks = [new_frames(self._window[row : row + spec.channels]) for row in groups]
        self._records = np.zeros(len(self._networks), _NETWORK)
        for record, network in zip(self._records, self._networks, strict=True):
            record["function"], record["context"] = network.function, network.context
            record["frames"] = network.frames.ctypes.data
        self._context = np.zeros(1, _CONTEXT)
        context: Any = self._context[0]
        context["hop"], context["latency"] = spec.hop, spec.algorithmic_latency
        context["channels"], context["rows"], context["width"] = self.channels, rows, spec.channels
        context["sources"], context["target"] = len(spec.sources), spec.target_index
        context["analysis_window"], context["synthesis_window"] = spec.analysis_window, spec.synthesis_window
        context["heard_length"], context["made_length"] = self._heard.shape[1], length
        context["heard"], context["window"] = self._heard.ctypes.data, self._window.ctypes.data
        context["made"], context["networks"] = self._made.ctypes.data, self._records.ctypes.data
        self._function = c_function(_framed, _STEP_SIGNATURE)
        self.address, self.context = int(self._function.address), int(self._context.ctypes.data)
        self.process(np.zeros((max(WARM_UP, 2 * spec.slow_rate) * spec.hop, self.channels), np.float32))
        self.reset()

    @property
    def activity(self) -> float | None:
        """See Stream.activity."""
        newest = [network.activity[self._target] for network in self._networks if network.activity is not None]
        return float(max(newest)) if newest else None

    def process(self, sound: Floats) -> tuple[Floats, int]:
        """See ``process``."""
        return process(self, sound)

    def reset(self) -> None:
        """See NativeStep."""
        for network in self._networks:
            network.reset()
        for memory in (self._heard, self._window, self._made):
            memory[:] = 0
        self._context["hops"] = 0
