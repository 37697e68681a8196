"""Limits: how much a server takes on, of all clients and of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a client may not exceed; whoever does is refused or ended with a sentence."""

    streams: int = 32  # of all connections; one for each channel of a model for one
    frame_s: float = 0.5  # sound in one message
    speed: float = 1.5  # times real time; whoever sends faster is slowed down
    burst_s: float = 2.0  # of sound that may come at once before that
    idle_s: float = 60.0  # without a message
    send_s: float = 10.0  # until a client has taken its answer
    heartbeat_s: float = 15.0  # between two pings; who does not answer is gone
    close_s: float = 2.0  # for a client to say goodbye
