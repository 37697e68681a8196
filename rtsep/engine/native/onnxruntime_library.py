"""ONNX Runtime's C library, the one inside its Python package, by its C API: sessions that run without Python.

The API is a table of functions that only ever grows (onnxruntime_c_api.h, `struct OrtApi`), so that the place of each
is its name.
"""

from __future__ import annotations

import ctypes
import importlib.util
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import RtsepError

_VERSION = 16  # of the API: the oldest with all that is used here
_GET_ERROR_MESSAGE, _CREATE_ENVIRONMENT, _DISABLE_TELEMETRY, _CREATE_SESSION_FROM_ARRAY, _RUN = 2, 3, 6, 8, 9
_CREATE_OPTIONS, _SET_LOG_SEVERITY, _SET_INTRA_THREADS, _SET_INTER_THREADS = 10, 22, 24, 25
_CREATE_TENSOR_WITH_DATA, _CREATE_CPU_MEMORY_INFO = 49, 69
_RELEASE_ENVIRONMENT, _RELEASE_STATUS, _RELEASE_MEMORY_INFO, _RELEASE_SESSION, _RELEASE_VALUE, _RELEASE_OPTIONS = (
    *(92, 93, 94, 95, 96),
    100,
)
_NAMES = ("libonnxruntime.so*", "libonnxruntime*.dylib", "onnxruntime.dll")
_ELEMENT = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}  # ONNXTensorElementDataType
_FATAL, _ARENA, _DEFAULT_MEMORY = 4, 1, 0
_pointer, _size, _int = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


class LibraryError(RtsepError):
    """The library cannot be used; says why in one sentence."""


def library_path() -> Path:
    """Where the library is. Raises LibraryError."""
    found = importlib.util.find_spec("onnxruntime")
    if found is not None and found.origin is not None:
        for pattern in _NAMES:
            for path in sorted((Path(found.origin).parent / "capi").glob(pattern)):
                return path
    raise LibraryError("This onnxruntime package holds no C library; install it anew with pip.")


class _Api:
    """The table of functions."""

    def __init__(self) -> None:
        path = library_path()
        try:
            library = ctypes.CDLL(str(path))
            library.OrtGetApiBase.restype = _pointer
            base = ctypes.cast(library.OrtGetApiBase(), ctypes.POINTER(_pointer))
            table = ctypes.CFUNCTYPE(_pointer, ctypes.c_uint32)(base[0])(_VERSION)
        except (OSError, AttributeError, TypeError) as error:
            raise LibraryError(f"{path.name} cannot be loaded ({error}).") from None
        if not table:
            raise LibraryError(f"{path.name} is older than rtsep needs; update onnxruntime.")
        self._table = ctypes.cast(table, ctypes.POINTER(_pointer))
        self._message = ctypes.CFUNCTYPE(ctypes.c_char_p, _pointer)(self.address(_GET_ERROR_MESSAGE))

    def address(self, place: int) -> int:
        return int(self._table[place] or 0)

    def call(self, place: int, types: Sequence[Any], *arguments: Any) -> None:
        """Raises LibraryError with the library's own words."""
        status = ctypes.CFUNCTYPE(_pointer, *types)(self.address(place))(*arguments)
        if status:
            words = (self._message(status) or b"").decode(errors="replace").splitlines()
            self.release(_RELEASE_STATUS, status)
            raise LibraryError(f"ONNX Runtime refused ({words[0] if words else 'no reason given'}).")

    def new(self, place: int, types: Sequence[Any], *arguments: Any) -> Any:
        """What the function gives by its last argument."""
        handle = _pointer()
        self.call(place, [*types, _pointer], *arguments, ctypes.byref(handle))
        return handle

    def release(self, place: int, handle: Any) -> None:
        ctypes.CFUNCTYPE(None, _pointer)(self.address(place))(handle)


class NativeSession:
    """A graph opened by the C library, on one thread.

    run, release_status: addresses of the functions. handle: what ``run`` takes first.
    """

    def __init__(self, path: Path) -> None:
        """Raises LibraryError when that fails."""
        self._api = api = _Api()
        self.run, self.release_status = api.address(_RUN), api.address(_RELEASE_STATUS)
        self._owned: list[tuple[int, Any]] = []
        self._finalizer = weakref.finalize(self, _release_all, api.release, self._owned)
        environment = self._new(_RELEASE_ENVIRONMENT, _CREATE_ENVIRONMENT, [_int, ctypes.c_char_p], _FATAL, b"rtsep")
        api.call(_DISABLE_TELEMETRY, [_pointer], environment)
        options = self._new(_RELEASE_OPTIONS, _CREATE_OPTIONS, [])
        for place, value in ((_SET_LOG_SEVERITY, _FATAL), (_SET_INTRA_THREADS, 1), (_SET_INTER_THREADS, 1)):
            api.call(place, [_pointer, _int], options, value)
        graph = path.read_bytes()
        types = [_pointer, ctypes.c_char_p, _size, _pointer]
        session = self._new(
            _RELEASE_SESSION, _CREATE_SESSION_FROM_ARRAY, types, environment, graph, len(graph), options
        )
        self.handle = int(session.value or 0)
        self._memory = self._new(_RELEASE_MEMORY_INFO, _CREATE_CPU_MEMORY_INFO, [_int, _int], _ARENA, _DEFAULT_MEMORY)
        self._arrays: list[Any] = []

    def _new(self, release: int, place: int, types: Sequence[Any], *arguments: Any) -> Any:
        handle = self._api.new(place, types, *arguments)
        self._owned.append((release, handle))
        return handle

    def names(self, names: Sequence[str]) -> int:
        """Address of a table of ``names``, as ``run`` takes it; lives as long as the session."""
        table = (ctypes.c_char_p * len(names))(*[name.encode() for name in names])
        self._arrays.append(table)
        return ctypes.addressof(table)

    def values(self, arrays: Sequence[NDArray[Any]]) -> int:
        """Address of a table of tensors on the memory of ``arrays`` (float32, int64), which are kept alive."""
        handles = []
        types = [_pointer, _pointer, _size, _pointer, _size, _int]
        for array in arrays:
            shape = (ctypes.c_int64 * array.ndim)(*array.shape)
            data, element = _pointer(array.ctypes.data), _ELEMENT[array.dtype]
            described = (data, array.nbytes, shape, array.ndim, element)
            value = self._new(_RELEASE_VALUE, _CREATE_TENSOR_WITH_DATA, types, self._memory, *described)
            handles.append(value)
        table = (_pointer * len(handles))(*handles)
        self._arrays += [table, list(arrays)]
        return ctypes.addressof(table)


def _release_all(release: Callable[[int, Any], None], owned: list[tuple[int, Any]]) -> None:
    while owned:
        release(*owned.pop())
