"""Other tools, run frame by frame like users run them: one file a peer."""

from __future__ import annotations

from benchmarks.peers.peer import Peer
from benchmarks.peers.rnnoise import RNNoise
from benchmarks.peers.webrtc import WebRTC

PEERS: tuple[type[Peer], ...] = (WebRTC, RNNoise)

__all__ = ["PEERS", "Peer", "RNNoise", "WebRTC"]
