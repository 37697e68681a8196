"""The round trip through real devices: a loopback cable from the output to the input, and a ping that goes round.

The callback plays five milliseconds of noise instead of everything else. They come back through the cable, and are
found in what is heard: that is the way out, the cable and the way in. Then they go through the stream and the worker
like any sound and are played, and found in what is played: that is the whole way round, as it would be from a
microphone to a loudspeaker. Both rings count the same samples, so that the distances are exact to one.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtsep.errors import RtsepError
from rtsep.live.backends.callbacks import PING_VARIANT
from rtsep.live.engine.live_engine import LiveEngine, LiveSettings

_PING_S = 0.005
_WAIT_S = 0.6  # the longest way round that is found
_CLEAR = 15.0  # times the median of the correlation: noise alone reaches 6
_TRIES = 5


def measure_budget(settings: dict[str, Any]) -> tuple[dict[str, Any], LiveEngine]:
    """Parts of the way round, in samples, by taking the stream away, and the Live that was measured.

    settings: of LiveSettings, with devices. Raises RtsepError when nothing comes back.
    """
    settings = settings | {"muted": True, "callback_variant": PING_VARIANT}
    whole, device, live = _round(LiveSettings(**settings, strength=0.0))
    announced = live.added_samples
    # A device may be another buffer longer whenever it is opened, so that each round is held against its own.
    without_stream, again, _ = _round(LiveSettings(**settings, without_model=True))
    slack = without_stream - again
    parts = {"stream": whole - device - slack, "slack": slack, "device": device}
    probed = {"everything": whole, "to the input": device, "without the stream": without_stream, "its input": again}
    return {"whole": whole, "parts": parts, "announced": announced, "probed": probed}, live


def _round(settings: LiveSettings) -> tuple[int, int, LiveEngine]:
    """Samples that a ping takes all the way round, and to the input; the median of a few."""
    with LiveEngine(settings) as live:
        found = [pair for pair in (ping(live) for _ in range(_TRIES)) if pair is not None]
        names = f"{live.device['output']} into {live.device['input']}"
    if not found:
        raise RtsepError(f"Nothing came back from {names}; connect them by a cable and turn the volume up.")
    whole, device = (int(np.median(values)) for values in zip(*found, strict=True))
    return whole, device, live


def ping(live: LiveEngine) -> tuple[int, int] | None:
    """Samples all the way round and to the input, at the output's rate; None when no echo stands out."""
    block = live.block
    rate = block.state.rate
    size = round(_PING_S * rate)
    live.mute(True, seconds=0.0)
    time.sleep(0.3)  # what still goes round dies away
    block.ping.position = -1
    live.mute(False, seconds=0.0)
    block.ping.remaining = size
    end = time.monotonic() + 10
    while block.ping.position < 0 or block.state.position < block.ping.position + round(_WAIT_S * rate):
        if time.monotonic() > end:
            return None
        time.sleep(0.01)
    live.mute(True, seconds=0.0)
    at, count = block.ping.position, round(_WAIT_S * rate)
    sound = block.samples_before(block.played, at + size, size)[:, 0]
    heard = block.samples_before(block.heard, at + count, count)[:, 0]
    played = block.samples_before(block.played, at + count, count)[:, 0]
    played[:size] = 0
    device, whole = echo(sound, heard), echo(sound, played)
    return None if device is None or whole is None or whole <= device else (whole, device)


def echo(sound: NDArray[np.float32], recording: NDArray[np.float32]) -> int | None:
    """Where in ``recording`` ``sound`` comes first; None when it stands out nowhere."""
    likeness = np.abs(np.correlate(recording, sound, "valid"))
    top = float(likeness.max())
    if top <= _CLEAR * float(np.median(likeness)) or top <= 1e-6:
        return None
    first = int(np.argmax(likeness > 0.6 * top))  # it goes on going round, so that the strongest may be a later one
    near = likeness[first : first + 32]
    return first + int(np.argmax(near))
