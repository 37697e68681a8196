"""ONNX Runtime's CUDA provider: whether it is there, and a session on it. Not measured: no GPU was at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rtsep.errors import RtsepError

PROVIDER = "CUDAExecutionProvider"


def check_cuda() -> None:
    """Raises RtsepError, with one sentence about what is missing, when ONNX Runtime was built without CUDA."""
    import onnxruntime

    if PROVIDER not in onnxruntime.get_available_providers():
        raise RtsepError(
            f"onnxruntime {onnxruntime.__version__} has no CUDA provider; take it out and install rtsep[cuda], "
            "that is onnxruntime-gpu."
        )


def cuda_session(path: Path, options: Any) -> Any:
    """A session on the GPU. Raises RtsepError when CUDA cannot be started, and whatever onnxruntime raises."""
    import onnxruntime

    check_cuda()
    session = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER, "CPUExecutionProvider"])
    if session.get_providers()[0] != PROVIDER:  # it has fallen back without a word
        raise RtsepError(
            "CUDA could not be started: there is no GPU, or its driver, CUDA or cuDNN is missing or too old for "
            f"onnxruntime {onnxruntime.__version__}."
        )
    return session
