"""Denormal numbers as zeros in the thread that asks, for as long as it asks: some processors are slow with them."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_X86 = platform.machine().lower() in ("x86_64", "amd64")
_FLUSH_TO_ZERO = 0x8040  # bits of x86's MXCSR: results (FTZ) and operands (DAZ)
_WORD = ir.IntType(32)


def _mxcsr(builder: Any, name: str, place: Any) -> None:
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{name}mxcsr")
    builder.call(function, [builder.bitcast(place, byte)])


def _flush(typingctx: Any) -> Any:  # numba wants this parameter by this name
    """Begin; gives what ``restore`` takes. Other processors than x86 are left as they are."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not _X86:
            return ir.Constant(_WORD, 0)
        place = cgutils.alloca_once(builder, _WORD)
        _mxcsr(builder, "st", place)
        before = builder.load(place)
        builder.store(builder.or_(before, ir.Constant(_WORD, _FLUSH_TO_ZERO)), place)
        _mxcsr(builder, "ld", place)
        return before

    return types.int32(), codegen


def _restore(typingctx: Any, before: Any) -> Any:
    """End; before: what ``flush`` gave."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _X86:
            place = cgutils.alloca_once(builder, _WORD)
            builder.store(arguments[0], place)
            _mxcsr(builder, "ld", place)
        return context.get_dummy_value()

    return types.void(types.int32), codegen


flush: Any = intrinsic(_flush)
restore: Any = intrinsic(_restore)
