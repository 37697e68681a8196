"""CompiledStep: the Step that runs a program."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtsep.engine.compiled.interpreter import run
from rtsep.engine.compiled.program import Program, Workspace, aligned

Floats = NDArray[np.float32]


class CompiledStep:
    """One stream on a program; see rtsep.engine.inference.Step.

    condition: side information, [condition] float32, for the owner to write into; None for a model without.
    """

    def __init__(self, program: Program) -> None:
        spec = self.spec = program.spec
        self._workspace = Workspace(program, 1)
        self._kept = aligned(program.kept_values)
        self._workspace.table[0] = self._kept.ctypes.data, 0
        self._window, self._frames = self._workspace.view("window"), self._workspace.view("frames")
        self.activity = self._workspace.view("activity") if spec.activity else None
        at, count = program.kept["condition"]
        self.condition = self._kept[at : at + count] if count else None
        self._context = self._workspace.context.ctypes.data

    def step(self, window: Floats) -> Floats:
        """See Step.step; frames are [sources, channels, synthesis_window]."""
        self._window[:] = window
        run.ctypes(self._context, 1)
        self._workspace.table[0, 1] += 1
        return self._frames

    def reset(self) -> None:
        """See Step.reset; the condition stays."""
        hint = None if self.condition is None else self.condition.copy()
        self._kept[:] = 0
        if self.condition is not None:
            self.condition[:] = hint
        if self.activity is not None:
            self.activity[:] = 0
        self._workspace.table[0, 1] = 0
