"""A memory fence for compiled code that shares memory with other threads and processes."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic


def _fence(typingctx: Any) -> Any:  # numba wants this parameter by this name
    """Nothing before this moves behind it, nor the other way round: neither by the compiler nor by the processor."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


fence: Any = intrinsic(_fence)
