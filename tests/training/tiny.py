"""A tiny manifest of real recordings, and a recipe of a network small enough to train in seconds."""

from __future__ import annotations

from pathlib import Path

from training.network import NetworkSpec

TINY = Path(__file__).parents[1] / "data" / "tiny" / "manifest.csv"

SMALL = NetworkSpec(analysis_window=512, channels=12, hidden=16, dilations=[1, 2, 4])

RECIPE = """
recipe_version: 3
name: tiny
target: speech
network: {analysis_window: 512, channels: 12, hidden: 16, dilations: [1, 2, 4]}
data: {rooms: 2, mix: {seconds: 1.28}}
losses:
  - {loss: snr, of: speech, weight: 0.1}
  - {loss: snr, of: noise, weight: 0.03}
  - {loss: compressed_spectrum, of: speech, weight: 8.0}
  - {loss: one_minus_estoi, of: speech, weight: 1.0}
training: {seed: 5, batch: 2, hours: 0.004, warmup_steps: 2, learning_rate: 1.0e-2}
"""
