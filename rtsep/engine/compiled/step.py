"""CompiledStep: the Step that runs a program."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.compiled.functions import run
from rtsep.engine.compiled.program import Program, Workspace, aligned

Floats = NDArray[np.float32]


class CompiledStep:
    """One stream on a program; see rtsep.engine.inference.Step.

    condition: side information, [condition] float32, for the owner to write into; None for a model without.
    """

    def __init__(self, program: Program, hops: int = 1) -> None:
        """hops: how many `many` may be given at once."""
        spec = self.spec = program.spec
        self.hops = hops
        self._workspace = Workspace(program, hops)
        self._kept = aligned(program.kept_values)
        self._workspace.table[:, 0] = self._kept.ctypes.data
        self._windows, self._frames = self._workspace.rows_of("window"), self._workspace.rows_of("frames")
        self._window, self._frame = self._workspace.view("window"), self._workspace.view("frames")
        self._activities = self._workspace.rows_of("activity") if spec.activity else None
        self.activity = self._workspace.view("activity") if spec.activity else None
        at, count = program.kept["condition"]
        self.condition = self._kept[at : at + count] if count else None
        self._context = self._workspace.context.ctypes.data
        self._time = 0

    def step(self, window: Floats) -> Floats:
        """See Step.step; frames are [sources, channels, synthesis_window]."""
        self._window[:] = window
        self._workspace.table[0, 1] = self._time
        run(self._context, 1)
        self._time += 1
        return self._frame

    def many(self, windows: Floats) -> Floats:
        """Several hops at once, with the bits that one after the other has: the weights are read once for all of them.

        `windows` [hops, channels, analysis_window], oldest first, no more than promised; returns frames [hops, sources,
        channels, synthesis_window], the step's own until the next call. `activity` is that of the newest hop.
        """
        count = len(windows)
        self._windows[:count] = windows
        self._workspace.table[:count, 1] = np.arange(self._time, self._time + count)
        run(self._context, count)
        self._time += count
        if self.activity is not None and self._activities is not None:
            self.activity[:] = self._activities[count - 1]
        return self._frames[:count]

    def reset(self) -> None:
        """See Step.reset; the condition stays."""
        hint = None if self.condition is None else self.condition.copy()
        self._kept[:] = 0
        if self.condition is not None:
            self.condition[:] = hint
        if self.activity is not None:
            self.activity[:] = 0
        self._time = 0
