"""Whether half precision pays on the processor at hand."""

from __future__ import annotations

import torch


def supports_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies in bfloat16 itself. A CPU that only emulates it takes ten times as long as in float32
    (measured on an AMD EPYC of the third generation, which has AVX2 and no more)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return True
    capabilities: dict[str, bool] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # not in every torch; without it, no risk is taken
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))
