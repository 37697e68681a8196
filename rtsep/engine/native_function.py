"""NativeFunction: a C function that Numba compiles once; from then on its machine code is read from the disk.

What is kept is LLVM's object code, and `llvmlite` links it into a process within a millisecond. Numba itself, which
takes a second to load and to make ready, is needed only where something has to be compiled (see `kept_code`).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
from functools import cached_property
from typing import Any

from llvmlite import binding

from rtsep.engine import compile_notice
from rtsep.engine.kept_code import KeptCode

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
        kept = KeptCode(self._module, self._name)
        if code := kept.read():
            with contextlib.suppress(RuntimeError):  # it was damaged before it was kept
                return _linked(code)
        code = self._compile()
        try:
            return _linked(kept.keep(code))
        except RuntimeError:
            return _linked(code)

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
        return json.dumps(head).encode() + b"\n" + _machine().emit_object(module)


def _machine() -> Any:
    """LLVM's description of this machine, as Numba has it; one for each engine, which owns it."""
    with contextlib.suppress(RuntimeError, AttributeError):  # from 0.45 on llvmlite does it by itself
        binding.initialize()
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple()
    reloc = "static" if target.name.startswith("x86") else "default"
    features = binding.get_host_cpu_features().flatten()
    return target.create_target_machine(binding.get_host_cpu_name(), features, 3, reloc, "jitdefault")


def _linked(code: bytes) -> int:
    """The address of a function in this process. Raises RuntimeError for code that cannot be linked."""
    head, _, machine_code = code.partition(b"\n")
    about = json.loads(head)
    for name in about["errors"]:
        # By these, Numba's code raises exceptions and counts references. Ours does neither.
        if binding.address_of_symbol(name) is None:
            binding.add_symbol(name, _abort_address())
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(machine_code))
    engine.finalize_object()
    _kept_alive.append(engine)
    address = int(engine.get_function_address(about["symbol"]))
    if not address:
        raise RuntimeError("The function is not in its code.")
    return address


def _abort_address() -> int:
    library = ctypes.cdll.msvcrt if os.name == "nt" else ctypes.CDLL(None)
    return ctypes.cast(library.abort, ctypes.c_void_p).value or 0
