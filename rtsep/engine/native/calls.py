"""Calls from compiled code to C functions whose addresses are only known when it runs.

Addresses are int64, so that what is compiled holds none of them and can be kept for the next process.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_WORD = ir.IntType(64)


def _pointer(typingctx: Any, address: Any) -> Any:  # numba wants the first parameter by this name
    """``address`` as a pointer, for ``carray``."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


def _call(typingctx: Any, address: Any, words: Any) -> Any:
    """Call the function at ``address`` with a tuple of int64 (pointers, sizes); its result is an int64 too."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = cgutils.unpack_tuple(builder, arguments[1])
        kind = ir.FunctionType(_WORD, [_WORD] * len(given))
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), given)

    return types.int64(types.int64, words), codegen


def _call_step(typingctx: Any, address: Any, step_context: Any, source: Any, target: Any) -> Any:
    """Call the native step at ``address`` (see ``step``); source, target: addresses of the sound."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sound = ir.FloatType().as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [_WORD, sound, sound])
        ends = [builder.inttoptr(argument, sound) for argument in arguments[2:]]
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [arguments[1], *ends])

    return types.int32(*[types.int64] * 4), codegen


pointer: Any = intrinsic(_pointer)
call: Any = intrinsic(_call)
call_step: Any = intrinsic(_call_step)
