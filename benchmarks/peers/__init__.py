"""Other tools, run frame by frame like users run them: one file a peer."""

from __future__ import annotations

from benchmarks.peers.deepfilternet import DeepFilterNet3
from benchmarks.peers.dtln import DTLN
from benchmarks.peers.fastenhancer import FastEnhancer
from benchmarks.peers.gtcrn import GTCRN
from benchmarks.peers.peer import Peer
from benchmarks.peers.rnnoise import RNNoise
from benchmarks.peers.webrtc import WebRTC

PEERS: tuple[type[Peer], ...] = (WebRTC, RNNoise, DTLN, GTCRN, DeepFilterNet3)

__all__ = ["DTLN", "GTCRN", "PEERS", "DeepFilterNet3", "FastEnhancer", "Peer", "RNNoise", "WebRTC"]
