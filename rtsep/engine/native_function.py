"""NativeFunction: a C function that Numba compiles once; from then on its machine code is read from the disk.

What is kept is LLVM's object code, and `llvmlite` links it into a process within a millisecond. Numba itself, which
takes a second to load and to make ready, is needed only where something has to be compiled. All processes run the very
same code, those of a first run too, so that what they compute is the same to the last bit: who has compiled a function
that another process has kept meanwhile takes that one.

The code lies in `__pycache__` beside its source, or, when that is read-only, in the user's cache. Its name holds the
processor and a digest of the sources. Where nothing can be kept, every process compiles for itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import json
import os
import tempfile
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from llvmlite import __version__ as llvmlite_version
from llvmlite import binding

from rtsep.engine import compile_notice

_PACKAGE = Path(__file__).parents[1]
_ENGINE = "engine"  # the room whose constants and kernels all others use
_CTYPES: dict[str, Any] = {
    **{
        "void": None,
        "int32": ctypes.c_int32,
        "int64": ctypes.c_int64,
        "uint32": ctypes.c_uint32,
        "uint64": ctypes.c_uint64,
    },
    **{"float64": ctypes.c_double, "voidptr": ctypes.c_void_p, "CPointer(float32)": ctypes.c_void_p},
}
_kept_alive: list[Any] = []  # LLVM's engines: what they have linked is never given back


class NativeFunction:
    """A function of a module, as C sees it; compiled, or read and linked, when it is first asked for.

    ``address`` is for callers from C. Called from Python it takes numbers, pointers as addresses; with ``long`` other
    threads of Python run meanwhile.
    """

    def __init__(self, module: str, name: str, signature: str, long: bool = False) -> None:
        """module: of rtsep, not imported before something is compiled. signature: "int64(int64, voidptr)", say."""
        self._module, self._name, self._signature = module, name, signature
        result, _, rest = signature.partition("(")
        types = [_CTYPES[each.strip()] for each in (result, *rest[:-1].split(",")) if each]
        self._prototype = (ctypes.CFUNCTYPE if long else ctypes.PYFUNCTYPE)(*types)
        self.compiled = False  # by this process

    @cached_property
    def address(self) -> int:
        """Where the machine code lies."""
        return _linked(self._code())

    @cached_property
    def call(self) -> Any:
        """The function for ctypes: called without the look-up that calling this object costs."""
        return self._prototype(self.address)

    def load(self) -> None:
        """Compile or link it now, and not when sound is running."""
        _ = self.call

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return self.call(*arguments)

    def _code(self) -> bytes:
        """What is kept, or kept from now on."""
        parts = self._module.split(".")
        name = f"{parts[-1]}.{self._name}.{_processor()}"
        file = f"{name}.{_digest(tuple(sorted({_ENGINE, os.sep.join(parts[1:-1])})))}.native"
        folders = list(_folders(parts))
        for folder in folders:
            if code := _read(folder / file):
                return code
        code = self._compile()
        for folder in folders:
            with contextlib.suppress(OSError):
                return _keep(folder, file, name, code)
        return code

    def llvm(self) -> str:
        """What it is compiled to, in LLVM's words."""
        return str(self._made().inspect_llvm())

    def _made(self) -> Any:
        from numba import cfunc

        function = getattr(importlib.import_module(self._module), self._name)
        return cfunc(self._signature, error_model="numpy")(function)

    def _compile(self) -> bytes:
        compile_notice.compiling()
        self.compiled = True
        made = self._made()
        module = binding.parse_assembly(made.inspect_llvm())
        foreign = [each.name for each in module.functions if each.is_declaration]
        head = {
            "symbol": made.native_name,
            "errors": [name for name in foreign if name.startswith(("numba_", "NRT_"))],
        }
        code = json.dumps(head).encode() + b"\n" + _machine().emit_object(module)
        return hashlib.sha256(code).digest() + code


@lru_cache
def _machine() -> Any:
    """LLVM's description of this machine, as Numba has it."""
    with contextlib.suppress(RuntimeError, AttributeError):  # from 0.45 on llvmlite does it by itself
        binding.initialize()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple()
    reloc = "static" if target.name.startswith("x86") else "default"
    features = binding.get_host_cpu_features().flatten()
    return target.create_target_machine(binding.get_host_cpu_name(), features, 3, reloc, "jitdefault")


@lru_cache
def _processor() -> str:
    about = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten(), llvmlite_version
    return hashlib.sha256(repr(about).encode()).hexdigest()[:12]


@lru_cache
def _digest(rooms: tuple[str, ...]) -> str:
    """Of all that the code of functions in some rooms can depend on."""
    digest = hashlib.sha256()
    for room in rooms:
        for path in sorted((_PACKAGE / room).rglob("*.py")):
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _folders(parts: list[str]) -> Iterator[Path]:
    yield Path(_PACKAGE, *parts[1:-1], "__pycache__")
    import platformdirs

    with contextlib.suppress(RuntimeError):  # a user without a home
        yield platformdirs.user_cache_path("rtsep", appauthor=False) / "native"


def _read(path: Path) -> bytes | None:
    """The code that is kept there, if it is whole."""
    try:
        code = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(code[32:]).digest() == code[:32]:
        return code
    with contextlib.suppress(OSError):
        path.unlink()
    return None


def _keep(folder: Path, file: str, name: str, code: bytes) -> bytes:
    """Keep code, but for another process's that is there already; what holds from now on. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(".native", "new", folder)
    try:
        with os.fdopen(descriptor, "wb") as target:
            target.write(code)
        try:
            os.link(temporary, folder / file)
        except FileExistsError:
            return _read(folder / file) or code
        except OSError:  # no links here
            os.replace(temporary, folder / file)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    for old in folder.glob(f"{name}.*.native"):  # of sources that were
        if old.name != file:
            with contextlib.suppress(OSError):
                old.unlink()
    return code


def _linked(code: bytes) -> int:
    """The address of a function in this process."""
    head, _, machine_code = code[32:].partition(b"\n")
    about = json.loads(head)
    for name in about["errors"]:
        # By these, Numba's code raises exceptions and counts references. Ours does neither.
        if binding.address_of_symbol(name) is None:
            binding.add_symbol(name, _abort_address())
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(machine_code))
    engine.finalize_object()
    _kept_alive.append(engine)
    return int(engine.get_function_address(about["symbol"]))


def _abort_address() -> int:
    library = ctypes.cdll.msvcrt if os.name == "nt" else ctypes.CDLL(None)
    return ctypes.cast(library.abort, ctypes.c_void_p).value or 0
