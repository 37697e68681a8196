"""What makes the frames: the Step protocol that Stream runs, and the two ONNX forms that fulfil it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rtsep.engine import stream_words as words
from rtsep.model_spec import ModelSpec

Floats = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]


class Step(Protocol):
    """Makes one hop's frames, and remembers from hop to hop what it needs.

    ``spec`` gives the sizes. ``activity`` is the probability that each source is active in the hop that the newest
    frames are of, ``lookahead`` ago ([sources], float32), or None for a model that does not say.
    """

    spec: ModelSpec
    activity: Floats | None

    def step(self, window: Floats) -> Floats:
        """One hop: ``window`` [channels, analysis_window] float32, newest samples last, to frames.

        Frames are [sources, channels, width] float32, where ``frames[..., i]`` belongs to input sample
        ``end - lookahead - synthesis_window + i`` and is added to what earlier frames said about it. ``width`` is
        the synthesis window, or less, but no less than a hop, for a step that has overlapped them itself.
        The array is the step's own and holds until the next call.
        """
        ...

    def reset(self) -> None:
        """Forget everything: the next window is the first."""
        ...


class SeveralHops(Step, Protocol):
    """A step that may take up to ``hops`` hops at once."""

    hops: int

    def many(self, windows: Floats) -> Floats:
        """``windows`` [hops, channels, analysis_window], oldest first, to the frames of each: the same bits.

        ``activity`` is that of the newest hop. The array is the step's own and holds until the next call.
        """
        ...


class _Binding:
    """An onnxruntime session with every input and output bound to a numpy array, so that a run allocates nothing."""

    def __init__(self, session: Any, inputs: Arrays, outputs: Arrays) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._arrays = (inputs, outputs)  # the binding knows their addresses, and does not keep them alive
        for name, array in inputs.items():
            self._binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            self._binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)


def _zeros(shape: tuple[int, ...]) -> Floats:
    return np.zeros(shape, np.float32)


class StepMemory:
    """What a graph of form ``step`` reads and writes, and its dilated history in rings (design of the step graph).

    inputs, outputs: arrays by the graph's names for even hops and for odd ones: the next state of one run is the state
    of the next, so that nothing is copied. history, dilations, starts: see ``framing.gather``. taps, column: what moves
    between history and graph, empty for a model without such convolutions. condition: side information, [condition],
    for the owner to write into, and activity, [sources]; None for a model without. phase: a scalar, the hop's number
    modulo the rate of a graph of which some runs only every few hops.
    """

    def __init__(self, spec: ModelSpec, window: Floats | None = None) -> None:
        """window: memory for the graph's input of that name, [channels, analysis_window]."""
        inputs: Arrays = {name: _zeros(shape) for name, shape in spec.inputs().items()}
        outputs: Arrays = {name: _zeros(shape) for name, shape in spec.outputs().items()}
        if window is not None:
            inputs["window"] = window
        self.phase = np.zeros((), np.int64)
        if spec.slow_rate > 1:
            inputs["phase"] = self.phase
        self.window, self.frames = inputs["window"], outputs["frames"]
        self.condition, self.activity = inputs.get("condition"), outputs.get("activity")
        self.inputs, self.outputs = (inputs, inputs), (outputs, outputs)
        self.states: tuple[Floats, ...] = ()
        if spec.state:
            self.states = (inputs["state"], outputs["next_state"])
            self.inputs = (inputs, inputs | {"state": outputs["next_state"]})
            self.outputs = (outputs, outputs | {"next_state": inputs["state"]})
        nothing = _zeros((0, spec.kernel - 1, spec.hidden))
        self.taps, self.column = inputs.get("taps", nothing), outputs.get("column", nothing[:, 0])
        self.reach = spec.kernel - 1
        self.dilations = np.array(spec.dilations, np.int64)
        self.starts = np.cumsum(self.reach * self.dilations) - self.reach * self.dilations
        self.history = _zeros((self.reach * sum(spec.dilations), spec.hidden))
        layers, (rows, hidden) = spec.layers, self.history.shape
        numbers = {words.HISTORY_ROWS: rows, words.HIDDEN: hidden, words.LAYERS: layers, words.REACH: self.reach}
        arrays: dict[int, NDArray[Any]] = {
            **{words.HISTORY: self.history, words.DILATIONS: self.dilations, words.STARTS: self.starts},
            **{words.TAPPED: self.taps, words.COLUMN: self.column},
        }
        self._words = words.context(words.HISTORY_WORDS, numbers, arrays)
        self.context = int(self._words.ctypes.data)  # for C functions, see ``stream_words``

    def clear(self) -> None:
        """Forget all sound; the condition stays."""
        self.history[:] = 0
        for state in self.states:
            state[:] = 0
        if self.activity is not None:
            self.activity[:] = 0


class OnnxStep:
    """Form ``step``: the graph is one hop; a run moves one column in and two taps a layer out, however far they reach.

    condition: side information, [condition] float32, for the owner to write into; None for a model without.
    """

    def __init__(self, spec: ModelSpec, session: Any) -> None:
        self.spec = spec
        self._memory = memory = StepMemory(spec)
        self.condition, self.activity = memory.condition, memory.activity
        self._bindings = tuple(_Binding(session, *ends) for ends in zip(memory.inputs, memory.outputs, strict=True))
        self._time = 0  # hops since the last reset

    def step(self, window: Floats) -> Floats:
        """See Step.step; frames are [sources, channels, synthesis_window]."""
        time, memory = self._time, self._memory
        memory.window[:] = window
        memory.phase[...] = time % self.spec.slow_rate
        words.gather_taps(memory.context, time)
        self._bindings[time & 1].run()
        words.scatter_column(memory.context, time)
        if memory.states:
            state = memory.states[1 - (time & 1)]
            words.settle_state(state.ctypes.data, state.size)
        self._time = time + 1
        return memory.frames

    def reset(self) -> None:
        """See Step.reset; the condition stays."""
        self._memory.clear()
        self._time = 0


class FlatStep:
    """Form ``flat``: window, rings and overlap-add are inside the graph, whose audio is complete.

    Its frames are one hop wide: there is nothing left to overlap.

    condition: as that of OnnxStep.
    """

    activity: Floats | None = None

    def __init__(self, spec: ModelSpec, session: Any) -> None:
        self.spec = spec
        self._hop = _zeros((spec.channels, spec.hop))
        self._states = (_zeros((spec.state,)), _zeros((spec.state,)))
        self._audio = _zeros((len(spec.sources), spec.channels, spec.hop))
        self.condition = _zeros((spec.condition,)) if spec.condition else None
        aside = {} if self.condition is None else {"condition": self.condition}
        self._bindings = tuple(
            _Binding(
                session,
                {"hop": self._hop, "state": self._states[turn], **aside},
                {"audio": self._audio, "next_state": self._states[1 - turn]},
            )
            for turn in (0, 1)
        )
        self._turn = 0

    def step(self, window: Floats) -> Floats:
        """See Step.step; frames are [sources, channels, hop]."""
        self._hop[:] = window[:, -self.spec.hop :]
        self._bindings[self._turn].run()
        self._turn = 1 - self._turn
        state = self._states[self._turn]
        words.settle_state(state.ctypes.data, state.size)
        return self._audio

    def reset(self) -> None:
        """See Step.reset."""
        for state in self._states:
            state[:] = 0
        self._turn = 0
