"""The C functions that run programs; see `interpreter`, `native` and `streams`."""

from __future__ import annotations

from rtsep.engine.native_function import NativeFunction

run = NativeFunction("rtsep.engine.compiled.interpreter", "run", "void(int64, int64)", long=True)
step_stream = NativeFunction(
    *("rtsep.engine.compiled.native_kernel", "step"),
    "int32(int64, CPointer(float32), CPointer(float32))",
    long=True,
)
step_streams = NativeFunction(
    *("rtsep.engine.compiled.streams_kernel", "step"),
    "int32(int64, int64, int64, CPointer(float32), CPointer(float32))",
    long=True,
)
