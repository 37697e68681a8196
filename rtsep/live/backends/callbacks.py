"""The compiled callbacks that PortAudio calls, and what else of them is called from Python; read from the disk."""

from __future__ import annotations

from rtsep.engine.native_function import NativeFunction

PING_VARIANT, WAIT_VARIANT = "ping", "wait"  # of the live callback, for measurements


def _callback(module: str, name: str) -> NativeFunction:
    """A PaStreamCallback: input, output, frames, times, status, user."""
    parameters = "voidptr, voidptr, uint64, voidptr, uint64, voidptr"
    return NativeFunction(f"rtsep.live.backends.{module}", name, f"int32({parameters})")


LIVE_CALLBACKS = {
    "": _callback("live_callback", "live"),
    PING_VARIANT: _callback("live_callback", "live_with_ping"),
    WAIT_VARIANT: _callback("live_callback", "live_waiting"),
}
capturing = _callback("live_callback", "capturing")
playing = _callback("player_callback", "playing")
passing = _callback("passthrough_callback", "passing")

# Of the shared block at an address: what ``StepKeeper`` does before the callback takes over; see ``callback_steps``.
settle_block = NativeFunction("rtsep.live.backends.callback_steps", "settle_block", "void(voidptr)")
step_block = NativeFunction("rtsep.live.backends.callback_steps", "step_block", "void(voidptr, int64)")
