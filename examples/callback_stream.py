"""A stream inside a sound card's callback: python examples/callback_stream.py [SECONDS]. Use headphones.

For daily use `rtsep denoise --live` is better: its callback is compiled, and no busy thread of Python can delay it.
This program shows the smallest thing that works.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import rtsep


def cleaner(stream: rtsep.Stream) -> Callable[[np.ndarray, np.ndarray, int, Any, Any], None]:
    """A callback for sounddevice.Stream: the first channel cleaned, [frames, 1], to all that are played."""

    def callback(heard: np.ndarray, played: np.ndarray, frames: int, time: Any, status: Any) -> None:
        played[:] = stream.process(heard[:, 0])[:, None]

    return callback


def main(seconds: float) -> None:
    """From the default microphone to the default output."""
    import sounddevice

    model = rtsep.load("denoise-small")
    stream = model.stream(block_multiple=model.spec.hop)  # the device is asked for blocks of two hops
    print(f"{1000 * stream.latency / stream.sample_rate:.2f} ms in the stream, and what the device adds")
    block = 2 * model.spec.hop
    with sounddevice.Stream(stream.sample_rate, block, dtype="float32", channels=1, callback=cleaner(stream)):
        sounddevice.sleep(int(1000 * seconds))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
