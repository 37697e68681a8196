"""Kernels: functions that numba compiles as soon as they are defined, and keeps for the next process.

numba's cache asks for the date of the file that a kernel stands in. But compiled code also holds what stands elsewhere:
the constants that it reads, such as the layout of a shared block, and the kernels that it calls. A digest of them is
therefore part of the name that a kernel is kept under, and who upgrades never runs yesterday's layout.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from types import CodeType, ModuleType
from typing import Any, Literal

import numpy as np
from numba import cfunc, njit
from numba.core import event
from numba.core.caching import FunctionCache
from numba.core.typing.templates import Signature

from rtsep.engine import compile_notice

ErrorModel = Literal["python", "numpy"]


class _Notice(event.Listener):
    """Hears that numba compiles, which it does not do with what its cache has."""

    def on_start(self, _: event.Event) -> None:
        event.unregister(_COMPILES, self)
        compile_notice.compiling()

    def on_end(self, _: event.Event) -> None:
        pass


_COMPILES = "numba:run_pass"
event.register(_COMPILES, _Notice())


def compiled(
    *signatures: str | Signature, fastmath: bool | set[str] = False, error_model: ErrorModel = "python"
) -> Callable[[Callable[..., Any]], Any]:
    """Compile at import for ``signatures``, so that nothing compiles while sound is running; cached where possible.

    ``fastmath`` and ``error_model`` are numba's; with error model "numpy" a division by zero gives infinity and raises
    nothing, so that loops with divisions become vector code.

    The cache lies beside the kernel's file, or, when that is read-only, where numba keeps a user's caches. When there
    is no such place either, or it is full, the kernels are compiled anew in every process.
    """

    options: dict[str, Any] = {"fastmath": fastmath, "error_model": error_model}

    def compile_now(function: Callable[..., Any]) -> Any:
        _sign(function)
        for _ in range(2):
            try:
                return njit(list(signatures), cache=True, **options)(function)
            except Exception:  # no place for a cache, no space, a broken file: no cache is worth failing for
                _remove_index(function)
        return njit(list(signatures), **options)(function)

    return compile_now


def c_function(
    function: Callable[..., Any], signature: Any, cache: bool = True, error_model: ErrorModel = "python"
) -> Any:
    """``function`` for callers from C, of numba's ``signature``, cached like a kernel and with its ``error_model``.

    Keep what this returns as long as somebody may call its ``address``.
    """
    _sign(function)
    for _ in range(2):
        try:
            return cfunc(signature, cache=cache, error_model=error_model)(function)
        except Exception:
            _remove_index(function)
    return cfunc(signature, error_model=error_model)(function)


def _remove_index(function: Any) -> None:
    """Away with an index that may be broken (empty after a crash, say): it would be read, and fail, at every start."""
    with contextlib.suppress(Exception):
        os.unlink(FunctionCache(function)._cache_file._index_path)


def _sign(function: Any) -> None:
    """Append the digest to the qualified name, which is what numba names its files after."""
    name, digest = function.__qualname__.partition("_sha256_")[0], hashlib.sha256()
    for text in _held(function):
        digest.update(text.encode() + b"\0")
    function.__qualname__ = f"{name}_sha256_{digest.hexdigest()[:16]}"


def _held(function: Any) -> Iterator[str]:
    """Everything that compiling freezes: byte code, constants, values of global names, kernels that are called."""
    code, scope = function.__code__, function.__globals__
    yield from _code(code)
    modules = [vars(scope[name]) for name in code.co_names if isinstance(scope.get(name), ModuleType)]
    for name in code.co_names:
        for names in (scope, *modules):
            value = names.get(name)
            if hasattr(value, "py_func"):
                yield f"{name}: {value.py_func.__qualname__}"  # with a digest of its own
                if getattr(value, "targetoptions", {}).get("inline"):  # compiled within what calls it
                    yield from _held(value.py_func)
            elif hasattr(value, "_defn"):  # an intrinsic
                yield from _code(value._defn.__code__)
            elif name in names and _plain(value):
                yield f"{name}: {value!r}"


def _code(code: CodeType) -> Iterator[str]:
    """Byte code and constants of a function and of those within it."""
    yield code.co_code.hex()
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _code(value)
        elif _plain(value):
            yield repr(value)


def _plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic | np.dtype)
